"""Give a CUDA build of torch the library names it insists on, so that it imports and computes on the CPU.

The wheel is installed without its CUDA dependencies; the loader then misses a dozen files. Each missing one is
written as a stub that exports exactly the symbols, with the versions, that torch's libraries import from it.
The driver (libcuda) is never stubbed, and nothing outside CUDA is.
"""

from __future__ import annotations

import json
import platform
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from lifecycle.runtimes import elf, stub_writer
from lifecycle.runtimes.stub_writer import Symbol, kind_of

_MARKER = ".vlm-stubs.json"
_CUDA = re.compile(r"lib(cu|nv|nccl)")
_DRIVER = re.compile(r"libcuda\.so")
#: Prefixes of unversioned names and the library they belong to; the longer prefix stands first.
_PREFIXES = (
    ("cublasLt", "libcublasLt"),
    ("cusparseLt", "libcusparseLt"),
    ("nccl", "libnccl"),
    ("cudnn", "libcudnn"),
    ("cublas", "libcublas"),
    ("cufft", "libcufft"),
    ("curand", "libcurand"),
    ("cusolver", "libcusolver"),
    ("cusparse", "libcusparse"),
    ("nvrtc", "libnvrtc"),
    ("nvshmem", "libnvshmem"),
    ("cupti", "libcupti"),
    ("nvtx", "libnvToolsExt"),
    ("cuFile", "libcufile"),
    ("nvJitLink", "libnvJitLink"),
)


def applicable() -> bool:
    """True on the one platform the generator writes for."""
    return sys.platform.startswith("linux") and platform.machine() == "x86_64"


def cudnn_version(requirements: Iterable[str]) -> tuple[int, int, int]:
    """Return the cuDNN that torch was compiled against, from its Requires-Dist lines.

    >>> cudnn_version(["nvidia-cudnn-cu12 (==8.9.2.26) ; extra"])
    (8, 9, 2)
    """
    for line in requirements:
        match = re.match(r"nvidia-cudnn-cu\d+\s*\(?==\s*(\d+)\.(\d+)\.(\d+)", line)
        if match:
            major, minor, patch = map(int, match.groups())
            return major, minor, patch
    return 9, 0, 0


def missing(libraries: Iterable[elf.Library]) -> dict[str, set[Symbol]]:
    """Return the CUDA sonames that no given library provides, each with the symbols wanted from it."""
    libraries = list(libraries)
    present = {name for library in libraries for name in (library.name, library.soname) if name}
    wanted = {name for library in libraries for name in library.needed} - present
    found: dict[str, set[Symbol]] = {
        name: set() for name in sorted(wanted) if _CUDA.match(name) and not _DRIVER.match(name)
    }
    defined = frozenset().union(*(library.defined for library in libraries))
    for library in libraries:
        needs_stub = any(name in found for name in library.needed)
        for symbol in library.imports:
            kind = kind_of(symbol.name, is_data=symbol.kind == elf.STT_OBJECT).value
            if symbol.file in found:
                found[symbol.file].add(Symbol(symbol.name, symbol.version, kind))
            elif symbol.file is None and needs_stub and symbol.binding == elf.STB_GLOBAL:
                owner = _owner(symbol.name, found) if symbol.name not in defined else None
                if owner is not None:
                    found[owner].add(Symbol(symbol.name, None, kind))
    return found


def _owner(name: str, sonames: Iterable[str]) -> str | None:
    """Return the missing library that an unversioned name belongs to."""
    for prefix, library in _PREFIXES:
        if name.startswith(prefix):
            return next((soname for soname in sonames if re.match(rf"{library}(_host)?\.so", soname)), None)
    return None


def install(torch: Path, *, cudnn: tuple[int, int, int]) -> tuple[str, ...]:
    """Write the stubs that the torch in this folder needs; returns their names, sorted.

    Stubs of an earlier run are deleted first, so a second run gives the same files.

    Args:
        torch: The package folder, `site-packages/torch`.
        cudnn: What cuDNN's version functions shall report.
    """
    lib = torch / "lib"
    remove(lib)
    libraries = []
    for file in sorted({*lib.glob("*.so*"), *torch.glob("_C*.so")}):
        try:
            libraries.append(elf.read(file))
        except elf.NotElf:
            continue
    found = missing(libraries)
    for soname, symbols in found.items():
        (lib / soname).write_bytes(stub_writer.build(soname, symbols, cudnn))
    if found:
        (lib / _MARKER).write_text(json.dumps({"stubs": sorted(found)}))
    return tuple(sorted(found))


def remove(lib: Path) -> None:
    """Delete what `install` wrote into this folder."""
    marker = lib / _MARKER
    try:
        names = json.loads(marker.read_text("utf-8"))["stubs"]
    except (OSError, ValueError, KeyError):
        return
    for name in names:
        if Path(name).name == name:
            (lib / name).unlink(missing_ok=True)
    marker.unlink(missing_ok=True)
