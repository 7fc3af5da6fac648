"""Reads stored files again: all of them, those whose turn it is, or none but those that were found damaged before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

from lifecycle.domain.digest import Digest
from lifecycle.domain.filters import VoiceFilter
from lifecycle.services.audits.report import Scrub, Scrubbed

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.registry.unit_of_work import UnitOfWork

#: With "due" every file is read once in so many days, a share of them each day, chosen by its digest.
DAYS = 28
DAMAGE = ("hash-drift", "missing-artifact")
SCRUBBED_ON = "scrubbed_on"


@dataclass
class Damages:
    """What reading again showed.

    Attributes:
        by_digest: Digest -> "changed" or "missing".
        day: Up to which day every share was read, where all voices were meant.
    """

    scrubbed: Scrubbed
    by_digest: Mapping[str, str] = field(default_factory=dict)
    day: date | None = None


def share_of(digest: str) -> int:
    """Return in which of the shares a file is read; its digest decides, so that nothing has to be remembered."""
    return int(digest.partition(":")[2][:8], 16) % DAYS


def shares_due(last: date | None, today: date) -> frozenset[int]:
    """Return which shares are to be read today: those of every day since the last one, all where nobody knows.

    A clock that stands before the last day tells nothing, so everything is read.
    """
    if last is None or last > today:
        return frozenset(range(DAYS))
    days = min((today - last).days, DAYS)
    return frozenset((today.toordinal() - back) % DAYS for back in range(days))


def scrub(mode: Scrub, wanted: VoiceFilter, *, uow: UnitOfWork, rooms: Rooms) -> Damages:
    """Look for stored files and hash them again; only hashes are believed, never sizes or times.

    Args:
        wanted: Whose files.
    """
    known = uow.findings.voices_with(DAMAGE)
    again = uow.audits.digests_of(known) if known else set()
    if mode is Scrub.NONE:
        found, scrubbed = _read(((digest, 0) for digest in sorted(again)), lambda _: True, rooms, total=0)
        return Damages(Scrubbed(mode, len(again), scrubbed.hashed, scrubbed.size_bytes), found)
    today = rooms.clock().date()
    due = _due(mode, today, uow)
    total = uow.audits.stored_bytes(wanted) if mode is Scrub.ALL else 0
    found, scrubbed = _read(
        uow.audits.digests(wanted),
        lambda digest: share_of(digest) in due or digest in again,
        rooms,
        total=total,
    )
    scrubbed = Scrubbed(mode, scrubbed.files, scrubbed.hashed, scrubbed.size_bytes)
    return Damages(scrubbed, found, today if wanted.all else None)


def _due(mode: Scrub, today: date, uow: UnitOfWork) -> frozenset[int]:
    if mode is Scrub.ALL:
        return frozenset(range(DAYS))
    told = uow.facts.all().get(SCRUBBED_ON)
    return shares_due(None if told is None else date.fromisoformat(told), today)


def _read(
    files: Iterable[tuple[str, int]], wanted: Callable[[str], bool], rooms: Rooms, *, total: int
) -> tuple[dict[str, str], Scrubbed]:
    step = rooms.progress.step("read again", total, "bytes") if total else None
    damaged: dict[str, str] = {}
    number = hashed = read = 0
    for digest, size in files:
        number += 1
        name = Digest.parse(digest)
        if not rooms.vault.blobs.exists(name):
            damaged[digest] = "missing"
        elif wanted(digest):
            hashed, read = hashed + 1, read + size
            if not rooms.vault.blobs.verify(name):
                damaged[digest] = "changed"
        if step is not None:
            step.advance(size)
    if step is not None:
        step.done("")
    return damaged, Scrubbed(Scrub.ALL, number, hashed, read)
