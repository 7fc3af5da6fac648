"""Files copied ahead: while one file is looked at and recorded, a thread copies, hashes and syncs those that follow.

Looking at a checkpoint keeps the interpreter busy; copying, hashing and syncing leave it alone. So two cores are
used, and the disk works while the next file is read. At most `DEPTH` copies wait without a name.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from lifecycle.domain.errors import UnreadableFile
from lifecycle.formats import shown
from lifecycle.services.inspect import opened

if TYPE_CHECKING:
    from lifecycle.vault.blobs import BlobStore, Copy

DEPTH = 3
WORKERS = 2  # while one waits for the disk, the other copies
_TOLD_EVERY_S = 0.1

Looks = tuple[int, ...]
Seen = Callable[[float], object]


@dataclass(frozen=True, slots=True)
class Copied:
    """A plain file as it lies in the store without a name yet, and how the original looked when it was read."""

    copy: Copy
    looks: Looks


@dataclass(slots=True)
class _Slot:
    path: Path
    copied: Copied | None = None
    error: BaseException | None = None
    bytes: int = 0
    begun: bool = False
    done: bool = False
    over: bool = False


class _Stopped(Exception):
    """Nobody waits for the copy any more."""


@dataclass
class Ahead:
    """Copies files in the order in which they were announced; others are copied when they are asked for."""

    blobs: BlobStore
    _slots: list[_Slot] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _announced: set[Path] = field(default_factory=set)
    _threads: list[threading.Thread] = field(default_factory=list)
    _stop: bool = False

    def announce(self, paths: Iterable[Path]) -> None:
        """Say which plain files will be asked for, in this order."""
        with self._changed:
            slots = [_Slot(path) for path in paths]
            self._slots += slots
            self._announced.update(slot.path for slot in slots)
            while slots and len(self._threads) < WORKERS:
                self._threads.append(threading.Thread(target=self._work, name="copies", daemon=True))
                self._threads[-1].start()
            self._changed.notify_all()

    @contextmanager
    def take(self, path: Path, seen: Seen) -> Iterator[Copied]:
        """Yield the copy of a file; whoever has not kept it by the end of the block leaves nothing.

        Raises:
            NotFound, UnreadableFile: As `opened`; or it changed while it was read.
            Unavailable: There is no room.
        """
        slot = self._slot_of(path)
        copied = self._wait(slot, seen) if slot is not None else copied_of(path, self.blobs, seen)
        try:
            yield copied
        finally:
            self.blobs.discard(copied.copy)

    def close(self) -> None:
        """Stop, and remove the copies that nobody took."""
        with self._changed:
            self._stop = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        for slot in self._slots:
            if slot.copied is not None and not slot.over:
                self.blobs.discard(slot.copied.copy)
        self._slots.clear()

    def _slot_of(self, path: Path) -> _Slot | None:
        """Return the announced file, and let go of those before it: their rows ended without them."""
        if path not in self._announced:
            return None
        with self._changed:
            place = next((n for n, s in enumerate(self._slots) if s.path == path and not s.over), None)
            if place is None:
                return None
            for slot in self._slots[:place]:
                if not slot.over:
                    slot.over = True
                    if slot.copied is not None:
                        self.blobs.discard(slot.copied.copy)
            wanted = self._slots[place]
            del self._slots[:place]
            self._changed.notify_all()
            return wanted

    def _wait(self, slot: _Slot, seen: Seen) -> Copied:
        told = 0
        while True:
            with self._changed:
                if not slot.done:
                    self._changed.wait(_TOLD_EVERY_S)
                done, now = slot.done, slot.bytes
                if done:
                    slot.over = True
                    self._changed.notify_all()
            seen(now - told)
            told = now
            if done:
                break
        if slot.error is not None:
            raise slot.error
        assert slot.copied is not None
        return slot.copied

    def _work(self) -> None:
        while (slot := self._next()) is not None:
            copied, error = None, None

            def seen(count: float, slot: _Slot = slot) -> None:
                if self._stop or slot.over:
                    raise _Stopped
                slot.bytes += int(count)

            try:
                copied = copied_of(slot.path, self.blobs, seen)
            except BaseException as caught:  # noqa: BLE001  it is raised where the file is asked for
                error = caught
            with self._changed:
                slot.copied, slot.error, slot.done = copied, error, True
                if slot.over and copied is not None:
                    self.blobs.discard(copied.copy)
                self._changed.notify_all()

    def _next(self) -> _Slot | None:
        with self._changed:
            while not self._stop:
                waiting = 0
                for slot in self._slots:  # they are begun in order, so those that are done stand first
                    if not slot.begun and not slot.over:
                        if waiting < DEPTH:
                            slot.begun = True
                            return slot
                        break
                    waiting += slot.begun and not slot.over
                self._changed.wait()
            return None


def copied_of(path: Path, blobs: BlobStore, seen: Seen) -> Copied:
    """Copy a file that stays the same meanwhile.

    Raises:
        NotFound, UnreadableFile: As `opened`; or it changed while it was read.
        Unavailable: There is no room.
    """
    with opened(path) as (file, size):
        before = looks_of(file)
        # A file that grows as fast as it is read would never end.
        copy = blobs.copy(file, limit=size + 1, tell=seen)
        if copy.stored.size == size and looks_of(file) == before:
            return Copied(copy, before)
        blobs.discard(copy)
        raise changed(path)


def looks_of(file: BinaryIO) -> Looks:
    """Return what tells an open file from others and from itself changed."""
    return looks_in(os.fstat(file.fileno()))


def looks_in(status: os.stat_result) -> Looks:
    """Return the same of a status."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def changed(path: Path) -> UnreadableFile:
    """Return the error for a file that was written to while it was read."""
    return UnreadableFile(f'"{shown(str(path))}" changed while it was read; nothing was stored')
