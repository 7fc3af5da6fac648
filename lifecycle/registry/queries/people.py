"""What a list of people shows, a page at a time; as many queries for a thousand people as for one."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, and_, exists, func, or_, select

from lifecycle.domain.subjects import Consent
from lifecycle.registry import tables as t
from lifecycle.registry.queries.subjects import consent_of
from lifecycle.registry.times import from_text, to_text

MAX_PAGE = 1000
_SLICE = 500


@dataclass(frozen=True, slots=True)
class PeopleFilter:
    """Which people are wanted; every condition that is given must hold.

    Attributes:
        voice: Name of a voice of theirs.
        open_case: A case of theirs is open.
        held: A hold lies on them or on a voice of theirs.
        without_consent: No consent of theirs holds.
        ends_before: A consent of theirs ends before this moment.
    """

    voice: str | None = None
    open_case: bool = False
    held: bool = False
    without_consent: bool = False
    ends_before: datetime | None = None


@dataclass(slots=True)
class PersonRow:
    """One line of the list.

    Attributes:
        voices: Name, state and id of each voice of theirs; the name is empty where it was erased.
        consents: Each with the id of the voice that it is for; None: for all.
        due_on: The first day by which an open case must be done.
    """

    uid: str
    pseudonym: str
    known: bool
    created_at: datetime
    voices: list[tuple[str, str, str]] = field(default_factory=list)
    consents: list[tuple[Consent, str | None]] = field(default_factory=list)
    open_cases: int = 0
    due_on: date | None = None
    holds: int = 0


class PeopleQueries:
    """Pages of people; one per unit of work."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def page(
        self, wanted: PeopleFilter, *, now: datetime, after: str | None = None, limit: int = 100
    ) -> list[PersonRow]:
        """Return people in the order in which they came.

        Args:
            after: Pseudonym of the last person of the page before.
            limit: At most this many, up to `MAX_PAGE`.
        """
        query = select(t.subjects).order_by(t.subjects.c.id).limit(min(limit, MAX_PAGE))
        for condition in _conditions(wanted, now):
            query = query.where(condition)
        if after is not None:
            last = select(t.subjects.c.id).where(t.subjects.c.pseudonym == after).scalar_subquery()
            query = query.where(t.subjects.c.id > last)
        found = {
            row.id: PersonRow(row.uid, row.pseudonym, row.label_sealed is not None, from_text(row.created_at))
            for row in self._connection.execute(query)
        }
        ids = list(found)
        for start in range(0, len(ids), _SLICE):
            self._fill(found, ids[start : start + _SLICE])
        return list(found.values())

    def _fill(self, found: dict[int, PersonRow], ids: list[int]) -> None:
        voices = (
            select(t.voice_subjects.c.subject_id, t.voices.c.name, t.voices.c.state, t.voices.c.uid)
            .join(t.voices, t.voices.c.id == t.voice_subjects.c.voice_id)
            .where(t.voice_subjects.c.subject_id.in_(ids))
            .order_by(t.voices.c.id)
        )
        for row in self._connection.execute(voices):
            found[row.subject_id].voices.append((row.name or "", row.state, row.uid))
        consents: Any = (
            select(t.consents, t.subjects.c.uid.label("subject_uid"), t.voices.c.uid.label("voice_uid"))
            .join(t.subjects, t.subjects.c.id == t.consents.c.subject_id)
            .outerjoin(t.voices, t.voices.c.id == t.consents.c.voice_id)
            .where(t.consents.c.subject_id.in_(ids))
            .order_by(t.consents.c.id)
        )
        rows: Any = self._connection.execute(consents)
        for row in rows:
            found[row.subject_id].consents.append((consent_of(row), row.voice_uid))
        cases = (
            select(
                t.cases.c.subject_id, func.count().label("number"), func.min(t.cases.c.due_on).label("due")
            )
            .where(t.cases.c.subject_id.in_(ids), t.cases.c.closed_at.is_(None))
            .group_by(t.cases.c.subject_id)
        )
        for row in self._connection.execute(cases):
            found[row.subject_id].open_cases = int(row.number)
            found[row.subject_id].due_on = date.fromisoformat(row.due)
        for query in (_holds_on_people(ids), _holds_on_voices(ids)):
            for row in self._connection.execute(query):
                found[row.subject_id].holds += int(row.number)


def _holds_on_people(ids: list[int]) -> Any:
    return (
        select(t.holds.c.subject_id, func.count().label("number"))
        .where(t.holds.c.subject_id.in_(ids), t.holds.c.released_at.is_(None))
        .group_by(t.holds.c.subject_id)
    )


def _holds_on_voices(ids: list[int]) -> Any:
    return (
        select(t.voice_subjects.c.subject_id, func.count().label("number"))
        .join(t.holds, t.holds.c.voice_id == t.voice_subjects.c.voice_id)
        .where(t.voice_subjects.c.subject_id.in_(ids), t.holds.c.released_at.is_(None))
        .group_by(t.voice_subjects.c.subject_id)
    )


def _conditions(wanted: PeopleFilter, now: datetime) -> list[Any]:
    person = t.subjects.c.id
    conditions: list[Any] = []
    # What is asked for is rare, so it is looked up first, and the people after it.
    of_voice = t.voice_subjects.c
    if wanted.voice is not None:
        named = select(of_voice.subject_id).join(t.voices, t.voices.c.id == of_voice.voice_id)
        conditions.append(person.in_(named.where(t.voices.c.name == wanted.voice)))
    if wanted.open_case:
        conditions.append(person.in_(select(t.cases.c.subject_id).where(t.cases.c.closed_at.is_(None))))
    if wanted.held:
        active = t.holds.c.released_at.is_(None)
        theirs = select(t.holds.c.subject_id).where(active, t.holds.c.subject_id.is_not(None))
        on_voices = select(of_voice.subject_id).join(t.holds, t.holds.c.voice_id == of_voice.voice_id)
        conditions.append(or_(person.in_(theirs), person.in_(on_voices.where(active))))
    holds = select(t.consents.c.id).where(t.consents.c.subject_id == person, _holding(now))
    if wanted.without_consent:
        conditions.append(~exists(holds))
    if wanted.ends_before is not None:
        conditions.append(exists(holds.where(t.consents.c.valid_until < to_text(wanted.ends_before))))
    return conditions


def _holding(now: datetime) -> Any:
    text, row = to_text(now), t.consents.c
    return and_(
        row.withdrawn_at.is_(None),
        or_(row.valid_until.is_(None), row.valid_until > text),
        or_(row.valid_from.is_(None), row.valid_from <= text),
    )
