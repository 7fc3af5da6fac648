"""`vlm retire`: end a voice's service. Nothing is deleted here; a purge is `services/purges/purge.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lifecycle.domain.failpoints import hit
from lifecycle.domain.states import Move, moved
from lifecycle.services.guard import refuse_while_purged

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms


@dataclass(frozen=True, slots=True)
class Retired:
    """What plain `vlm retire` did."""

    voice: str
    before: str
    dry_run: bool

    def to_json(self) -> Mapping[str, object]:
        """Return the result for programs."""
        return {
            "voice": self.voice,
            "state": self.before if self.dry_run else "retired",
            "before": self.before,
            "purged": False,
            "dry_run": self.dry_run,
        }


def retire(name: str, *, rooms: Rooms, dry_run: bool = False) -> Retired:
    """Move a voice to retired, in one transaction with its event; every file stays.

    Raises:
        NotFound: No voice has this name.
        Refused: The voice is retired or erased already, or a purge of it is open.
    """
    with rooms.registry.write() as uow:
        voice = uow.voices.get(name)
        refuse_while_purged(voice, uow=uow)
        state = moved(name, voice.state, Move.RETIRE)
        result = Retired(voice=name, before=voice.state.value, dry_run=dry_run)
        if dry_run:
            return result
        now = rooms.clock()
        uow.voices.update(replace(voice, state=state, changed_at=now, retired_at=now))
        uow.trail.append("retire", voice_uid=voice.uid, details={"before": voice.state.value})
        hit("retire.before_commit")
        uow.commit()
    return result
