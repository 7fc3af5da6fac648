"""Writing small files and folders so that a crash leaves the old state or the new one."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from lifecycle.domain.errors import Busy, IntegrityError, Unavailable

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, which only the owner can enter."""
    try:
        for missing in reversed([each for each in (folder, *folder.parents) if not each.exists()]):
            missing.mkdir(mode=0o700, exist_ok=True)  # mkdir(parents=True) would give the parents other modes
    except OSError as error:
        raise unavailable(folder, error) from None


def sync_folder(folder: Path) -> None:
    """Make renames and removals in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write a file by temporary file, fsync, rename, fsync of the folder.

    A device or pipe, such as /dev/stdout, is written to and never replaced.

    Args:
        mode: Its permissions, less the umask; by default for the owner alone.

    Raises:
        Unavailable: There is no room, or the folder cannot be written; the old file is untouched.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        if is_stream(path):
            _write_stream(path, content)
            return
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise unavailable(path.parent, error) from None


def is_stream(path: Path) -> bool:
    """Whether a path is a device or pipe, or names what this process has open, as /dev/stdout does."""
    return _opened(path) is not None or path.is_char_device() or path.is_fifo() or path.is_socket()


def _opened(path: Path) -> int | None:
    """Return the descriptor that a path such as /dev/stdout or /dev/fd/3 names, None for any other path."""
    named = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
    if str(path) in named:
        return named[str(path)]
    folder, name = os.path.split(path)
    return int(name) if folder in ("/dev/fd", "/proc/self/fd") and name.isdecimal() else None


def _write_stream(path: Path, content: bytes) -> None:
    descriptor = _opened(path)
    if descriptor is None:
        path.write_bytes(content)
        return
    # Where it leads to a file, opening that anew would write over what follows; a copy shares its place.
    with os.fdopen(os.dup(descriptor), "wb") as stream:
        stream.write(content)


def unavailable(place: Path, error: OSError) -> Unavailable:
    """Return the error for a write that the system refused."""
    if error.errno in _NO_ROOM:
        return Unavailable(f'there is no room in "{place}"', hint="free some space there, then run it again")
    return Unavailable(f'"{place}" cannot be written: {error.strerror}', hint="vlm doctor")


def read_small(path: Path, *, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes, without following a link.

    Raises:
        FileNotFoundError: It is not there.
        IntegrityError: It is no regular file, or larger.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise IntegrityError(f'"{path.name}" is not a regular file', hint="vlm doctor")
        content = file.read(limit + 1)
    if len(content) > limit:
        raise IntegrityError(f'"{path.name}" is larger than {limit} bytes', hint="vlm doctor")
    return content


@contextlib.contextmanager
def locked(path: Path, *, what: str, seconds: float = 10.0) -> Iterator[None]:
    """Hold an exclusive lock on a lock file; the lock dies with the process.

    Raises:
        Busy: Another process held it for `seconds`.
    """
    make_private(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise Busy(
                        f"another process holds the lock on {what}",
                        hint="wait for it to end, then run it again",
                    ) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)
