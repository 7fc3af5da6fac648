"""Which voices the options of a command mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lifecycle.domain.errors import UsageError
from lifecycle.domain.filters import VoiceFilter
from lifecycle.domain.voices import State
from lifecycle.services.people.subjects import known_subject

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms


def filter_of(
    *,
    rooms: Rooms,
    owner: str | None = None,
    subject: str | None = None,
    states: Sequence[str] = (),
    upstream: str | None = None,
    policy: str | None = None,
) -> VoiceFilter:
    """Return the filter that words mean.

    Args:
        subject: A person's id or pseudonym.

    Raises:
        NotFound: Nobody is known by the id.
        UsageError: There is no such state.
    """
    words = [state.value for state in State]
    for state in states:
        if state not in words:
            raise UsageError(f'"{state}" is no state of a voice', hint=f"one of: {', '.join(words)}")
    uid = None
    if subject is not None:
        with rooms.registry.read() as uow:
            uid = known_subject(subject, uow=uow, rooms=rooms).uid
    return VoiceFilter(
        owner=owner,
        subject_uid=uid,
        states=tuple(State(state) for state in states),
        upstream=upstream,
        policy=policy,
    )
