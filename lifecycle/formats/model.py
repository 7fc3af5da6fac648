"""What an inspection gives: plain values, ready for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["danger", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something a reader should know; `message` completes the sentence that begins with the file's name."""

    severity: Severity
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor: name, shape, dtype as safetensors spells it, and on request its digest.

    The digest is BLAKE3 over the little-endian bytes in row-major order, as `blake3:<hex>`.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a file is, told without executing it.

    `safe` is True only for a file that was read to its end and in which nothing was found that runs;
    None means that it was not read (then `error` says why), which is never the same as clean.
    """

    kind: str
    safe: bool | None
    findings: tuple[Finding, ...] = ()
    facts: Mapping[str, object] = field(default_factory=dict)
    tensors: tuple[TensorInfo, ...] = ()
    error: str | None = None
    summary: str = ""

    @property
    def danger(self) -> Finding | None:
        """The first thing that makes the file unsafe, if any."""
        return next((finding for finding in self.findings if finding.severity == "danger"), None)


class Unread(Exception):
    """A file could not be read, or not without doubt; `reason` completes the sentence begun by its name."""

    def __init__(self, reason: str, *, kind: str = "unknown") -> None:
        super().__init__(reason)
        self.reason = reason
        self.kind = kind


def shown(text: str, limit: int = 120) -> str:
    """Make foreign text fit for a terminal and for JSON: bounded, nothing that cannot be printed."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in cut
    )


def plural(count: int, word: str) -> str:
    """Write a count with its word: `1 tensor`, `295 tensors`, `2 classes`."""
    if count == 1:
        return f"1 {word}"
    return f"{count} {word}es" if word.endswith("s") else f"{count} {word}s"
