"""Checkpoints of the trail, the anchor beside the keys, and what `vlm trail verify` can and cannot show."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lifecycle.domain.canonical import Json, canonical_json
from lifecycle.domain.errors import IntegrityError, VlmError
from lifecycle.domain.events import CHAIN_START, chained, leaf_of
from lifecycle.domain.failpoints import hit
from lifecycle.domain.merkle import Frontier, leaf_hash, root
from lifecycle.registry.times import to_text
from lifecycle.registry.trail import Checkpoint, StoredEvent
from lifecycle.vault.anchor import Anchor, Standing, compare, timestamp
from lifecycle.vault.files import locked

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.registry.unit_of_work import UnitOfWork

DETECTS = (
    "any change, removal, insertion or reordering of events, and of the details that are still there, by anyone "
    "without the checkpoint key"
)
NEEDS_MORE = (
    "a trail that was put back as it once was, keys included: only an anchor, a receipt or a timestamp that was "
    "kept elsewhere shows it"
)
_MAX_PROBLEMS = 50


def seal_checkpoint(*, rooms: Rooms) -> Mapping[str, Json]:
    """Sign the trail as it is now and move the anchor on; done already is cheap.

    It comes after the commit of what it covers. A crash between leaves an anchor that is older than the trail by
    a few valid leaves, which the next opening finds and mends.

    Returns:
        The signed record: `body` (log, size, root, chain, at), `key`, `signature`.

    Raises:
        IntegrityError: The trail is shorter than the anchor says, or another one.
        Busy: Another process seals.
    """
    lock = rooms.settings.home / "checkpoint.lock"
    with locked(lock, what="the trail's checkpoint", seconds=30.0):
        with rooms.registry.read() as uow:
            size, head = uow.trail.head()
            last = uow.trail.last_checkpoint()
        if last is not None and last.size == size:
            record: Mapping[str, Json] = json.loads(last.note)
        else:
            record = _sign(size, rooms)
        hit("trail.before_anchor")
        _advance(size, head, rooms)
    return record


def _sign(size: int, rooms: Rooms) -> Mapping[str, Json]:
    now = rooms.clock()
    with rooms.registry.write() as uow:
        tree = root(uow.trail.leaf_hashes(end=size)).hex()
        body: dict[str, Json] = {
            "log": rooms.installation,
            "size": size,
            "root": tree,
            "chain": uow.trail.chain_at(size),
            "at": to_text(now),
        }
        record = rooms.vault.signing.sign_record("checkpoint", body)
        note = canonical_json(record).decode("utf-8")
        uow.trail.add_checkpoint(Checkpoint(size, tree, now, note))
        uow.commit()
    return record


def _advance(size: int, head: str, rooms: Rooms) -> None:
    old = rooms.vault.anchor.read()
    ledger_size, ledger_head = rooms.vault.ledger.head()
    epoch = epoch_of(rooms)
    if old is not None and (old.trail_size, old.ledger_size, old.epoch) == (size, ledger_size, epoch):
        return
    rooms.vault.anchor.advance(
        Anchor(
            trail_size=size,
            trail_head=head,
            ledger_size=ledger_size,
            ledger_head=ledger_head,
            epoch=epoch,
            highest_clock=timestamp(rooms.clock()),
            generation=1 if old is None else old.generation + 1,
        )
    )


def epoch_of(rooms: Rooms) -> int:
    """Return the number of the current key epoch."""
    from lifecycle.vault.key_database import current_epoch

    with rooms.vault.keys.database.read() as connection:
        return current_epoch(connection).number


def standing(rooms: Rooms) -> Standing:
    """Say how the registry stands to the anchor; a suffix that the anchor did not see must chain on."""
    anchor = rooms.vault.anchor.read()
    with rooms.registry.read() as uow:
        size, _ = uow.trail.head()
        if anchor is None:
            return Standing.UNKNOWN if size else Standing.OK
        told = compare(
            anchor,
            trail_size=size,
            head_at_anchor=uow.trail.chain_at(anchor.trail_size),
            epoch=epoch_of(rooms),
            ledger_size=rooms.vault.ledger.head()[0],
        )
        if told is Standing.AHEAD and not _suffix_holds(anchor, uow):
            return Standing.FORKED
    return told


def _suffix_holds(anchor: Anchor, uow: UnitOfWork) -> bool:
    before = anchor.trail_head
    for stored in uow.trail.stored(start=anchor.trail_size):
        if flaws_of(stored, stored.event.sequence, before):
            return False
        before = stored.event.chain_hash
    return True


@dataclass(frozen=True, slots=True)
class TrailReport:
    """What re-computing the whole trail gave.

    Attributes:
        details: Events whose details were opened and agree with their leaf.
        forgotten: Events whose details are gone, by an erasure or because there never were any.
        anchor: How it stands to the anchor beside the keys.
    """

    size: int
    root: str
    checkpoints: int
    details: int
    forgotten: int
    anchor: str
    problems: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0, or 5 where anything disagrees."""
        return IntegrityError.exit_code if self.problems else 0

    def to_json(self) -> dict[str, object]:
        """Return the report for programs."""
        body: dict[str, object] = {
            "verified": not self.problems,
            "size": self.size,
            "root": self.root,
            "checkpoints": self.checkpoints,
            "details_opened": self.details,
            "details_gone": self.forgotten,
            "anchor": self.anchor,
            "problems": list(self.problems),
            "detects": DETECTS,
            "needs_more": NEEDS_MORE,
        }
        if self.problems:
            body["error"] = {
                "code": IntegrityError.code,
                "message": self.lines()[0],
                "hint": "vlm doctor",
            }
        return body

    def lines(self) -> list[str]:
        """Return the report for people, the answer first."""
        if self.problems:
            first = [f"the trail was changed: {len(self.problems)} finding(s)"]
            return [*first, *(f"  {problem}" for problem in self.problems)]
        return [
            f"the trail is whole: {self.size} events, {self.checkpoints} signed checkpoints, anchor {self.anchor}",
            f"  details: {self.details} opened and right, {self.forgotten} without (erased, or never any)",
            f"  this shows: {DETECTS}",
            f"  it cannot show: {NEEDS_MORE}",
        ]


def verify_trail(*, rooms: Rooms) -> TrailReport:
    """Re-compute every leaf, hash, chain link, detail and checkpoint, and compare with the anchor.

    Changes nothing; a damaged trail is a report, not an error.
    """
    problems: list[str] = []
    frontier, roots, before = Frontier(), {0: root([]).hex()}, CHAIN_START
    details = forgotten = 0
    with rooms.registry.read() as uow:
        checkpoints = uow.trail.checkpoints()
        wanted = {checkpoint.size for checkpoint in checkpoints}
        for index, stored in enumerate(uow.trail.stored()):
            problems += flaws_of(stored, index, before)
            opened, flaw = _open(stored, uow)
            details, forgotten = details + opened, forgotten + (stored.details is None)
            problems += [flaw] if flaw else []
            before = stored.event.chain_hash
            frontier.append(leaf_hash(stored.leaf))
            if frontier.size in wanted:
                roots[frontier.size] = frontier.root().hex()
    for checkpoint in checkpoints:
        problems += _checkpoint_flaws(checkpoint, roots.get(checkpoint.size), rooms)
    anchored, flaw = _anchored(rooms)
    problems += [flaw] if flaw else []
    return TrailReport(
        size=frontier.size,
        root=frontier.root().hex(),
        checkpoints=len(checkpoints),
        details=details,
        forgotten=forgotten,
        anchor=anchored,
        problems=tuple(problems[:_MAX_PROBLEMS]),
    )


def flaws_of(stored: StoredEvent, index: int, before: str) -> list[str]:
    """Return what is wrong with one event's row, leaf, hash or link; empty when all agree."""
    event, flaws = stored.event, []
    if event.sequence != index:
        flaws.append(f"event {index} is missing")
    try:
        leaf = leaf_of(
            event.sequence,
            uid=event.uid,
            at=to_text(event.at),
            verb=event.verb,
            ids=event.ids,
            details_digest=event.details_digest,
        )
    except ValueError:
        leaf = b""
    named = (event.ids.get("voice"), event.ids.get("subject"))
    if leaf != stored.leaf or named != (stored.voice_uid, stored.subject_uid):
        flaws.append(f"event {event.sequence}: its row and its leaf differ")
    if leaf_hash(stored.leaf).hex() != event.leaf_hash:
        flaws.append(f"event {event.sequence}: its leaf is not what was hashed")
    if _link(before, event.leaf_hash) != event.chain_hash:
        flaws.append(f"event {event.sequence}: it does not follow the event before it")
    return flaws


def _link(before: str, leaf: str) -> str | None:
    try:
        return chained(before, leaf)
    except ValueError:
        return None


def _open(stored: StoredEvent, uow: UnitOfWork) -> tuple[int, str | None]:
    try:
        return int(uow.trail.details(stored) is not None), None
    except (VlmError, ValueError) as error:
        why = error.message if isinstance(error, VlmError) else str(error)
        return 0, f"event {stored.event.sequence}: {why}"


def _checkpoint_flaws(checkpoint: Checkpoint, tree: str | None, rooms: Rooms) -> list[str]:
    what = f"checkpoint {checkpoint.size}"
    try:
        body: Mapping[str, Any] = rooms.vault.signing.verify_record("checkpoint", json.loads(checkpoint.note))
    except (VlmError, ValueError) as error:
        return [f"{what}: {error}"]
    told = (body.get("log"), body.get("size"), body.get("root"))
    if told != (rooms.installation, checkpoint.size, checkpoint.root):
        return [f"{what}: its row and what was signed differ"]
    if tree is None:
        return [f"{what}: the trail is shorter than what was signed"]
    return [] if tree == checkpoint.root else [f"{what}: the events are not those that were signed"]


def _anchored(rooms: Rooms) -> tuple[str, str | None]:
    try:
        told = standing(rooms)
    except VlmError as error:
        return "damaged", error.message
    if told is Standing.OLDER:
        return told.value, "the registry is older than the anchor beside the keys: it was put back"
    if told is Standing.FORKED:
        return told.value, "the anchor beside the keys saw another history"
    return told.value, None
