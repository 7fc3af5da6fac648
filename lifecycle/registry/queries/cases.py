"""Requests of people that must be answered by a day."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Row, func, or_, select, update

from lifecycle.domain.errors import IntegrityError
from lifecycle.domain.subjects import WITHDRAWAL, Case, Outcome
from lifecycle.registry import tables as t
from lifecycle.registry.times import from_text, maybe_text, maybe_time, to_text

_SLICE = 500


@dataclass(frozen=True, slots=True)
class CaseRow:
    """A case with what people call those whom it is about.

    Attributes:
        voice: Name of the one voice that it concerns; None: all, or that voice was erased since.
    """

    case: Case
    pseudonym: str
    voice: str | None


class CaseQueries:
    """What services ask and change about cases; one per unit of work."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, case: Case) -> None:
        """Store a new case."""
        self._connection.execute(
            t.cases.insert().values(
                uid=case.uid,
                subject_id=self._id(t.subjects, case.subject_uid),
                voice_id=None if case.voice_uid is None else self._id(t.voices, case.voice_uid),
                kind=case.kind,
                received_on=case.received_on.isoformat(),
                due_on=case.due_on.isoformat(),
                opened_at=to_text(case.opened_at),
                closed_at=maybe_text(case.closed_at),
                outcome=None if case.outcome is None else case.outcome.value,
                request_sealed=case.request,
            )
        )

    def find(self, prefix: str) -> list[CaseRow]:
        """Return the cases whose id begins with these hexadecimal digits, at most two."""
        query = _select().where(t.cases.c.uid.like(f"{prefix}%")).order_by(t.cases.c.id).limit(2)
        return [_row(row) for row in self._connection.execute(query)]

    def of_subject(self, subject_uid: str, *, open_only: bool = False) -> list[Case]:
        """Return a person's cases, oldest first."""
        query = _select().where(t.subjects.c.uid == subject_uid).order_by(t.cases.c.id)
        if open_only:
            query = query.where(t.cases.c.closed_at.is_(None))
        return [_case(row) for row in self._connection.execute(query)]

    def open_over(self, subject_uids: Collection[str], voice_uid: str | None) -> list[CaseRow]:
        """Return the open withdrawals of some people that concern a voice; None: one that does not exist yet."""
        if not subject_uids:
            return []
        concerned: Any = t.cases.c.voice_id.is_(None)
        if voice_uid is not None:
            concerned = or_(concerned, t.voices.c.uid == voice_uid)
        query = _select().where(
            t.subjects.c.uid.in_(sorted(subject_uids)[:_SLICE]),
            t.cases.c.closed_at.is_(None),
            t.cases.c.kind == WITHDRAWAL,
            concerned,
        )
        return [_row(row) for row in self._connection.execute(query.order_by(t.cases.c.id))]

    def page(
        self, *, open_only: bool, due_by: date | None = None, after: str | None = None, limit: int = 100
    ) -> list[CaseRow]:
        """Return cases, the one that is due first at the front.

        Args:
            due_by: Only those that are due on this day or before.
            after: Id of the last case of the page before.
        """
        query = _select().order_by(t.cases.c.due_on, t.cases.c.id).limit(limit)
        if open_only:
            query = query.where(t.cases.c.closed_at.is_(None))
        if due_by is not None:
            query = query.where(t.cases.c.due_on <= due_by.isoformat())
        if after is not None:
            last = self._connection.execute(select(t.cases).where(t.cases.c.uid == after)).first()
            if last is not None:
                later = (t.cases.c.due_on == last.due_on) & (t.cases.c.id > last.id)
                query = query.where(or_(t.cases.c.due_on > last.due_on, later))
        return [_row(row) for row in self._connection.execute(query)]

    def close(self, uid: str, outcome: Outcome, *, at: datetime) -> bool:
        """End a case; False where it was closed already."""
        changed = self._connection.execute(
            update(t.cases)
            .where(t.cases.c.uid == uid, t.cases.c.closed_at.is_(None))
            .values(closed_at=to_text(at), outcome=outcome.value)
        )
        return changed.rowcount == 1

    def things_left(self, subject_uid: str, voice_uid: str | None) -> int:
        """Return how many stored things but evidence are left of a person, in one voice or in all of theirs."""
        mine = (
            select(t.voice_subjects.c.voice_id)
            .join(t.subjects, t.subjects.c.id == t.voice_subjects.c.subject_id)
            .where(t.subjects.c.uid == subject_uid)
        )
        query = (
            select(t.artifacts.c.id)
            .join(t.voices, t.voices.c.id == t.artifacts.c.voice_id)
            .where(
                t.artifacts.c.voice_id.in_(mine),
                t.artifacts.c.present.is_(True),
                t.artifacts.c.data_class != "evidence",
            )
        )
        if voice_uid is not None:
            query = query.where(t.voices.c.uid == voice_uid)
        return len(self._connection.execute(query.order_by(t.artifacts.c.id)).all())

    def open_by_voice(self) -> dict[str, list[CaseRow]]:
        """Return the open cases that concern each voice that was not erased, in one query."""
        concerned = t.voices.alias("concerned")
        query = (
            _select()
            .add_columns(concerned.c.uid.label("concerned_uid"))
            .join(t.voice_subjects, t.voice_subjects.c.subject_id == t.cases.c.subject_id)
            .join(concerned, concerned.c.id == t.voice_subjects.c.voice_id)
            .where(
                t.cases.c.closed_at.is_(None),
                concerned.c.state != "erased",
                or_(t.cases.c.voice_id.is_(None), t.cases.c.voice_id == concerned.c.id),
            )
            .order_by(t.cases.c.id, concerned.c.id)
        )
        found: dict[str, list[CaseRow]] = {}
        for row in self._connection.execute(query):
            found.setdefault(row.concerned_uid, []).append(_row(row))
        return found

    def reviews_by_voice(self) -> dict[str, list[date]]:
        """Return the days by which the active holds over each voice must be looked at again, in two queries."""
        active = (t.holds.c.released_at.is_(None), t.holds.c.review_on.is_not(None))
        own = (
            select(t.voices.c.uid, t.holds.c.review_on)
            .join(t.voices, t.voices.c.id == t.holds.c.voice_id)
            .where(*active)
            .order_by(t.holds.c.id)
        )
        of_people = (
            select(t.voices.c.uid, t.holds.c.review_on)
            .join(t.voice_subjects, t.voice_subjects.c.subject_id == t.holds.c.subject_id)
            .join(t.voices, t.voices.c.id == t.voice_subjects.c.voice_id)
            .where(*active)
            .order_by(t.holds.c.id, t.voices.c.id)
        )
        found: dict[str, list[date]] = {}
        for query in (own, of_people):
            for uid, day in self._connection.execute(query):
                found.setdefault(uid, []).append(date.fromisoformat(day))
        return found

    def backups_since(self, at: datetime) -> tuple[int, datetime | None]:
        """Return how many backups were made since a moment, and when the newest was."""
        copies = (t.backups.c.kind == "registry") & (t.backups.c.made_at >= to_text(at))
        query = select(func.count(), func.max(t.backups.c.made_at)).where(copies)
        number, newest = self._connection.execute(query).one()
        return int(number), maybe_time(newest)

    def _id(self, table: Any, uid: str) -> int:
        found = self._connection.execute(select(table.c.id).where(table.c.uid == uid)).scalar()
        if found is None:
            raise IntegrityError(f"{table.name[:-1]} {uid[:12]} has no row", hint="vlm doctor")
        return int(found)


def _select() -> Any:
    return (
        select(
            t.cases,
            t.subjects.c.uid.label("subject_uid"),
            t.subjects.c.pseudonym,
            t.voices.c.uid.label("voice_uid"),
            t.voices.c.name.label("voice_name"),
        )
        .join(t.subjects, t.subjects.c.id == t.cases.c.subject_id)
        .outerjoin(t.voices, t.voices.c.id == t.cases.c.voice_id)
    )


def _row(row: Row[Any]) -> CaseRow:
    return CaseRow(_case(row), row.pseudonym, row.voice_name)


def _case(row: Row[Any]) -> Case:
    return Case(
        uid=row.uid,
        subject_uid=row.subject_uid,
        voice_uid=row.voice_uid,
        kind=row.kind,
        received_on=date.fromisoformat(row.received_on),
        due_on=date.fromisoformat(row.due_on),
        opened_at=from_text(row.opened_at),
        closed_at=maybe_time(row.closed_at),
        outcome=None if row.outcome is None else Outcome(row.outcome),
        request=row.request_sealed,
    )
