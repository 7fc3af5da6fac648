"""Which moves a voice may make, as one table."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from lifecycle.domain.errors import Refused
from lifecycle.domain.voices import State


class Move(StrEnum):
    """A verb that changes a voice's state."""

    DEPRECATE = "deprecate"
    RETIRE = "retire"
    RESTORE = "restore"
    ERASE = "erase"


MOVES: Mapping[tuple[State, Move], State] = {
    (State.ACTIVE, Move.DEPRECATE): State.DEPRECATED,
    (State.DEPRECATED, Move.RESTORE): State.ACTIVE,
    (State.ACTIVE, Move.RETIRE): State.RETIRED,
    (State.DEPRECATED, Move.RETIRE): State.RETIRED,
    (State.RETIRED, Move.RESTORE): State.ACTIVE,
    (State.RETIRED, Move.ERASE): State.ERASED,
}

SPEAKS = frozenset({State.ACTIVE, State.DEPRECATED})


def moved(name: str, state: State, move: Move) -> State:
    """Return the state after a move.

    Raises:
        Refused: The table has no such move; the hint names a command that does.
    """
    target = MOVES.get((state, move))
    if target is not None:
        return target
    if state is State.ERASED:
        raise Refused(f'"{name}" was erased; a tombstone is all that is left of it', hint=f"vlm show {name}")
    if move is Move.ERASE:
        raise Refused(
            f'"{name}" is {state}; only a retired voice can be erased',
            hint=f"vlm retire {name} --purge-audio",
        )
    raise Refused(f'"{name}" is already {state}', hint=f"vlm show {name}")
