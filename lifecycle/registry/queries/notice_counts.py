"""Notices of very many voices: counted in SQL, listed up to a bound, remembered one by one only up to it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, not_, select

from lifecycle.domain.filters import VoiceFilter
from lifecycle.domain.risks import Severity
from lifecycle.registry import tables as t
from lifecycle.registry.queries.audits import AuditQueries, slices
from lifecycle.registry.queries.candidates import Kinds, meant, notices
from lifecycle.registry.queries.findings import FindingQueries, Known, remembered

NOTICE = Severity.NOTICE.value


@dataclass(frozen=True, slots=True)
class Asked:
    """Which notice, of whom, and who lives with it.

    Attributes:
        accepted: Ids of the voices for which somebody accepted it; None: for every voice.
        limit: So many are listed, and remembered, one by one.
        only_new: Only those are reported that are not remembered.
    """

    word: str
    wanted: VoiceFilter
    kinds: Kinds
    accepted: Collection[str] | None
    limit: int
    only_new: bool = False
    group_by: str | None = None


@dataclass(frozen=True, slots=True)
class Counted:
    """Exact numbers of one notice.

    Attributes:
        ids: Voices to be listed: at most `limit` that are reported, and as many that are not.
        fold: What is remembered of the notice as a whole, where very many voices share it.
    """

    found: int = 0
    accepted: int = 0
    new: int = 0
    ids: frozenset[int] = frozenset()
    by_group: dict[str | None, int] = field(default_factory=dict)
    fold: Known | None = None


class NoticeCounts:
    """What an audit asks and remembers about notices; one per unit of work."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._findings = FindingQueries(connection)
        self._audits = AuditQueries(connection)

    def count(self, asked: Asked) -> Counted:
        """Count a notice, and choose the voices that are listed."""
        here = self._here(asked)
        first = self._ids(*here, limit=asked.limit + 1)
        if not first:
            return Counted()
        found = len(first) if len(first) <= asked.limit else self._count(*here)
        mine = set() if asked.accepted is None else self._of_uids(asked.accepted, here)
        accepted = found if asked.accepted is None else len(mine)
        fold = self._findings.of_none().get((None, asked.word, NOTICE))
        known = set() if fold is not None else self._known_of(asked, here)
        new = 0 if fold is not None or asked.accepted is None else found - accepted - len(known - mine)
        reported = [*here, *([not_(t.voices.c.id.in_(sorted(mine)))] if mine else [])]
        reported += [not_(remembered(asked.word, NOTICE))] if asked.only_new else []
        anything = new if asked.only_new else found - accepted
        ids = first[: asked.limit]
        if anything and found > asked.limit and len(reported) > len(here):
            ids += self._ids(*reported, limit=asked.limit)
        by = asked.group_by if anything else None
        groups = {} if by is None else self._audits.grouped(asked.wanted, by, *reported)
        return Counted(found, accepted, new, frozenset(ids), groups, fold)

    def remember(self, asked: Asked, counted: Counted, *, at: datetime) -> None:
        """Note which voices have the notice now, and forget the others.

        Very many are noted by one row. Where only some voices were looked at, that row is not decided anew.

        Args:
            counted: What `count` said of it.
        """
        here, many = self._here(asked), counted.found - counted.accepted > asked.limit
        fold = self._findings.of_none().get((None, asked.word, NOTICE))
        rows = self._findings.rows_of(asked.word, NOTICE, asked.wanted)
        ids: list[int] = []
        if asked.accepted is not None and counted.found > counted.accepted and not many:
            ids = sorted(set(self._ids(*here)) - self._of_uids(asked.accepted, here))
        if many or (fold is not None and not asked.wanted.all):
            self._findings.forget(rows.values())
            if asked.wanted.all:
                self._findings.remember(asked.word, NOTICE, [None], at=at)
            return
        still = set(ids)
        self._findings.forget(row for voice, row in rows.items() if voice not in still)
        since, told = (at, None) if fold is None else (fold.since, fold.notified_at)
        self._findings.remember(asked.word, NOTICE, ids, at=since, told_at=told)
        self._findings.forget([] if fold is None else [fold.id])

    def _here(self, asked: Asked) -> list[Any]:
        return [meant(asked.wanted), notices(asked.kinds)[asked.word]]

    def _known_of(self, asked: Asked, here: list[Any]) -> set[int]:
        found: set[int] = set()
        for part in slices(self._findings.rows_of(asked.word, NOTICE, asked.wanted)):
            found |= set(self._ids(*here, t.voices.c.id.in_(part)))
        return found

    def _of_uids(self, uids: Collection[str], here: list[Any]) -> set[int]:
        found: set[int] = set()
        for part in slices(uids):
            found |= set(self._ids(*here, t.voices.c.uid.in_(part)))
        return found

    def _count(self, *conditions: Any) -> int:
        query = select(func.count()).select_from(t.voices).where(*conditions)
        return int(self._connection.execute(query).scalar_one())

    def _ids(self, *conditions: Any, limit: int | None = None) -> list[int]:
        query = select(t.voices.c.id).where(*conditions).order_by(t.voices.c.id)
        return list(self._connection.execute(query if limit is None else query.limit(limit)).scalars())
