"""The list of voices, a page at a time: a fixed number of questions for a page, however many voices there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, case, exists, func, select

from lifecycle.domain.filters import VoiceFilter
from lifecycle.domain.voices import Role, State, Voice
from lifecycle.registry import tables as t
from lifecycle.registry.queries.audits import grouping
from lifecycle.registry.queries.candidates import meant
from lifecycle.registry.queries.uses import counts
from lifecycle.registry.queries.voices import voice_of

v = t.voices.c


@dataclass(frozen=True, slots=True)
class Shelved:
    """One voice with what a list says of it.

    Attributes:
        people: Pseudonyms.
        version: Number of the current version; 0 where none is left.
        recordings: How many files; `size_bytes` counts a file that it has twice once.
        uses: How many claims protect it now.
    """

    voice: Voice
    people: tuple[str, ...]
    version: int
    held: bool
    recordings: int
    size_bytes: int
    uses: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which voices a list is about.

    Attributes:
        erased: With the tombstones of erased ones, which come last.
        in_use: Only those that something live depends on (True), that nothing does (False), or any.
    """

    filter: VoiceFilter
    now: datetime
    erased: bool = False
    in_use: bool | None = None


class ShelfQueries:
    """What lists ask; one per unit of work."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def page(self, wanted: Wanted, *, after: str | None, limit: int) -> list[Shelved]:
        """Return the next voices by name.

        Args:
            after: The last name of the page before; a voice that came meanwhile is found if it comes later.
        """
        query = select(t.voices).where(self._condition(wanted, named=True))
        if after is not None:
            query = query.where(v.name > after)
        return self._shelved(query.order_by(v.name).limit(limit), wanted.now)

    def tombstones(self, *, now: datetime) -> list[Shelved]:
        """Return what is left of erased voices, the oldest first."""
        query = select(t.voices).where(v.state == State.ERASED.value).order_by(v.id)
        return self._shelved(query, now)

    def groups(self, wanted: Wanted, by: str) -> list[tuple[str | None, Mapping[str, int]]]:
        """Return for each owner, subject, state, upstream or policy how many voices are in each state, and in use.

        A voice of two persons counts for both.
        """
        key, source = grouping(by)
        used = func.sum(case((self._used(wanted.now), 1), else_=0))
        states = [
            func.sum(case((v.state == state.value, 1), else_=0)).label(state.value)
            for state in State
            if state is not State.ERASED
        ]
        query = (
            select(key.label("key"), func.count().label("voices"), used.label("in_use"), *states)
            .select_from(source)
            .where(self._condition(wanted))
            .group_by(key)
        )
        found: dict[str | None, dict[str, int]] = {}
        for row in self._connection.execute(query).mappings():
            numbers = found.setdefault(row["key"] or None, {})
            for name, number in row.items():
                if name != "key":
                    numbers[name] = numbers.get(name, 0) + int(number)
        return sorted(found.items(), key=lambda each: (each[0] is None, each[0] or ""))

    def _condition(self, wanted: Wanted, *, named: bool = False) -> Any:
        conditions = [meant(wanted.filter, named=named)]
        if wanted.in_use is not None:
            conditions.append(self._used(wanted.now) if wanted.in_use else ~self._used(wanted.now))
        return and_(*conditions)

    @staticmethod
    def _used(now: datetime) -> Any:
        return exists().where(t.uses.c.voice_id == v.id, counts(now))

    def _shelved(self, query: Any, now: datetime) -> list[Shelved]:
        rows = self._connection.execute(query).all()
        found: list[Shelved] = []
        for start in range(0, len(rows), 500):
            found += self._batch(rows[start : start + 500], now)
        return found

    def _batch(self, rows: Sequence[Any], now: datetime) -> list[Shelved]:
        ids = [row.id for row in rows]
        people, versions, held = self._people(ids), self._versions(ids), self._held(ids)
        files, uses = self._files(ids), self._uses(ids, now)
        found = []
        for row in rows:
            mine, stored = people.get(row.id, []), files.get(row.id, [])
            found.append(
                Shelved(
                    voice=voice_of(row, tuple(uid for uid, _ in mine)),
                    people=tuple(pseudonym for _, pseudonym in mine),
                    version=versions.get(row.id, 0),
                    held=row.id in held,
                    recordings=sum(role == Role.AUDIO.value for role, _, _ in stored),
                    size_bytes=sum({digest: size for _, digest, size in stored}.values()),
                    uses=uses.get(row.id, 0),
                )
            )
        return found

    def _people(self, ids: Sequence[int]) -> dict[int, list[tuple[str, str]]]:
        link = t.voice_subjects.c
        query = (
            select(link.voice_id, t.subjects.c.uid, t.subjects.c.pseudonym)
            .join(t.subjects, t.subjects.c.id == link.subject_id)
            .where(link.voice_id.in_(ids))
            .order_by(t.subjects.c.id)
        )
        found: dict[int, list[tuple[str, str]]] = {}
        for voice_id, uid, pseudonym in self._connection.execute(query):
            found.setdefault(voice_id, []).append((uid, pseudonym))
        return found

    def _versions(self, ids: Sequence[int]) -> dict[int, int]:
        query = (
            select(t.versions.c.voice_id, func.max(t.versions.c.number).label("number"))
            .where(t.versions.c.voice_id.in_(ids), t.versions.c.withdrawn_at.is_(None))
            .group_by(t.versions.c.voice_id)
        )
        return {row.voice_id: int(row.number) for row in self._connection.execute(query)}

    def _held(self, ids: Sequence[int]) -> set[int]:
        link, active = t.voice_subjects.c, t.holds.c.released_at.is_(None)
        own = select(t.holds.c.voice_id).where(t.holds.c.voice_id.in_(ids), active)
        theirs = (
            select(link.voice_id)
            .join(t.holds, t.holds.c.subject_id == link.subject_id)
            .where(link.voice_id.in_(ids), active)
        )
        return {*self._connection.execute(own).scalars(), *self._connection.execute(theirs).scalars()}

    def _files(self, ids: Sequence[int]) -> dict[int, list[tuple[str, str, int]]]:
        a = t.artifacts.c
        query = select(a.voice_id, a.role, a.digest, a.size_bytes).where(
            a.voice_id.in_(ids), a.present.is_(True)
        )
        found: dict[int, list[tuple[str, str, int]]] = {}
        for voice_id, role, digest, size in self._connection.execute(query):
            found.setdefault(voice_id, []).append((role, digest, size))
        return found

    def _uses(self, ids: Sequence[int], now: datetime) -> dict[int, int]:
        query = (
            select(t.uses.c.voice_id, func.count().label("number"))
            .where(t.uses.c.voice_id.in_(ids), counts(now))
            .group_by(t.uses.c.voice_id)
        )
        return {row.voice_id: int(row.number) for row in self._connection.execute(query)}
