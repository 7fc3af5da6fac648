"""A purge as a durable row: where it is, and which step may follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from lifecycle.domain.errors import IntegrityError


class PurgeState(StrEnum):
    """How far a purge has come; nothing is destroyed before COMMITTED, and COMMITTED cannot be taken back."""

    PLANNED = "planned"
    COMMITTED = "committed"
    DESTROYED = "destroyed"
    VERIFIED = "verified"
    ABORTED = "aborted"

    @property
    def open(self) -> bool:
        """Whether the voice is locked by it."""
        return self in OPEN


OPEN = frozenset({PurgeState.PLANNED, PurgeState.COMMITTED, PurgeState.DESTROYED})

_FOLLOWS: Mapping[PurgeState, frozenset[PurgeState]] = {
    PurgeState.PLANNED: frozenset({PurgeState.COMMITTED, PurgeState.ABORTED}),
    PurgeState.COMMITTED: frozenset({PurgeState.DESTROYED}),
    PurgeState.DESTROYED: frozenset({PurgeState.VERIFIED}),
    PurgeState.VERIFIED: frozenset(),
    PurgeState.ABORTED: frozenset(),
}


def followed(before: PurgeState, after: PurgeState) -> PurgeState:
    """Return the next state of a purge.

    Raises:
        IntegrityError: The step does not follow; only a damaged row or a bug asks for it.
    """
    if after not in _FOLLOWS[before]:
        raise IntegrityError(f"a purge that is {before} cannot become {after}", hint="vlm doctor")
    return after


@dataclass(frozen=True, slots=True)
class Purge:
    """One purge of one voice.

    Attributes:
        verb: "purge-audio" or "erase".
        plan: The frozen plan, random ids only; see lifecycle/erasure/plan.py.
        request: The sealed id of the request that asked for it, or None.
    """

    uid: str
    voice_uid: str
    verb: str
    state: PurgeState
    plan: Mapping[str, object]
    plan_digest: str
    basis: str | None
    request: bytes | None
    opened_at: datetime
    changed_at: datetime
