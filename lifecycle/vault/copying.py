"""Copies of whole files, made by the kernel where it can, hashed as they lie in the store."""

from __future__ import annotations

import errno
import io
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from blake3 import blake3

from lifecycle.domain.digest import Digest
from lifecycle.domain.errors import UnreadableFile
from lifecycle.domain.failpoints import hit
from lifecycle.vault.files import unavailable

# Pieces are large because another thread may hold the interpreter whenever one of these calls comes back.
_KERNEL_BYTES = 64 << 20
_HASH_BYTES = 4 << 20
_PIECE_BYTES = 1 << 20
_buffers = threading.local()
# The kernel cannot copy between these two files, or gave an error that does not tell which of them is at fault.
_BY_HAND = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF, errno.EIO}

Tell = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """What was stored.

    Attributes:
        digest: BLAKE3 of the bytes on disk, which is the blob's name.
        size: Bytes on disk.
        content_digest: BLAKE3 of the content; equal to `digest` where nothing was sealed.
        content_size: Bytes of the content.
    """

    digest: Digest
    size: int
    content_digest: Digest
    content_size: int
    sealed: bool


@dataclass(frozen=True, slots=True)
class Copy:
    """A durable copy that has no name in the store yet: a locked temporary file, and what it would be stored as.

    Either `BlobStore.keep` or `BlobStore.discard` ends it.
    """

    path: Path
    file: io.FileIO
    stored: StoredBlob

    def open(self) -> BinaryIO:
        """Open it for reading, seekable, at its start."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        return os.fdopen(descriptor, "rb")


def copy(source: int, target: int, *, limit: int, place: Path, tell: Tell) -> int:
    """Copy a file from its start into an empty one, at most `limit` bytes; return how many.

    Args:
        source: Descriptor of a regular file.
        target: Descriptor of a file in `place`.
        tell: Called with the bytes of each piece; what it raises ends the copy.

    Raises:
        Unavailable: There is no room in `place`.
        UnreadableFile: The source could not be read to its end.
    """
    done = 0
    by_kernel = hasattr(os, "copy_file_range")
    while done < limit:
        _pass_failpoint(place)
        if by_kernel:
            try:
                count = os.copy_file_range(source, target, min(_KERNEL_BYTES, limit - done), done, done)
            except OSError as error:
                if error.errno not in _BY_HAND:
                    raise unavailable(place, error) from None
                by_kernel = False
                continue
        else:
            count = _by_hand(source, target, min(_PIECE_BYTES, limit - done), done, place)
        if not count:
            break
        done += count
        tell(count)
    return done


def _pass_failpoint(place: Path) -> None:
    try:
        hit("blob.before_write")
    except OSError as error:
        raise unavailable(place, error) from None


def _by_hand(source: int, target: int, count: int, offset: int, place: Path) -> int:
    try:
        piece = os.pread(source, count, offset)
    except OSError as error:
        raise UnreadableFile(f"the file could not be read to its end: {error.strerror}") from None
    try:
        written = 0
        while written < len(piece):
            written += os.pwrite(target, piece[written:], offset + written)
    except OSError as error:
        raise unavailable(place, error) from None
    return len(piece)


def digest_of(file: int, *, tell: Tell) -> str:
    """Return BLAKE3 of a file, read by position into one buffer.

    Args:
        tell: Called with the bytes of each piece; what it raises ends it.

    Raises:
        UnreadableFile: It could not be read to its end.
    """
    hasher, buffer, offset = blake3(), _buffer(), 0
    try:
        while count := os.preadv(file, [buffer], offset):
            hasher.update(buffer[:count])
            offset += count
            tell(count)
    except OSError as error:
        raise UnreadableFile(f"the file could not be read to its end: {error.strerror}") from None
    return hasher.hexdigest()


def _buffer() -> memoryview:
    """Return this thread's buffer; making one for every file would cost as much as hashing it."""
    buffer: memoryview | None = getattr(_buffers, "hash", None)
    if buffer is None:
        buffer = _buffers.hash = memoryview(bytearray(_HASH_BYTES))
    return buffer
