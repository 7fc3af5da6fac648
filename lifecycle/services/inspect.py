"""Tell what a file is, without executing it and without storing anything."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lifecycle.domain.errors import NotFound, UnreadableFile, UnsafeArtifact
from lifecycle.formats import Inspection, inspect, shown
from lifecycle.render.output import columns, megabytes


@dataclass(frozen=True, slots=True)
class InspectReport:
    """What one file is; `exit_code` is 0 only for a file that was read to its end and is safe."""

    name: str
    size: int
    inspection: Inspection

    @property
    def exit_code(self) -> int:
        """0 safe, 6 unsafe or unread."""
        return 0 if self.inspection.safe else UnreadableFile.exit_code

    def to_json(self) -> dict[str, object]:
        """Return the object of `--json`: facts stand beside kind, safe, findings and tensors."""
        found = self.inspection
        body: dict[str, object] = {
            **found.facts,
            "ok": found.safe is not None,
            "name": shown(self.name, 1000),
            "size": self.size,
            "kind": found.kind,
            "safe": found.safe,
            "findings": [
                {"severity": item.severity, "code": item.code, "message": item.message}
                for item in found.findings
            ],
            "tensors": [
                {"name": item.name, "shape": list(item.shape), "dtype": item.dtype}
                | ({"digest": item.digest} if item.digest else {})
                for item in found.tensors
            ],
            "summary": found.summary,
        }
        if found.safe is None:
            body["error"] = {"code": UnreadableFile.code, "message": found.error, "hint": None}
        return body

    def lines(self, *, tensors: bool = False) -> list[str]:
        """Return what people read: what it is, what was found, and the verdict."""
        found = self.inspection
        lines = columns([[shown(self.name, 1000), megabytes(self.size), found.summary]])
        lines += columns([[f"  {item.severity}", item.message] for item in found.findings])
        if tensors:
            lines += columns(
                [
                    [f"  {t.name}", t.dtype, "x".join(str(n) for n in t.shape) or "scalar"]
                    for t in found.tensors
                ]
            )
        if found.safe:
            lines.append("safe: read to its end, and nothing in it runs when it is loaded")
        elif found.safe is False:
            lines.append("unsafe: loading it would run what is named above; nothing was loaded here")
        return lines


def inspect_file(path: Path, *, digests: bool = False) -> InspectReport:
    """Inspect one file.

    Args:
        path: A regular file, or a link to one.
        digests: Hash every tensor too.

    Raises:
        NotFound: There is no such file.
        UnreadableFile: It is a folder, a device, or the system does not let it be read.
    """
    with opened(path) as (file, size):
        return InspectReport(path.name, size, inspect(file, name=path.name, size=size, digests=digests))


@contextmanager
def opened(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """Open a regular file for reading, never waiting on a pipe, and yield it with its size in bytes.

    Raises:
        NotFound: There is no such file.
        UnreadableFile: It is not a regular file, or reading it fails.
    """
    quoted = f'"{shown(str(path), 1000)}"'
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"{quoted} does not exist") from None
    except (OSError, ValueError) as error:
        raise UnreadableFile(f"{quoted} could not be opened: {_reason(error)}") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise UnreadableFile(f"{quoted} is {kind}")
    with os.fdopen(descriptor, "rb") as file:
        try:
            yield file, status.st_size
        except OSError as error:
            raise UnreadableFile(f"{quoted} could not be read: {_reason(error)}") from None


def require_safe(inspection: Inspection, name: str) -> None:
    """Refuse a file that was not read to its end or that would run something.

    Raises:
        UnsafeArtifact: Loading it would run something.
        UnreadableFile: It was not read.
    """
    quoted = f'"{shown(name)}"'
    look = f"see what it holds: vlm inspect {shlex.quote(shown(name))}"
    if inspection.safe is None:
        raise UnreadableFile(f"{inspection.error or quoted + ' was not read'}; nothing was stored", hint=look)
    danger = inspection.danger
    if not inspection.safe:
        does = danger.message if danger else "would run something when loaded"
        raise UnsafeArtifact(f"{quoted} {does}; it was not loaded and nothing was stored", hint=look)


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
