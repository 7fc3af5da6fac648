"""Copying files that are named by their BLAKE3: each read once, hashed on the way, durable in batches."""

from __future__ import annotations

import ctypes
import errno
import io
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from blake3 import blake3

from lifecycle.domain.digest import Digest
from lifecycle.domain.failpoints import hit
from lifecycle.vault.files import make_private, sync_folder, unavailable

_PIECE_BYTES = 1 << 20
_BATCH_BYTES = 1 << 30
_BATCH_FILES = 2048
_FEW = 4
COPIED, ABSENT, CHANGED = "copied", "absent", "changed"


def place_of(root: Path, digest: Digest) -> Path:
    """Return where a blob lies below a root."""
    return root / digest.hex[:2] / digest.hex[2:]


def lies_there(root: Path, digest: Digest, size: int) -> bool:
    """Whether a regular file of that name and size is there; its bytes are not read."""
    try:
        seen = os.lstat(f"{root}/{digest.hex[:2]}/{digest.hex[2:]}")  # a Path would cost more than the look
    except OSError:
        return False
    return stat.S_ISREG(seen.st_mode) and seen.st_size == size


def open_blob(root: Path, digest: Digest) -> int | None:
    """Open a blob for reading, following no link; None where there is no regular file of that name."""
    try:
        descriptor = os.open(place_of(root, digest), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    return descriptor


def hash_blob(root: Path, digest: Digest, *, seen: Callable[[int], object]) -> str:
    """Read a blob; return `copied` if it is what its name says, else `absent` or `changed`."""
    descriptor = open_blob(root, digest)
    if descriptor is None:
        return ABSENT
    hasher, buffer = blake3(), bytearray(_PIECE_BYTES)
    view = memoryview(buffer)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        try:
            while got := file.readinto(buffer):
                hasher.update(view[:got])
                seen(got)
        except OSError:
            return CHANGED
    return COPIED if hasher.hexdigest() == digest.hex else CHANGED


@dataclass
class BlobCopier:
    """Copies blobs from one root to another; `flush` gives the copies their names, durably.

    A copy has its name only once its bytes are on the disk, so that a later run may trust name and size.
    """

    source: Path
    target: Path
    seen: Callable[[int], object]
    _waiting: list[tuple[Path, Path]] = field(default_factory=list)
    _bytes: int = 0
    _buffer: bytearray = field(default_factory=lambda: bytearray(_PIECE_BYTES))

    def copy(self, digest: Digest) -> str:
        """Copy one blob.

        Returns:
            `copied`; `absent` where there is no such file; `changed` where its bytes are not what its name says.

        Raises:
            Unavailable: There is no room, or the target cannot be written.
        """
        descriptor = open_blob(self.source, digest)
        return ABSENT if descriptor is None else self._copy(descriptor, digest)

    def copy_file(self, path: Path, digest: Digest) -> str:
        """Copy another file of which the digest is known; see `copy`."""
        try:
            return self._copy(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), digest)
        except FileNotFoundError:
            return ABSENT

    def _copy(self, descriptor: int, digest: Digest) -> str:
        temporary = self.target / "tmp" / f"{digest.hex}.part"
        try:
            make_private(temporary.parent)
            with io.FileIO(descriptor, "rb") as source:
                right, size = self._pour(source, temporary, digest)
            hit("backup.during_blobs")
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise unavailable(self.target, error) from None
        if not right:
            temporary.unlink(missing_ok=True)
            return CHANGED
        self._waiting.append((temporary, place_of(self.target, digest)))
        self._bytes += size
        if self._bytes >= _BATCH_BYTES or len(self._waiting) >= _BATCH_FILES:
            self.flush()
        return COPIED

    def _pour(self, source: io.RawIOBase, temporary: Path, digest: Digest) -> tuple[bool, int]:
        hasher, size, view = blake3(), 0, memoryview(self._buffer)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        try:
            while got := _read(source, self._buffer):
                if got < 0:
                    return False, size
                hasher.update(view[:got])
                left = view[:got]
                while left:
                    left = left[os.write(descriptor, left) :]
                size += got
                self.seen(got)
        finally:
            os.close(descriptor)
        return hasher.hexdigest() == digest.hex, size

    def flush(self) -> None:
        """Make what was copied durable under its names.

        Raises:
            Unavailable: The target cannot be written.
        """
        if not self._waiting:
            return
        try:
            _sync(self.target, [temporary for temporary, _ in self._waiting])
            folders = {place.parent for _, place in self._waiting}
            for folder in folders:
                make_private(folder)
            for temporary, place in self._waiting:
                temporary.replace(place)
            for folder in (*sorted(folders), self.target):
                sync_folder(folder)
        except OSError as error:
            raise unavailable(self.target, error) from None
        self._waiting.clear()
        self._bytes = 0
        hit("backup.after_batch")


def _read(source: io.RawIOBase, buffer: bytearray) -> int:
    """Read a piece; -1 where the disk cannot give it."""
    try:
        return source.readinto(buffer) or 0
    except OSError:
        return -1


def _sync(folder: Path, files: list[Path]) -> None:
    """Bring new files to the disk: many with one call, a few, or where there is no such call, one by one."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None) if len(files) > _FEW else None
    if call is not None:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if call(descriptor) != 0:
                raise OSError(ctypes.get_errno() or errno.EIO, "the file system could not be synchronised")
        finally:
            os.close(descriptor)
        return
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
