"""Files that a confined process wrote: opened without following anything, bounded."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from lifecycle.domain.errors import UnreadableFile
from lifecycle.runtimes.faults import clean


def read_output(folder: Path, name: str, *, max_bytes: int) -> bytes:
    """Read a file that a confined process wrote into `folder`.

    Raises:
        UnreadableFile: It is missing, a link, a pipe, linked twice, or larger than `max_bytes`.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(folder / plain_name(name), flags)
    except OSError as error:
        raise UnreadableFile(
            f'the worker\'s file "{clean(name)}" cannot be read: {error.strerror}'
        ) from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        os.close(descriptor)
        raise UnreadableFile(f'the worker\'s file "{clean(name)}" is not a plain file')
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise UnreadableFile(f'the worker\'s file "{clean(name)}" is larger than {max_bytes} bytes')
    return data


def plain_name(name: str) -> str:
    """Return a name that is no path.

    Raises:
        UnreadableFile: It is empty, names a folder, or holds a separator.
    """
    if not name or name in {".", ".."} or Path(name).name != name or "\0" in name:
        raise UnreadableFile(f'"{clean(name)}" is not a plain file name')
    return name
