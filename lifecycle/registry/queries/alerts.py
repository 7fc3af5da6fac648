"""What a night tells people, and what they were told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select, update

from lifecycle.registry import tables as t
from lifecycle.registry.times import from_text, to_text

_SLICE = 500


@dataclass(frozen=True, slots=True)
class DueNotice:
    """Things of one policy and rule that are about to go, of which nobody was told.

    Attributes:
        due_at: When the first of them may go.
        items: How many things.
        voices: Of how many voices.
    """

    policy: str
    rule: str
    due_at: datetime
    items: int
    voices: int


class AlertQueries:
    """What the nightly audit asks and notes; one per unit of work."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def ids(self, names: Iterable[str]) -> dict[str, str]:
        """Return the random ids of voices by their names."""
        wanted = sorted(set(names))
        found: dict[str, str] = {}
        for start in range(0, len(wanted), _SLICE):
            query = select(t.voices.c.name, t.voices.c.uid).where(
                t.voices.c.name.in_(wanted[start : start + _SLICE])
            )
            found |= {row.name: row.uid for row in self._connection.execute(query)}
        return found

    def states(self) -> dict[str, int]:
        """Return how many voices there are in each state."""
        query = select(t.voices.c.state, func.count()).group_by(t.voices.c.state)
        return {str(state): int(number) for state, number in self._connection.execute(query)}

    def stored_bytes(self) -> int:
        """Return the size of the stored files; one that several voices share counts once."""
        a = t.artifacts.c
        # The index answers which are shared; grouping every row by its digest would read the table at random.
        shared = select(a.digest).group_by(a.digest).having(func.count() > 1)
        each = (
            select((func.max(a.size_bytes) * (func.count() - 1)).label("again"))
            .where(a.present, a.digest.in_(shared))
            .group_by(a.digest)
            .subquery()
        )
        every = self._connection.scalar(select(func.coalesce(func.sum(a.size_bytes), 0)).where(a.present))
        again = self._connection.scalar(select(func.coalesce(func.sum(each.c.again), 0)))
        return int(every or 0) - int(again or 0)

    def untold_notices(self) -> list[DueNotice]:
        """Return what policies gave notice of and nobody was told, by policy and rule."""
        n = t.notices.c
        query = (
            select(
                n.policy,
                n.rule,
                func.min(n.due_at).label("due_at"),
                func.count().label("items"),
                func.count(n.voice_id.distinct()).label("voices"),
            )
            .where(n.delivered_at.is_(None))
            .group_by(n.policy, n.rule)
            .order_by(n.policy, n.rule)
        )
        return [
            DueNotice(row.policy, row.rule, from_text(row.due_at), int(row.items), int(row.voices))
            for row in self._connection.execute(query)
        ]

    def tell_notices(self, *, until: datetime, at: datetime) -> None:
        """Note that somebody was told of every notice that was given by `until`."""
        self._connection.execute(
            update(t.notices)
            .where(t.notices.c.delivered_at.is_(None), t.notices.c.noticed_at <= to_text(until))
            .values(delivered_at=to_text(at))
        )
