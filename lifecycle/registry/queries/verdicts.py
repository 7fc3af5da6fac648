"""Verdict rows: what running voices gave."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, func, insert, select
from sqlalchemy import Row as SqlRow

from lifecycle.domain.errors import IntegrityError
from lifecycle.domain.verdicts import Row, Verdict
from lifecycle.registry import tables as t
from lifecycle.registry.times import from_text, to_text


class VerdictQueries:
    """What services ask and add about verdicts; one per unit of work. Rows are never changed."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, row: Row, *, inputs_hash: str) -> None:
        """Store a row with the key under which it may be used again.

        Raises:
            IntegrityError: Its version does not exist.
        """
        version = self._connection.scalar(select(t.versions.c.id).where(t.versions.c.uid == row.version_uid))
        if version is None:
            raise IntegrityError(f"version {row.version_uid[:12]} has no row", hint="vlm doctor")
        self._connection.execute(
            insert(t.verdicts).values(
                uid=row.uid,
                version_id=version,
                torch=row.torch,
                build=row.build,
                python=row.python,
                lock_hash=row.lock_hash,
                engine_hash=row.engine_hash,
                device=row.device,
                code=row.code,
                verdict=row.verdict.value,
                reason=row.reason,
                next=row.next,
                detail=dict(row.detail),
                sandbox=row.sandbox,
                inputs_hash=inputs_hash,
                at=to_text(row.at),
            )
        )

    def reusable(self, version_uid: str, inputs_hash: str) -> Row | None:
        """Return the newest row that the same inputs gave, or None."""
        found = self._connection.execute(
            _select()
            .where(t.versions.c.uid == version_uid, t.verdicts.c.inputs_hash == inputs_hash)
            .order_by(t.verdicts.c.id.desc())
            .limit(1)
        ).first()
        return None if found is None else verdict_of(found)

    def latest(self, version_uid: str | None = None) -> list[Row]:
        """Return the newest row for each version, torch, build and device, oldest first.

        Args:
            version_uid: Of one version only; of all by default.
        """
        newest = select(func.max(t.verdicts.c.id)).group_by(
            t.verdicts.c.version_id, t.verdicts.c.torch, t.verdicts.c.build, t.verdicts.c.device
        )
        if version_uid is not None:
            of = select(t.versions.c.id).where(t.versions.c.uid == version_uid)
            newest = newest.where(t.verdicts.c.version_id.in_(of))
        query = _select().where(t.verdicts.c.id.in_(newest)).order_by(t.verdicts.c.id)
        return [verdict_of(found) for found in self._connection.execute(query)]


def _select() -> Select[Any]:
    return (
        select(t.verdicts, t.versions.c.uid.label("version_uid"), t.voices.c.name.label("voice"))
        .join(t.versions, t.versions.c.id == t.verdicts.c.version_id)
        .join(t.voices, t.voices.c.id == t.versions.c.voice_id)
    )


def verdict_of(found: SqlRow[Any]) -> Row:
    """Return a row of `verdicts`, joined with its version and voice, as a value."""
    return Row(
        uid=found.uid,
        voice=found.voice or "",
        version_uid=found.version_uid,
        torch=found.torch,
        build=found.build,
        python=found.python,
        lock_hash=found.lock_hash,
        engine_hash=found.engine_hash,
        device=found.device,
        code=found.code,
        verdict=Verdict(found.verdict),
        reason=found.reason,
        next=found.next,
        detail=found.detail,
        sandbox=found.sandbox,
        at=from_text(found.at),
    )
