"""Work outside the database that a transaction promised: written with it, done after it, ticked off last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select, update

from lifecycle.domain.errors import IntegrityError
from lifecycle.registry import tables as t
from lifecycle.registry.times import from_text, to_text


@dataclass(frozen=True, slots=True)
class Promise:
    """One piece of work; doing it twice must give the same as doing it once.

    Attributes:
        payload: What to do, and after `done` also what came of it.
    """

    uid: str
    purge_uid: str
    action: str
    payload: Mapping[str, object]
    made_at: datetime
    done: bool = False


class Outbox:
    """The promises of open purges; one per unit of work."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def promise(self, promise: Promise) -> None:
        """Store work in the same transaction as the rows that need it."""
        purge_id = self._connection.execute(
            select(t.purges.c.id).where(t.purges.c.uid == promise.purge_uid)
        ).scalar()
        if purge_id is None:
            raise IntegrityError(f"purge {promise.purge_uid[:12]} has no row", hint="vlm doctor")
        self._connection.execute(
            t.outbox.insert().values(
                uid=promise.uid,
                purge_id=purge_id,
                action=promise.action,
                payload=dict(promise.payload),
                created_at=to_text(promise.made_at),
            )
        )

    def of(self, purge_uid: str) -> list[Promise]:
        """Return all that was promised for a purge, done or not, in the order in which it was promised."""
        rows = self._connection.execute(
            select(t.outbox)
            .join(t.purges, t.purges.c.id == t.outbox.c.purge_id)
            .where(t.purges.c.uid == purge_uid)
            .order_by(t.outbox.c.id)
        ).all()
        return [
            Promise(
                uid=row.uid,
                purge_uid=purge_uid,
                action=row.action,
                payload=row.payload,
                made_at=from_text(row.created_at),
                done=row.done_at is not None,
            )
            for row in rows
        ]

    def done(self, promise: Promise, *, at: datetime, result: Mapping[str, object] | None = None) -> None:
        """Tick off one piece of work, after it is durable, with what came of it."""
        self._connection.execute(
            update(t.outbox)
            .where(t.outbox.c.uid == promise.uid)
            .values(done_at=to_text(at), payload={**promise.payload, **(result or {})})
        )

    def count_open(self) -> int:
        """Return how many promises of all purges are open."""
        query = select(func.count()).select_from(t.outbox).where(t.outbox.c.done_at.is_(None))
        return int(self._connection.execute(query).scalar_one())
