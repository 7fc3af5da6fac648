"""Files on their way in: each is read once while it is hashed, sealed and stored, and looked at before it stays.

A plain file is copied into a locked temporary file, and hashed as it lies there (`arrivals_ahead`, in a thread); a
sealed one is read piece by piece, hashed, sealed and written in one pass (`BlobStore.put`). `formats.inspect` needs to
move in what it reads, so it looks at that temporary file (through its key, where it is sealed, which also proves that
the sealed copy opens) before the file gets its name. So the user's file is read once and the disk is written once;
what the inspection sees is exactly what is kept, whatever happens to the user's file meanwhile; and a refused file
never had a name in the store.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from lifecycle.domain.digest import Digest
from lifecycle.domain.errors import VlmError
from lifecycle.formats import Inspection, inspect
from lifecycle.services.inspect import opened, require_safe
from lifecycle.services.registration.ahead import Ahead, changed, looks_in, looks_of
from lifecycle.vault.files import locked

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.domain.voices import Artifact
    from lifecycle.vault.blobs import StoredBlob
    from lifecycle.vault.seal import DataKey

LOCK_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Arrived:
    """One file that is in the store now, or that the voice held already.

    Attributes:
        path: Where it came from, absolute.
        digest: BLAKE3 of the bytes on disk.
        content: BLAKE3 of the content; equal to `digest` where nothing was sealed.
        known: The artifact that holds the same content already; then nothing was stored.
        looks: Device, inode, size and time of change of the original when it was read.
    """

    path: Path
    digest: Digest
    content: Digest
    size_bytes: int
    content_bytes: int
    key_id: str | None
    inspection: Inspection
    known: Artifact | None
    looks: tuple[int, ...]


class _Known(Exception):
    """The content is there already; the temporary file is dropped."""

    def __init__(self, artifact: Artifact) -> None:
        super().__init__("known")
        self.artifact = artifact


class NotWanted(Exception):
    """A file of a folder that is no recording; it is skipped and named."""


Look = Callable[[Inspection, str], None]
Find = Callable[[Digest], "Artifact | None"]


class Arrivals:
    """The files of one registration; whatever ends it early leaves no new file in the store.

    Use it as `with arrivals(rooms) as coming:`, and call `keep()` once the rows that name the files are durable.
    """

    def __init__(self, rooms: Rooms, ahead: Ahead, *, late: bool) -> None:
        self._rooms = rooms
        self._ahead = ahead
        self._late = late
        self._new: list[Digest] = []
        self._unsynced: list[Digest] = []
        self.stored_bytes = 0

    def take(
        self,
        path: Path,
        *,
        key: DataKey | None = None,
        find: Find = lambda _content: None,
        look: Look = require_safe,
        seen: Callable[[float], object] = lambda _amount: None,
    ) -> Arrived:
        """Read one file in.

        Args:
            path: A regular file, or a link to one.
            key: Seals it; None stores it plain, shared with every voice that has the same.
            find: Asked with the content's digest whether the voice holds it already.
            look: Raises for a file that may not stay; by default, what is unsafe or was not read.
            seen: Told how many bytes of the content were read, piece by piece.

        Raises:
            NotFound, UnreadableFile, UnsafeArtifact: As `opened` and `look`; or it changed while it was read.
            Unavailable: There is no room.
        """
        if key is None:
            return self._take_plain(path, find=find, look=look, seen=seen)
        return self._take_sealed(path, key, find=find, look=look, seen=seen)

    def _take_plain(self, path: Path, *, find: Find, look: Look, seen: Callable[[float], object]) -> Arrived:
        blobs = self._rooms.vault.blobs
        with self._ahead.take(path, seen) as copied:
            stored = copied.copy.stored
            with copied.copy.open() as file:
                found = inspect(file, name=path.name, size=stored.size)
            look(found, path.name)
            self._note(stored)
            blobs.keep(copied.copy)
        self._sync(stored.digest)
        return Arrived(
            path=path.absolute(),
            digest=stored.digest,
            content=stored.content_digest,
            size_bytes=stored.size,
            content_bytes=stored.content_size,
            key_id=None,
            inspection=found,
            known=find(stored.content_digest),
            looks=copied.looks,
        )

    def _take_sealed(
        self, path: Path, key: DataKey, *, find: Find, look: Look, seen: Callable[[float], object]
    ) -> Arrived:
        found: list[Inspection] = []
        known: Artifact | None = None
        content: list[StoredBlob] = []
        with opened(path) as (file, size):
            before = looks_of(file)

            def judge(copy: BinaryIO, stored: StoredBlob) -> None:
                content.append(stored)
                if looks_of(file) != before or stored.content_size != size:
                    raise changed(path)
                found.append(inspect(copy, name=path.name, size=size))
                look(found[-1], path.name)
                held = find(stored.content_digest)
                if held is not None:
                    raise _Known(held)
                self._note(stored)

            came = 0

            def count(piece: bytes) -> None:
                # A file that grows as fast as it is read would never end.
                nonlocal came
                came += len(piece)
                if came > size:
                    raise changed(path)
                seen(len(piece))

            try:
                stored = self._rooms.vault.blobs.put(
                    file, key=key, observers=(count,), inspect=judge, sync=False
                )
                self._sync(stored.digest)
            except _Known as there:
                known, stored = there.artifact, content[-1]
        return Arrived(
            path=path.absolute(),
            digest=known.digest if known is not None else stored.digest,
            content=stored.content_digest,
            size_bytes=known.size_bytes if known is not None else stored.size,
            content_bytes=stored.content_size,
            key_id=known.key_id if known is not None else key.id,
            inspection=found[-1],
            known=known,
            looks=before,
        )

    def take_bytes(self, content: bytes, *, key: DataKey | None = None) -> StoredBlob:
        """Store bytes that were made here."""
        import io

        def note(_copy: BinaryIO, stored: StoredBlob) -> None:
            self._note(stored)

        stored = self._rooms.vault.blobs.put(io.BytesIO(content), key=key, inspect=note, sync=False)
        self._sync(stored.digest)
        return stored

    def _note(self, stored: StoredBlob) -> None:
        """Remember what is new, before it gets its name, so that it can be taken back."""
        if not self._rooms.vault.blobs.exists(stored.digest):
            self._new.append(stored.digest)
            self.stored_bytes += stored.size

    def _sync(self, digest: Digest) -> None:
        self._unsynced.append(digest)
        if not self._late:
            self.settle()

    def settle(self) -> None:
        """Make the names of what came in durable; afterwards rows may name it."""
        self._rooms.vault.blobs.sync(self._unsynced)
        self._unsynced.clear()

    def keep(self) -> None:
        """The files are named by durable rows now."""
        self._new.clear()

    def drop(self) -> None:
        """Remove what came in, unless rows name it: an interruption may come just after they were committed."""
        named = self._named() if self._new else set()
        for digest in self._new:
            if named is not None and str(digest) not in named:
                self._rooms.vault.blobs.remove(digest)
        self._new.clear()

    def _named(self) -> set[str] | None:
        """Return what the registry names; None where it cannot be asked, and the doctor sweeps later."""
        try:
            with self._rooms.registry.read() as uow:
                return uow.voices.blob_digests()
        except VlmError:
            return None


@contextmanager
def arrivals(rooms: Rooms, *, ahead: Ahead | None = None) -> Iterator[Arrivals]:
    """Take files in, alone: one registration at a time, so that none removes what another is about to name.

    Args:
        ahead: Where plain files are copied ahead. With it their names are not durable before `settle`.

    Raises:
        Busy: Another registration held the lock for half a minute.
    """
    lock = rooms.settings.home / "arrivals.lock"
    with locked(lock, what="arriving files", seconds=LOCK_SECONDS):
        coming = Arrivals(rooms, ahead or Ahead(rooms.vault.blobs), late=ahead is not None)
        try:
            yield coming
        except BaseException:
            coming.drop()
            raise


def still_same(path: Path, looks: tuple[int, ...]) -> bool:
    """Whether a file is the one that was read, untouched since."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return looks_in(found) == looks
