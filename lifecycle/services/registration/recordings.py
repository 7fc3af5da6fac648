"""Which files of a folder are recordings: by content, never by name; links are not followed."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from lifecycle.domain.errors import NotFound, UnreadableFile
from lifecycle.formats import Inspection, shown
from lifecycle.services.inspect import require_safe
from lifecycle.services.registration.arrivals import NotWanted

MAX_DEPTH = 16
MAX_FILES = 100_000


@dataclass(slots=True)
class Found:
    """What lies below a path.

    Attributes:
        files: Regular files, in the order of their paths.
        skipped: What was not looked at, with the reason.
        alone: Whether the path names one file; that one must be a recording.
    """

    files: list[Path]
    skipped: list[str] = field(default_factory=list)
    alone: bool = False


def find_recordings(path: Path) -> Found:
    """List the files below a folder, or the one file; nothing is opened yet.

    Raises:
        NotFound: Nothing lies at the path.
        UnreadableFile: The folder cannot be read, is too deep, or holds too many files.
    """
    quoted = f'"{shown(str(path), 1000)}"'
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"{quoted} does not exist") from None
    except (OSError, ValueError) as error:
        raise UnreadableFile(f"{quoted} could not be opened: {error}") from None
    if not stat.S_ISDIR(status.st_mode):
        return Found([path], alone=True)
    found = Found([])
    _walk(path, found, depth=0)
    found.files.sort()
    return found


def _walk(folder: Path, found: Found, *, depth: int) -> None:
    quoted = f'"{shown(str(folder), 1000)}"'
    if depth > MAX_DEPTH:
        raise UnreadableFile(f"{quoted} lies more than {MAX_DEPTH} folders deep; nothing was stored")
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise UnreadableFile(f"{quoted} could not be read: {(error.strerror or '').lower()}") from None
    for entry in entries:
        name = shown(entry.name)
        if entry.is_symlink():
            found.skipped.append(f"{name} (a link)")
        elif entry.is_dir(follow_symlinks=False):
            _walk(Path(entry.path), found, depth=depth + 1)
        elif entry.is_file(follow_symlinks=False):
            found.files.append(Path(entry.path))
        else:
            found.skipped.append(f"{name} (not a regular file)")
        if len(found.files) > MAX_FILES:
            raise UnreadableFile(f"{quoted} holds more than {MAX_FILES} files; nothing was stored")


def require_recording(inspection: Inspection, name: str) -> None:
    """Accept a recording that was read to its end.

    Raises:
        UnreadableFile: It is another kind of file, was cut off, or holds no sound.
    """
    quoted = f'"{shown(name)}"'
    if inspection.kind == "audio":
        require_safe(inspection, name)
        if inspection.facts.get("samples") == 0:
            raise UnreadableFile(f"{quoted} holds no sound; nothing was stored")
        return
    raise UnreadableFile(
        f"{quoted} is no recording (WAV, FLAC, MP3, Ogg or Opus); nothing was stored",
        hint=f"see what it is: vlm inspect {shown(name)}",
    )


def recording_or_skip(inspection: Inspection, name: str) -> None:
    """Accept a recording; skip what is none, but refuse a recording that is damaged.

    Raises:
        NotWanted: It is another kind of file.
        UnreadableFile: It is a recording that was cut off or holds no sound.
    """
    if inspection.kind != "audio":
        raise NotWanted(name)
    require_recording(inspection, name)
