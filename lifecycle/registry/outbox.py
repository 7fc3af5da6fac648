"""Work outside the database that a transaction promised: written with it, done after it, ticked off last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, func, select, update

from lifecycle.domain.errors import IntegrityError
from lifecycle.registry import tables as t


@dataclass(frozen=True, slots=True)
class Promise:
    """One piece of work; doing it twice must give the same as doing it once."""

    uid: str
    purge_uid: str
    action: str
    payload: Mapping[str, object]


class Outbox:
    """The promises of open purges; one per unit of work."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def promise(self, promise: Promise, *, at: datetime) -> None:
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
                created_at=_text(at),
            )
        )

    def open_of(self, purge_uid: str) -> list[Promise]:
        """Return what a purge still has to do, in the order in which it was promised."""
        rows = self._connection.execute(
            select(t.outbox)
            .join(t.purges, t.purges.c.id == t.outbox.c.purge_id)
            .where(t.purges.c.uid == purge_uid, t.outbox.c.done_at.is_(None))
            .order_by(t.outbox.c.id)
        ).all()
        return [Promise(row.uid, purge_uid, row.action, row.payload) for row in rows]

    def done(self, uid: str, *, at: datetime) -> None:
        """Tick off one piece of work, after it is durable."""
        self._connection.execute(update(t.outbox).where(t.outbox.c.uid == uid).values(done_at=_text(at)))

    def count_open(self) -> int:
        """Return how many promises of all purges are open."""
        query = select(func.count()).select_from(t.outbox).where(t.outbox.c.done_at.is_(None))
        return int(self._connection.execute(query).scalar_one())


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
