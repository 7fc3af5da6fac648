"""What is missing of second copies: for `vlm doctor`, the audit, and whoever is about to purge."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle.domain.errors import VlmError
from lifecycle.erasure.plan import PurgeVerb
from lifecycle.registry.queries.backups import KEYS, REGISTRY, BackupRow
from lifecycle.services.backups.keys import copy_info
from lifecycle.services.trail import epoch_of

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms

STALE = timedelta(days=30)
SINGLE, OLD_KEYS, BACKUP_STALE = "keys-single-copy", "keys-copy-old", "backup-stale"
_COMMAND = "vlm backup create DIR --keys-to DIR2"


def advice(rooms: Rooms) -> Iterator[tuple[str, str, str]]:
    """Yield a word, a sentence and a command for each thing that is missing; nothing where nothing is sealed."""
    with rooms.registry.read() as uow:
        if not uow.backups.anything_sealed():
            return
        keys, last = uow.backups.newest(KEYS), uow.backups.newest(REGISTRY)
    if keys is None:
        yield SINGLE, "the keys have no second copy; if they are lost, no recording opens again", _COMMAND
    elif _epoch_of_copy(rooms, keys) < epoch_of(rooms):
        message = (
            f"the copy of the keys is of {keys.made_at:%Y-%m-%d}, and a purge came after it: it does not open what is "
            "here now, and still opens backups from before"
        )
        yield OLD_KEYS, message, _command(rooms, last, keys)
    if last is not None and rooms.clock() - last.made_at > STALE:
        days = (rooms.clock() - last.made_at).days
        yield BACKUP_STALE, f"the last backup is {days} days old", _command(rooms, last, keys)


def _epoch_of_copy(rooms: Rooms, row: BackupRow) -> int:
    """Ask the copy itself where it can be reached: a registry that was restored does not know its last one."""
    with suppress(VlmError, OSError):
        told = copy_info(Path(rooms.vault.keys.open_text(row.place)))
        if told is not None:
            return max(row.epoch, told.epoch)
    return row.epoch


def not_reached(verb: PurgeVerb, *, rooms: Rooms) -> tuple[str, ...]:
    """Return what second copies go on holding after a purge, a phrase each, without saying where they lie."""
    with rooms.registry.read() as uow:
        backups, keys = uow.backups.all(REGISTRY), uow.backups.newest(KEYS)
    held = "ciphertext whose keys are gone" + (", and the model in plain" if verb is PurgeVerb.ERASE else "")
    told = [f"the backup of {day}, which holds {held}" for day in _days(backups)]
    if keys is not None:
        told.append(
            f"the copy of the keys of {keys.made_at:%Y-%m-%d}, which opens older backups until it is made again"
        )
    return tuple(told)


def _days(backups: list[BackupRow]) -> list[str]:
    """Return the days of the backups, oldest first; many are told by the first and the last."""
    days = sorted({f"{row.made_at:%Y-%m-%d}" for row in backups})
    return days if len(days) <= 3 else [f"{days[0]} to {days[-1]} ({len(backups)} of them)"]


def _command(rooms: Rooms, last: BackupRow | None, keys: BackupRow | None) -> str:
    place, copy = _place(rooms, last, "DIR"), _place(rooms, keys, "DIR2")
    return f"vlm backup create {place} --keys-to {copy}"


def _place(rooms: Rooms, row: BackupRow | None, word: str) -> str:
    import shlex

    if row is None:
        return word
    try:
        place = Path(rooms.vault.keys.open_text(row.place))
    except VlmError:
        return word
    return shlex.quote(str(place.parent if row.kind == KEYS else place))
