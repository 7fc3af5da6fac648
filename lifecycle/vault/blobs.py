"""Files under the BLAKE3 of their bytes: read once on the way in, checked on the way out."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from blake3 import blake3

from lifecycle.domain.digest import Digest
from lifecycle.domain.errors import IntegrityError, NotFound, UnreadableFile
from lifecycle.domain.failpoints import hit
from lifecycle.vault import copying
from lifecycle.vault.copying import Copy, StoredBlob
from lifecycle.vault.files import make_private, sync_folder, unavailable
from lifecycle.vault.seal import DataKey, SealedReader, Sealer

__all__ = ["BlobStore", "Copy", "StoredBlob"]

_PIECE_BYTES = 1 << 20
_TEMPORARY = "tmp"
_PREFIX = re.compile(r"[0-9a-f]{2}")
_REST = re.compile(r"[0-9a-f]{62}")


class BlobStore:
    """The folder of blobs, `ab/cdef...`; every name is the BLAKE3 of the file's bytes."""

    def __init__(self, root: Path, *, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self._root = root
        self._tmp = root / _TEMPORARY
        self._random_bytes = random_bytes
        # Per digest: what the file looked like when its hash was right.
        self._checked: dict[Digest, tuple[int, ...]] = {}
        self._new_folders = False

    def put(
        self,
        source: BinaryIO,
        *,
        key: DataKey | None = None,
        observers: Sequence[Callable[[bytes], object]] = (),
        inspect: Callable[[BinaryIO, StoredBlob], object] | None = None,
        sync: bool = True,
    ) -> StoredBlob:
        """Store a stream in one pass: hash, show to the observers, seal, write.

        Without a key identical content is stored once; with one, every call makes a blob of its own.

        Args:
            source: Read to its end; not closed.
            observers: Called with each piece of the content, in order; what they raise ends it.
            inspect: Called with the finished content, seekable, read back from the file (and through its key)
                before the file gets its name; what it raises ends it and leaves nothing.
            sync: False where `sync` is called before anything names the blob.

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
            self._flush(file)
            self._name(path, digest)
        if sync:
            self.sync([digest])
        return stored

    def copy(self, source: BinaryIO, *, limit: int, tell: Callable[[int], object] = lambda _: None) -> Copy:
        """Copy a plain file into a temporary one, hash what lies there, and make it durable; it gets no name yet.

        Nothing here needs the interpreter for long, so it may run in a thread.

        Args:
            source: A regular file; read once, from its start.
            limit: Most bytes that are read.
            tell: Called with the bytes of each piece; what it raises ends it.

        Raises:
            Unavailable, UnreadableFile: As `put`; nothing is left behind.
        """
        path, file = self._new_temporary()
        try:
            size = copying.copy(source.fileno(), file.fileno(), limit=limit, place=self._root, tell=tell)
            digest = Digest("blake3", copying.digest_of(file.fileno(), tell=lambda _: tell(0)))
            self._flush(file)
        except BaseException:
            file.close()
            path.unlink(missing_ok=True)
            raise
        return Copy(path, file, StoredBlob(digest, size, digest, size, sealed=False))

    def keep(self, copy: Copy) -> None:
        """Give a copy its name; `sync` makes that durable."""
        try:
            self._name(copy.path, copy.stored.digest)
        finally:
            self.discard(copy)

    def discard(self, copy: Copy) -> None:
        """Remove a copy that was not kept."""
        copy.path.unlink(missing_ok=True)
        copy.file.close()

    def sync(self, digests: Iterable[Digest]) -> None:
        """Make the names of blobs durable, those in one folder together.

        Raises:
            Unavailable: The disk refused.
        """
        folders = sorted({self._path(digest).parent for digest in digests})
        try:
            if self._new_folders:
                sync_folder(self._root)
                self._new_folders = False
            for folder in folders:
                sync_folder(folder)
        except OSError as error:
            raise unavailable(self._root, error) from None

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

    def _flush(self, file: io.FileIO) -> None:
        try:
            os.fsync(file.fileno())
        except OSError as error:
            raise unavailable(self._root, error) from None

    def _name(self, path: Path, digest: Digest) -> None:
        """Give the finished temporary file its name. Renaming over an equal blob heals a damaged one."""
        target = self._path(digest)
        try:
            if not target.parent.is_dir():
                make_private(target.parent)
                self._new_folders = True
            hit("blob.before_rename")
            path.replace(target)
            hit("blob.after_rename")
        except OSError as error:
            raise unavailable(self._root, error) from None

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[tuple[Path, io.FileIO]]:
        """Open a locked temporary file; whatever happens, it does not stay in tmp/."""
        path, file = self._new_temporary()
        try:
            with file:
                yield path, file
        finally:
            path.unlink(missing_ok=True)

    def _new_temporary(self) -> tuple[Path, io.FileIO]:
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
                return path, io.FileIO(descriptor, "wb")
            os.close(descriptor)

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
