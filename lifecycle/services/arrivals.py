"""Files on their way in: each is read once while it is hashed, sealed and stored, and looked at before it stays.

How one pass does it all. `BlobStore.put` reads the source piece by piece: each piece is hashed, sealed (or not) and
written to a locked temporary file. `formats.inspect` needs to move in what it reads, so it looks at that temporary
file (through its key, where it is sealed, which also proves that the sealed copy opens) before the file gets its
name. So the user's file is read once and the disk is written once; what the inspection sees is exactly what is
kept, whatever happens to the user's file meanwhile; and a refused file never had a name in the store.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from lifecycle.domain.digest import Digest
from lifecycle.domain.errors import UnreadableFile
from lifecycle.formats import Inspection, inspect, shown
from lifecycle.services.inspect import opened, require_safe
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

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._new: list[Digest] = []
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
        found: list[Inspection] = []
        known: Artifact | None = None
        content: list[StoredBlob] = []
        with opened(path) as (file, size):
            before = _looks(file)

            def judge(copy: BinaryIO, stored: StoredBlob) -> None:
                content.append(stored)
                if _looks(file) != before or stored.content_size != size:
                    raise UnreadableFile(
                        f'"{shown(str(path))}" changed while it was read; nothing was stored'
                    )
                found.append(inspect(copy, name=path.name, size=size))
                look(found[-1], path.name)
                held = find(stored.content_digest)
                if held is not None and key is not None:
                    raise _Known(held)
                if not self._rooms.vault.blobs.exists(stored.digest):
                    self._new.append(stored.digest)
                    self.stored_bytes += stored.size

            came = 0

            def count(piece: bytes) -> None:
                # A file that grows as fast as it is read would never end.
                nonlocal came
                came += len(piece)
                if came > size:
                    raise _changed(path)
                seen(len(piece))

            try:
                stored = self._rooms.vault.blobs.put(file, key=key, observers=(count,), inspect=judge)
            except _Known as there:
                known, stored = there.artifact, content[-1]
        return Arrived(
            path=path.absolute(),
            digest=known.digest if known is not None else stored.digest,
            content=stored.content_digest,
            size_bytes=known.size_bytes if known is not None else stored.size,
            content_bytes=stored.content_size,
            key_id=known.key_id if known is not None else key.id if key is not None else None,
            inspection=found[-1],
            known=known if known is not None else find(stored.content_digest),
            looks=before,
        )

    def take_bytes(self, content: bytes, *, key: DataKey | None = None) -> StoredBlob:
        """Store bytes that were made here."""
        import io

        def note(_copy: BinaryIO, stored: StoredBlob) -> None:
            if not self._rooms.vault.blobs.exists(stored.digest):
                self._new.append(stored.digest)
                self.stored_bytes += stored.size

        return self._rooms.vault.blobs.put(io.BytesIO(content), key=key, inspect=note)

    def keep(self) -> None:
        """The files are named by durable rows now."""
        self._new.clear()

    def drop(self) -> None:
        """Remove what came in and was not kept."""
        for digest in self._new:
            self._rooms.vault.blobs.remove(digest)
        self._new.clear()


@contextmanager
def arrivals(rooms: Rooms) -> Iterator[Arrivals]:
    """Take files in, alone: one registration at a time, so that none removes what another is about to name.

    Raises:
        Busy: Another registration held the lock for half a minute.
    """
    lock = rooms.settings.home / "arrivals.lock"
    with locked(lock, what="arriving files", seconds=LOCK_SECONDS):
        coming = Arrivals(rooms)
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
    return _of(found) == looks


def _changed(path: Path) -> UnreadableFile:
    return UnreadableFile(f'"{shown(str(path))}" changed while it was read; nothing was stored')


def _looks(file: BinaryIO) -> tuple[int, ...]:
    return _of(os.fstat(file.fileno()))


def _of(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
