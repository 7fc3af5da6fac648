"""Accepted risks: who looked at a finding and lives with it until a date."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select

from lifecycle.domain.errors import IntegrityError
from lifecycle.registry import tables as t
from lifecycle.registry.times import from_text, to_text


@dataclass(frozen=True, slots=True)
class AcceptedRow:
    """One acceptance; `voice_uid` None means every voice, `reason` is sealed."""

    uid: str
    risk: str
    voice_uid: str | None
    until: datetime
    reason: bytes
    at: datetime


class RiskQueries:
    """What services ask and add about accepted risks; one per unit of work."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def accept(self, row: AcceptedRow) -> None:
        """Store an acceptance.

        Raises:
            IntegrityError: Its voice does not exist.
        """
        voice = None
        if row.voice_uid is not None:
            voice = self._connection.scalar(select(t.voices.c.id).where(t.voices.c.uid == row.voice_uid))
            if voice is None:
                raise IntegrityError(f"voice {row.voice_uid[:12]} has no row", hint="vlm doctor")
        self._connection.execute(
            insert(t.accepted_risks).values(
                uid=row.uid,
                voice_id=voice,
                risk=row.risk,
                until=to_text(row.until),
                reason_sealed=row.reason,
                at=to_text(row.at),
            )
        )

    def accepted(self, *, now: datetime) -> list[AcceptedRow]:
        """Return the acceptances that still hold, oldest first."""
        rows = self._connection.execute(
            select(t.accepted_risks, t.voices.c.uid.label("voice_uid"))
            .outerjoin(t.voices, t.voices.c.id == t.accepted_risks.c.voice_id)
            .where(t.accepted_risks.c.until > to_text(now))
            .order_by(t.accepted_risks.c.id)
        )
        return [
            AcceptedRow(r.uid, r.risk, r.voice_uid, from_text(r.until), r.reason_sealed, from_text(r.at))
            for r in rows
        ]
