"""Claims that something live depends on a voice."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, or_, select, update

from lifecycle.domain.errors import IntegrityError
from lifecycle.domain.uses import Claim
from lifecycle.registry import tables as t
from lifecycle.registry.times import from_text, maybe_text, maybe_time, to_text


class UseQueries:
    """What services ask and change about claims; one per unit of work."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def of_voice(self, voice_uid: str) -> list[Claim]:
        """Return a voice's claims that nobody removed, expired ones too, oldest first."""
        return [_claim(row) for row in self._connection.execute(_select().where(t.voices.c.uid == voice_uid))]

    def counting(self, voice_uid: str, *, now: datetime) -> list[Claim]:
        """Return the claims that protect a voice at `now`, oldest first."""
        return [claim for claim in self.of_voice(voice_uid) if claim.counts_at(now)]

    def all(self, *, after: str | None = None, limit: int | None = None) -> list[tuple[str, Claim]]:
        """Return every claim that nobody removed, with its voice's name, by name; in pages by `after`."""
        query = _select(t.voices.c.name).where(t.voices.c.name.is_not(None)).order_by(None)
        if after is not None:
            query = query.where(t.voices.c.name > after)
        query = query.order_by(t.voices.c.name, t.uses.c.id)
        rows = self._connection.execute(query if limit is None else query.limit(limit))
        return [(row.name, _claim(row)) for row in rows]

    def add(self, claim: Claim) -> None:
        """Store a new claim.

        Raises:
            IntegrityError: Its voice does not exist.
        """
        voice_id = self._connection.scalar(select(t.voices.c.id).where(t.voices.c.uid == claim.voice_uid))
        if voice_id is None:
            raise IntegrityError(f"voice {claim.voice_uid[:12]} has no row", hint="vlm doctor")
        self._connection.execute(
            t.uses.insert().values(
                uid=claim.uid,
                voice_id=voice_id,
                place=claim.place,
                claimed_at=to_text(claim.claimed_at),
                valid_until=maybe_text(claim.until),
            )
        )

    def extend(self, uid: str, *, until: datetime | None) -> None:
        """Let a claim end later, or only when it is removed."""
        self._connection.execute(
            update(t.uses).where(t.uses.c.uid == uid).values(valid_until=maybe_text(until))
        )

    def remove(self, uid: str, *, at: datetime) -> None:
        """End a claim."""
        self._connection.execute(
            update(t.uses)
            .where(t.uses.c.uid == uid, t.uses.c.removed_at.is_(None))
            .values(removed_at=to_text(at))
        )


def counts(now: datetime) -> Any:
    """Return the condition that a row of `uses` protects its voice at `now`."""
    return t.uses.c.removed_at.is_(None) & or_(
        t.uses.c.valid_until.is_(None), t.uses.c.valid_until > to_text(now)
    )


def _select(*more: Any) -> Any:
    return (
        select(t.uses, t.voices.c.uid.label("voice_uid"), *more)
        .join(t.voices, t.voices.c.id == t.uses.c.voice_id)
        .where(t.uses.c.removed_at.is_(None))
        .order_by(t.uses.c.id)
    )


def _claim(row: Row[Any]) -> Claim:
    return Claim(
        uid=row.uid,
        voice_uid=row.voice_uid,
        place=row.place,
        claimed_at=from_text(row.claimed_at),
        until=maybe_time(row.valid_until),
    )
