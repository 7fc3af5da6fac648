"""What can be said about a file on a torch without running it; said beside a verdict, never instead of one.

A finding explains a failure or warns of one that this machine cannot show (a GPU that is not here). It never makes
a `works`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lifecycle.compat.releases import RELEASES, minor_of, release_of

#: Operators that a release removed: name -> first release without it, and what to do.
_GONE: Mapping[str, tuple[tuple[int, int], str]] = {
    **{
        f"aten::{name}": ((2, 13), "write the export again on torch 2.12 or older without named tensors")
        for name in ("align_as", "align_tensors", "align_to", "refine_names", "rename", "rename_")
    },
    **{
        f"aten::{name}": ((2, 14), "use torch.linalg and write the export again")
        for name in ("cholesky", "qr")
    },
}


#: Where the names come from that the restricted loader builds by itself.
_PLAIN = ("torch.", "collections.", "_codecs.", "builtins.")


@dataclass(frozen=True, slots=True)
class Known:
    """One thing that is known.

    Attributes:
        code: A stable word.
        message: One line.
        breaks: Whether the file cannot load or run there, as opposed to a remark.
    """

    code: str
    message: str
    breaks: bool = False


def findings(kind: str, facts: Mapping[str, object], torch: str) -> tuple[Known, ...]:
    """Return what is known about a file on a torch.

    Args:
        kind: What `inspect` called the file.
        facts: What `inspect` recorded: "ops", "globals" and "dtype" are looked at where they are there.
        torch: Public version, such as "2.13.0".
    """
    found = [
        *_altered_head(facts),
        *_removed_operators(facts, torch),
        *_default_load(kind, facts, torch),
        *_half(facts, torch),
    ]
    return tuple(found)


def gpu_finding(torch: str, *, capability: int | None = None, driver: int | None = None) -> Known | None:
    """Say whether the index's wheel of a torch has code for a GPU, told by compute capability (86 is 8.6).

    A GPU runs code of its own major generation with an equal or lower minor number.
    """
    release = release_of(torch)
    if release is None:
        return None
    if driver is not None and driver < release.driver:
        return Known(
            "driver-too-old",
            f"torch {torch} (CUDA {release.cuda}) needs NVIDIA driver {release.driver} or newer",
            breaks=True,
        )
    if capability is None:
        return None
    runs = any(a // 10 == capability // 10 and a <= capability for a in release.architectures)
    if runs:
        return None
    last = max(
        (
            minor_of(name)
            for name, r in RELEASES.items()
            if any(a // 10 == capability // 10 and a <= capability for a in r.architectures)
        ),
        default=None,
    )
    until = f"; the last that has it is {last[0]}.{last[1]}" if last else ""
    return Known(
        "gpu-not-in-wheel",
        f"torch {torch} has no code for compute capability {capability / 10}{until}",
        breaks=True,
    )


def gpu_needs(torch: str) -> Known | None:
    """Say what a GPU would need for the index's wheel of a torch; None for a release that is not known."""
    release = release_of(torch)
    if release is None:
        return None
    capabilities = ", ".join(str(number / 10) for number in release.architectures)
    needs = f"NVIDIA driver {release.driver} and compute capability {capabilities}"
    return Known("gpu-needs", f"its wheel (CUDA {release.cuda}) needs {needs}")


def _names(facts: Mapping[str, object], key: str) -> Sequence[str]:
    value = facts.get(key)
    return [str(item) for item in value] if isinstance(value, list | tuple) else []


def _altered_head(facts: Mapping[str, object]) -> list[Known]:
    """GPT-SoVITS writes some files with other first bytes and puts them back before it loads them."""
    head = facts.get("head")
    if not isinstance(head, str):
        return []
    what = f'it begins with "{head}" instead of "PK", which torch.load does not know; only GPT-SoVITS puts it back'
    return [Known("altered-head", what, breaks=True)]


def _removed_operators(facts: Mapping[str, object], torch: str) -> list[Known]:
    found = []
    for operator in _names(facts, "ops"):
        gone = _GONE.get(operator)
        if gone is not None and minor_of(torch) >= gone[0]:
            since = "{}.{}".format(*gone[0])
            found.append(Known("operator-gone", f"{operator} is gone since {since}: {gone[1]}", breaks=True))
    return found


def _default_load(kind: str, facts: Mapping[str, object], torch: str) -> list[Known]:
    """Classes of other packages in a pickle: the restricted loader refuses them, and is the default since 2.6."""
    if kind in {"torchscript", "pt2", "onnx"}:
        return []
    foreign = [name for name in _names(facts, "globals") if not name.startswith(_PLAIN)]
    if not foreign:
        return []
    named = ", ".join(foreign[:3])
    default = " (the default since 2.6)" if minor_of(torch) >= (2, 6) else ""
    return [Known("weights-only", f"torch.load refuses {named} with weights_only=True{default}", breaks=True)]


def _half(facts: Mapping[str, object], torch: str) -> list[Known]:
    release = release_of(torch)
    if release is None or release.half_on_cpu or facts.get("dtype") != "fp16":
        return []
    return [
        Known("half-on-cpu", f"torch {torch} cannot run half precision on a CPU; it has to be widened first")
    ]
