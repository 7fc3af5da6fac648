"""Rows of imported tables that are finished, by a keyed digest of their words and files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, select

from lifecycle.domain.errors import IntegrityError
from lifecycle.registry import tables as t
from lifecycle.registry.times import to_text

_SLICE = 500


@dataclass(frozen=True, slots=True)
class Imported:
    """A finished row: the voice it became, and the number of that voice's newest version."""

    voice_uid: str
    voice: str
    version: int


class ImportQueries:
    """What services ask and add about imported rows; one per unit of work."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def finished(self, digests: Sequence[str]) -> dict[str, Imported]:
        """Return those of the rows that are finished, by their digest."""
        found: dict[str, Imported] = {}
        for start in range(0, len(digests), _SLICE):
            wanted = list(digests[start : start + _SLICE])
            number = (
                select(func.max(t.versions.c.number))
                .where(t.versions.c.voice_id == t.voices.c.id)
                .where(t.versions.c.withdrawn_at.is_(None))
                .scalar_subquery()
            )
            rows = self._connection.execute(
                select(t.import_rows.c.row_digest, t.voices.c.uid, t.voices.c.name, number.label("number"))
                .join(t.voices, t.voices.c.id == t.import_rows.c.voice_id)
                .where(t.import_rows.c.row_digest.in_(wanted))
                .order_by(t.import_rows.c.id)
            )
            found |= {row.row_digest: Imported(row.uid, row.name or "", int(row.number or 0)) for row in rows}
        return found

    def remember(self, voice_uid: str, digests: Iterable[str], *, at: datetime) -> None:
        """Note that rows are finished; those that are noted already stay as they are.

        Raises:
            IntegrityError: The voice does not exist.
        """
        voice = self._connection.scalar(select(t.voices.c.id).where(t.voices.c.uid == voice_uid))
        if voice is None:
            raise IntegrityError(f"voice {voice_uid[:12]} has no row", hint="vlm doctor")
        for digest in digests:
            there = select(t.import_rows.c.id).where(t.import_rows.c.row_digest == digest)
            if self._connection.scalar(there) is None:
                self._connection.execute(
                    insert(t.import_rows).values(voice_id=voice, row_digest=digest, at=to_text(at))
                )
