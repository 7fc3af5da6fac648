"""`vlm deprecate`, `vlm restore`: a voice moves to another state; every file stays where it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lifecycle.domain.failpoints import hit
from lifecycle.domain.states import Move, moved
from lifecycle.services.guard import check_use, refuse_while_purged

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms

_PAST = {Move.DEPRECATE: "deprecated", Move.RESTORE: "restored"}
_BARE = {Move.DEPRECATE: "deprecate", Move.RESTORE: "restore"}


@dataclass(frozen=True, slots=True)
class Moved:
    """A voice that changed its state."""

    voice: str
    move: Move
    before: str
    state: str
    mute: bool
    dry_run: bool

    def to_json(self) -> dict[str, object]:
        """Return the result for programs."""
        return {
            "voice": self.voice,
            "state": self.before if self.dry_run else self.state,
            "before": self.before,
            "mute": self.mute,
            "dry_run": self.dry_run,
        }

    def lines(self) -> list[str]:
        """Return the result for people."""
        did = f"would {_BARE[self.move]}" if self.dry_run else _PAST[self.move]
        lines = [f"{did} {self.voice}: {self.before} -> {self.state}"]
        if self.move is Move.DEPRECATE:
            lines.append(f"it still speaks; back again: vlm restore {self.voice}")
        elif self.mute:
            lines.append(
                "it is mute: what it is conditioned on was purged    "
                f"vlm register {self.voice} --embedding FILE"
            )
        return lines


def deprecate(name: str, *, rooms: Rooms, dry_run: bool = False) -> Moved:
    """Say that a voice should no longer be used for new work; it still speaks.

    Raises:
        NotFound: There is no such voice.
        Refused: Its state does not allow it, or a purge of it is open.
    """
    return _move(name, Move.DEPRECATE, rooms=rooms, dry_run=dry_run)


def restore(name: str, *, rooms: Rooms, dry_run: bool = False) -> Moved:
    """Bring a deprecated or retired voice back into service, without what was purged.

    Raises:
        NotFound: There is no such voice.
        Refused: Its state does not allow it, a purge of it is open, or no consent holds that is newer than any
            withdrawal or expiry.
    """
    return _move(name, Move.RESTORE, rooms=rooms, dry_run=dry_run)


def _move(name: str, move: Move, *, rooms: Rooms, dry_run: bool) -> Moved:
    with rooms.registry.write() as uow:
        voice = uow.voices.get(name)
        refuse_while_purged(voice, uow=uow)
        state = moved(name, voice.state, move)
        now = rooms.clock()
        if move is Move.RESTORE:
            check_use(voice, "restore", uow=uow, now=now)
        result = Moved(name, move, voice.state.value, state.value, voice.mute, dry_run)
        if dry_run:
            return result
        uow.voices.update(replace(voice, state=state, changed_at=now))
        uow.trail.append(move.value, voice_uid=voice.uid, details={"before": voice.state.value})
        hit("states.before_commit")
        uow.commit()
    return result
