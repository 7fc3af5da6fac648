"""Files under the BLAKE3 of their bytes: read once on the way in, checked on the way out."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from blake3 import blake3

from lifecycle.domain.digest import Digest
from lifecycle.domain.errors import IntegrityError, NotFound, UnreadableFile
from lifecycle.domain.failpoints import hit
from lifecycle.vault.files import make_private, sync_folder, unavailable
from lifecycle.vault.seal import DataKey, SealedReader, Sealer

_PIECE_BYTES = 1 << 20
_TEMPORARY = "tmp"
_PREFIX = re.compile(r"[0-9a-f]{2}")
_REST = re.compile(r"[0-9a-f]{62}")


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


class BlobStore:
    """The folder of blobs, `ab/cdef...`; every name is the BLAKE3 of the file's bytes."""

    def __init__(self, root: Path, *, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self._root = root
        self._tmp = root / _TEMPORARY
        self._random_bytes = random_bytes
        # Per digest: what the file looked like when its hash was right.
        self._checked: dict[Digest, tuple[int, ...]] = {}

    def put(
        self,
        source: BinaryIO,
        *,
        key: DataKey | None = None,
        observers: Sequence[Callable[[bytes], object]] = (),
        inspect: Callable[[BinaryIO, StoredBlob], object] | None = None,
    ) -> StoredBlob:
        """Store a stream in one pass: hash, show to the observers, seal, write.

        Without a key identical content is stored once; with one, every call makes a blob of its own.

        Args:
            source: Read to its end; not closed.
            observers: Called with each piece of the content, in order; what they raise ends it.
            inspect: Called before the blob gets its name, with a seekable copy of the content and what would
                be stored; what it raises ends it. For formats that are read from their end.
            inspect: Called with the finished content, seekable, read back from the file (and through its key)
                before the file gets its name; what it raises ends it and leaves nothing.

        Raises:
            Unavailable: There is no room; nothing is left behind.
            UnreadableFile: The source could not be read to its end; nothing is left behind.
        """
        with self._temporary() as (path, file):
            content = blake3()
            disk = content if key is None else blake3()
            sealer = None if key is None else Sealer(key, random_bytes=self._random_bytes)
            content_size = size = 0
            if sealer is not None:
                size += self._write(file, sealer.header, disk)
            for piece in _pieces(source):
                content.update(piece)
                content_size += len(piece)
                for observe in observers:
                    observe(piece)
                if sealer is None:
                    size += self._write(file, piece, None)
                else:
                    size += self._write(file, sealer.update(piece), disk)
            if sealer is not None:
                size += self._write(file, sealer.finish(), disk)
            digest = Digest("blake3", disk.hexdigest())
            stored = StoredBlob(
                digest=digest,
                size=size,
                content_digest=Digest("blake3", content.hexdigest()),
                content_size=content_size,
                sealed=key is not None,
            )
            if inspect is not None:
                with os.fdopen(os.dup(file.fileno()), "rb") as written:
                    written.seek(0)
                    inspect(written if key is None else io.BufferedReader(SealedReader(written, key)), stored)
            self._settle(path, file, digest)
        return stored

    def _write(self, file: io.FileIO, piece: bytes, hasher: blake3 | None) -> int:
        if hasher is not None:
            hasher.update(piece)
        try:
            hit("blob.before_write")
            left = memoryview(piece)
            while left:  # the file is unbuffered, so that closing it after an error has nothing to write
                left = left[file.write(left) :]
        except OSError as error:
            raise unavailable(self._root, error) from None
        return len(piece)

    def _settle(self, path: Path, file: io.FileIO, digest: Digest) -> None:
        """Give the finished temporary file its name. Renaming over an equal blob heals a damaged one."""
        target = self._path(digest)
        try:
            os.fsync(file.fileno())
            if not target.parent.is_dir():
                make_private(target.parent)
                sync_folder(self._root)
            hit("blob.before_rename")
            path.replace(target)
            hit("blob.after_rename")
            sync_folder(target.parent)
        except OSError as error:
            raise unavailable(self._root, error) from None

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[tuple[Path, io.FileIO]]:
        """Open a locked temporary file; whatever happens, it does not stay in tmp/."""
        make_private(self._tmp)
        while True:
            path = self._tmp / f"{os.urandom(16).hex()}.part"
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            except OSError as error:
                raise unavailable(self._root, error) from None
            # The lock tells a living writer from a dead one; a cleaner may have been quicker.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:
                break
            os.close(descriptor)
        try:
            with io.FileIO(descriptor, "wb") as file:
                yield path, file
        finally:
            path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def reader(self, digest: Digest, *, key: DataKey | None = None) -> Iterator[BinaryIO]:
        """Open a blob's content, seekable, once its hash (and every sealed chunk) was found right.

        Raises:
            NotFound: There is no such blob.
            IntegrityError: Its bytes are not what was stored, or the key does not open it.
        """
        file = self._open(digest)
        try:
            self._check(digest, file)
            if key is None:
                yield file
            else:
                try:
                    plain = SealedReader(file, key)
                except IntegrityError as error:
                    raise IntegrityError(
                        f'blob "{_short(digest)}": {error.message}', hint=error.hint
                    ) from None
                with io.BufferedReader(plain) as buffered:
                    yield buffered
        finally:
            file.close()

    def read_bytes(self, digest: Digest, *, key: DataKey | None = None, limit: int) -> bytes:
        """Return a blob's whole content.

        Raises:
            NotFound, IntegrityError: As `reader`.
            UnreadableFile: It is larger than `limit` bytes.
        """
        with self.reader(digest, key=key) as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise UnreadableFile(f'blob "{_short(digest)}" is larger than {limit} bytes')
        return content

    def materialise(self, digest: Digest, target: Path, *, key: DataKey | None = None) -> None:
        """Write a blob's content to a new file (0600), whole or not at all.

        Raises:
            NotFound, IntegrityError: As `reader`.
            Unavailable: There is no room.
        """
        part = target.with_name(f".{target.name}.{os.urandom(4).hex()}.part")
        with self.reader(digest, key=key) as source:
            try:
                descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
                try:
                    with os.fdopen(descriptor, "wb") as file:
                        while piece := source.read(_PIECE_BYTES):
                            file.write(piece)
                        file.flush()
                        os.fsync(file.fileno())
                    part.replace(target)
                except BaseException:
                    part.unlink(missing_ok=True)
                    raise
                sync_folder(target.parent)
            except OSError as error:
                raise unavailable(target.parent, error) from None

    def exists(self, digest: Digest) -> bool:
        """Whether a file of that name is there; its bytes are not looked at."""
        return self._path(digest).is_file()

    def size(self, digest: Digest) -> int:
        """Return a blob's bytes on disk.

        Raises:
            NotFound: There is no such blob.
        """
        try:
            return self._path(digest).lstat().st_size
        except FileNotFoundError:
            raise _missing(digest) from None

    def verify(self, digest: Digest) -> bool:
        """Hash a blob again, whatever was known; False if it is missing or changed."""
        self._checked.pop(digest, None)
        try:
            with self._open(digest) as file:
                self._check(digest, file)
        except (NotFound, IntegrityError):
            return False
        return True

    def remove(self, digest: Digest) -> bool:
        """Remove a blob durably; False if it was gone already."""
        path = self._path(digest)
        self._checked.pop(digest, None)
        hit("blob.before_remove")
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise unavailable(path.parent, error) from None
        hit("blob.after_remove")
        sync_folder(path.parent)
        return True

    def __iter__(self) -> Iterator[Digest]:
        """Yield the name of every blob, in order."""
        if not self._root.is_dir():
            return
        for folder in sorted(self._root.iterdir()):
            if not _PREFIX.fullmatch(folder.name) or folder.is_symlink():
                continue
            for path in sorted(folder.iterdir()):
                if _REST.fullmatch(path.name):
                    yield Digest("blake3", folder.name + path.name)

    def stray(self) -> list[Path]:
        """Return the temporary files that dead processes left."""
        return list(self._dead(remove=False))

    def clean_stray(self) -> list[Path]:
        """Remove what `stray` would return, and return it."""
        return list(self._dead(remove=True))

    def _dead(self, *, remove: bool) -> Iterator[Path]:
        for path in sorted(self._tmp.glob("*.part")):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            except OSError:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if remove:
                    path.unlink(missing_ok=True)
                yield path
            except BlockingIOError:
                continue
            finally:
                os.close(descriptor)

    def _path(self, digest: Digest) -> Path:
        if digest.algorithm != "blake3":
            raise NotFound(f'there is no blob "{digest}": blobs are named by BLAKE3')
        return self._root / digest.hex[:2] / digest.hex[2:]

    def _open(self, digest: Digest) -> BinaryIO:
        try:
            descriptor = os.open(self._path(digest), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            raise _missing(digest) from None
        except OSError as error:
            raise IntegrityError(f'blob "{_short(digest)}" cannot be opened: {error.strerror}') from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise IntegrityError(f'blob "{_short(digest)}" is not a regular file', hint="vlm doctor")
        return os.fdopen(descriptor, "rb")

    def _check(self, digest: Digest, file: BinaryIO) -> None:
        """Hash the open file unless exactly this file was found right before, then go back to its start."""
        seen = os.fstat(file.fileno())
        looks = (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)
        if self._checked.get(digest) == looks:
            return
        hasher = blake3()
        try:
            for piece in iter(lambda: file.read(_PIECE_BYTES), b""):
                hasher.update(piece)
        except OSError as error:
            raise IntegrityError(f'blob "{_short(digest)}" cannot be read: {error.strerror}') from None
        if hasher.hexdigest() != digest.hex:
            raise IntegrityError(f'blob "{_short(digest)}" is not what was stored', hint="vlm audit")
        self._checked[digest] = looks
        file.seek(0)


def _content(file: BinaryIO, key: DataKey | None) -> BinaryIO:
    """Return what a blob's open file holds: itself, or the view of what is sealed in it."""
    return file if key is None else io.BufferedReader(SealedReader(file, key))


def _pieces(source: BinaryIO) -> Iterator[bytes]:
    while True:
        try:
            piece = source.read(_PIECE_BYTES)
        except OSError as error:
            raise UnreadableFile(f"the file could not be read to its end: {error.strerror}") from None
        if not piece:
            return
        yield piece


def _short(digest: Digest) -> str:
    return f"{digest.algorithm}:{digest.hex[:12]}"


def _missing(digest: Digest) -> NotFound:
    return NotFound(f'blob "{_short(digest)}" is missing', hint="vlm doctor")
