"""The files that recordings came from: removed on request, once their sealed copies were read back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle.domain.errors import VlmError
from lifecycle.domain.failpoints import hit
from lifecycle.services.registration.arrivals import Arrived, still_same
from lifecycle.vault.files import sync_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lifecycle.bootstrap import Rooms

_PIECE_BYTES = 1 << 20


def remove_originals(originals: Sequence[Arrived], *, rooms: Rooms, asked: bool) -> tuple[int, int]:
    """Remove originals whose sealed copies open and are the same, if that was asked for.

    Returns:
        How many were removed, and how many still lie where they came from.
    """
    removed = 0
    if asked and originals:
        step = rooms.progress.step("moving", len(originals), "files")
        for arrived in originals:
            removed += _remove(arrived, rooms)
            step.advance(1)
            hit("register.during_move")
        step.done(
            f"{removed} of {len(originals)} originals removed, after their sealed copies were read back"
        )
    left = sum(1 for path in {arrived.path for arrived in originals} if _lies(path))
    return removed, left


def _remove(arrived: Arrived, rooms: Rooms) -> bool:
    if not still_same(arrived.path, arrived.looks) or not _reads_back(arrived, rooms):
        return False
    try:
        arrived.path.unlink()
        sync_folder(arrived.path.parent)
    except OSError:
        return False
    return True


def _reads_back(arrived: Arrived, rooms: Rooms) -> bool:
    """Read the stored copy from its blob, through its key, to its end."""
    from blake3 import blake3

    hasher = blake3()
    try:
        assert arrived.key_id is not None
        key = rooms.vault.keys.data_key(arrived.key_id)
        with rooms.vault.blobs.reader(arrived.digest, key=key) as file:
            while piece := file.read(_PIECE_BYTES):
                hasher.update(piece)
    except VlmError:
        return False
    return hasher.hexdigest() == arrived.content.hex


def _lies(path: Path) -> bool:
    try:
        path.lstat()
    except OSError:
        return False
    return True
