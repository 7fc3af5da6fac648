"""What each torch release needs, read from the metadata and the binaries of its wheels (Linux x86-64).

Python: the classifiers and file names on the package index. Compute capabilities: the string of
`_cuda_getArchFlags` in libtorch_python.so. Drivers: NVIDIA's table of minor version compatibility.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Release:
    """One minor release of torch.

    Attributes:
        pythons: Oldest and newest minor of CPython 3 that have a wheel.
        cuda: What the index's wheel was built with.
        architectures: Compute capabilities in that wheel.
        driver: The oldest NVIDIA driver that runs it.
        numpy_2: Whether it works with numpy 2.
        half_on_cpu: Whether layers of voices run in half precision on a CPU.
    """

    pythons: tuple[int, int]
    cuda: str
    architectures: tuple[int, ...]
    driver: int
    numpy_2: bool = True
    half_on_cpu: bool = True


_OLD = (50, 60, 70, 75, 80, 86, 90)
_NEW = (70, 75, 80, 86, 90, 100, 120)
_NEWEST = (75, 80, 86, 90, 100, 120)

RELEASES: dict[str, Release] = {
    "2.0": Release((8, 11), "11.7", (37, 50, 60, 70, 75, 80, 86), 450, numpy_2=False, half_on_cpu=False),
    "2.1": Release((8, 11), "12.1", _OLD, 525, numpy_2=False, half_on_cpu=False),
    "2.2": Release((8, 12), "12.1", _OLD, 525, numpy_2=False, half_on_cpu=False),
    "2.3": Release((8, 12), "12.1", _OLD, 525),
    "2.4": Release((8, 12), "12.1", _OLD, 525),
    "2.5": Release((9, 13), "12.4", _OLD, 525),
    "2.6": Release((9, 13), "12.4", _OLD, 525),
    "2.7": Release((9, 13), "12.6", _OLD, 525),
    "2.8": Release((9, 13), "12.8", _NEW, 525),
    "2.9": Release((10, 14), "12.8", _NEW, 525),
    "2.10": Release((10, 14), "12.8", _NEW, 525),
    "2.11": Release((10, 14), "13.0", _NEWEST, 580),
    "2.12": Release((10, 14), "13.0", _NEWEST, 580),
    "2.13": Release((10, 14), "13.0", _NEWEST, 580),
    "2.14": Release((10, 14), "13.0", _NEWEST, 580),
    "2.15": Release((11, 15), "13.2", _NEWEST, 580),
}


def minor_of(torch: str) -> tuple[int, int]:
    """Return (2, 13) for "2.13.0" or "2.13.0+cpu".

    Raises:
        ValueError: The text does not begin with two numbers.
    """
    major, minor = torch.partition("+")[0].split(".")[:2]
    return int(major), int(minor)


def release_of(torch: str) -> Release | None:
    """Return what is known of a version's minor release; None for one that is newer or older than the table."""
    return RELEASES.get("{}.{}".format(*minor_of(torch)))


def pythons_for(torch: str) -> tuple[int, int] | None:
    """Return the oldest and newest minor of CPython 3 with a wheel of this torch, or None where nobody knows."""
    release = release_of(torch)
    return release.pythons if release else None
