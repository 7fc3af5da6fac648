"""Second copies: which were made of the registry and of its keys, and what one must hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, Row, and_, func, insert, select, union_all, update

from lifecycle.domain.digest import Digest
from lifecycle.registry import tables as t
from lifecycle.registry.snapshot import write_copy
from lifecycle.registry.times import from_text, maybe_text, maybe_time, to_text

REGISTRY, KEYS = "registry", "keys"


@dataclass(frozen=True, slots=True)
class BackupRow:
    """One copy that was made.

    Attributes:
        kind: "registry" or "keys".
        place: Where it lies, sealed.
        trail_size: Events of the trail that it knows.
        epoch: The key epoch that it was made under.
        checked_at: When it was last found whole.
    """

    uid: str
    kind: str
    place: bytes
    trail_size: int
    epoch: int
    made_at: datetime
    checked_at: datetime | None = None


class BackupQueries:
    """What services ask and add about second copies; one per unit of work."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def database(self) -> str:
        """What kind of database the registry lives in, such as "sqlite"."""
        return self._connection.dialect.name

    def add(self, row: BackupRow) -> None:
        """Remember a copy."""
        self._connection.execute(
            insert(t.backups).values(
                uid=row.uid,
                kind=row.kind,
                place_sealed=row.place,
                trail_size=row.trail_size,
                epoch=row.epoch,
                made_at=to_text(row.made_at),
                checked_at=maybe_text(row.checked_at),
            )
        )

    def checked(self, uid: str, *, at: datetime) -> bool:
        """Remember that a copy was found whole; False if it is not known here."""
        done = self._connection.execute(
            update(t.backups).where(t.backups.c.uid == uid).values(checked_at=to_text(at))
        )
        return bool(done.rowcount)

    def forget(self, uids: list[str]) -> None:
        """Forget copies that were removed."""
        for start in range(0, len(uids), 500):
            part = uids[start : start + 500]
            self._connection.execute(t.backups.delete().where(t.backups.c.uid.in_(part)))

    def all(self, kind: str | None = None) -> list[BackupRow]:
        """Return the copies that were made, newest first."""
        query = select(t.backups).order_by(t.backups.c.made_at.desc(), t.backups.c.id.desc())
        if kind is not None:
            query = query.where(t.backups.c.kind == kind)
        return [_row(row) for row in self._connection.execute(query)]

    def newest(self, kind: str) -> BackupRow | None:
        """Return the newest copy of a kind."""
        query = select(t.backups).where(t.backups.c.kind == kind)
        row = self._connection.execute(
            query.order_by(t.backups.c.made_at.desc(), t.backups.c.id.desc()).limit(1)
        ).first()
        return None if row is None else _row(row)

    def blobs(self) -> Iterator[tuple[Digest, int]]:
        """Yield the blobs that artifacts and documents of people refer to, each once with its size, in order."""
        named = union_all(
            *(
                select(table.c.digest, table.c.size_bytes).where(table.c.present.is_(True))
                for table in (t.artifacts, t.papers)
            )
        ).subquery()
        query = select(named.c.digest, func.max(named.c.size_bytes))
        for digest, size in self._connection.execute(query.group_by(named.c.digest).order_by(named.c.digest)):
            yield Digest.parse(str(digest)), int(size)

    def copy_into(self, target: Path, *, seen: Callable[[int, int], object]) -> None:
        """Write the whole registry, as this unit of work sees it, into a new SQLite file; see `write_copy`."""
        write_copy(self._connection, target, seen=seen)

    def anything_sealed(self) -> bool:
        """Whether the registry holds anything that only its keys open."""
        held = and_(t.artifacts.c.present.is_(True), t.artifacts.c.key_id.is_not(None))
        return self._connection.execute(select(t.artifacts.c.id).where(held).limit(1)).first() is not None


def _row(row: Row[tuple[object, ...]]) -> BackupRow:
    return BackupRow(
        uid=row.uid,
        kind=row.kind,
        place=row.place_sealed,
        trail_size=row.trail_size,
        epoch=row.epoch,
        made_at=from_text(row.made_at),
        checked_at=maybe_time(row.checked_at),
    )
