"""What audits found: one row for a voice, risk and severity, as long as it is found.

A row holds no names and no words. A notice that more voices share than are listed one by one is remembered by one row
without a voice, so that the memory of a registry stays small.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, delete, exists, or_, select, update

from lifecycle.domain.filters import VoiceFilter
from lifecycle.registry import tables as t
from lifecycle.registry.queries.audits import among, slices
from lifecycle.registry.queries.candidates import meant
from lifecycle.registry.times import from_text, maybe_text, maybe_time, to_text

f = t.findings.c


@dataclass(frozen=True, slots=True)
class Known:
    """What is remembered of a finding."""

    id: int
    since: datetime
    notified_at: datetime | None


class FindingQueries:
    """What an audit asks and changes about its memory; one per unit of work. Voices go by their rows."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def of(self, voices: Collection[int]) -> dict[tuple[int | None, str, str], Known]:
        """Return what is remembered of some voices, by voice, risk and severity."""
        found: dict[tuple[int | None, str, str], Known] = {}
        for part in slices(voices):
            found |= self._known(among(f.voice_id, part))
        return found

    def of_none(self) -> dict[tuple[int | None, str, str], Known]:
        """Return what is remembered of no voice in particular: of the machine, and notices of very many."""
        return self._known(f.voice_id.is_(None))

    def voices_with(self, risks: Collection[str]) -> list[int]:
        """Return the voices that one of these risks is remembered of."""
        query = select(f.voice_id).where(f.risk.in_(sorted(risks)), f.voice_id.is_not(None)).distinct()
        return sorted(self._connection.execute(query).scalars())

    def remember(
        self,
        risk: str,
        severity: str,
        voices: Iterable[int | None],
        *,
        at: datetime,
        told_at: datetime | None = None,
    ) -> None:
        """Note that something was found of voices (None: of none in particular), where it is not noted already.

        Args:
            told_at: When somebody was told of it, if anybody was.
        """
        whose = list(voices)
        new = {
            "risk": risk,
            "severity": severity,
            "first_seen_at": to_text(at),
            "notified_at": maybe_text(told_at),
        }
        if None in whose and not self._known(and_(*_named(risk, severity), f.voice_id.is_(None))):
            self._add(new, [None])
        for part in slices({voice for voice in whose if voice is not None}):
            query = select(f.voice_id).where(*_named(risk, severity), among(f.voice_id, part))
            known = set(self._connection.execute(query).scalars())
            self._add(new, [voice for voice in part if voice not in known])

    def _add(self, new: Mapping[str, object], voices: Sequence[int | None]) -> None:
        rows = [{**new, "voice_id": voice} for voice in voices]
        if rows:
            self._connection.execute(t.findings.insert(), rows)

    def forget(self, ids: Iterable[int]) -> None:
        """Forget what is no longer found."""
        for part in slices(ids):
            self._connection.execute(delete(t.findings).where(among(f.id, part)))

    def of_voices(self, wanted: VoiceFilter, *, without: Collection[str] = ()) -> list[int]:
        """Return the rows of every voice that is meant, but for some severities."""
        of = select(t.voices.c.id).where(meant(wanted))
        query = select(f.id).where(f.voice_id.in_(of), f.severity.not_in(sorted(without)))
        return list(self._connection.execute(query).scalars())

    def rows_of(self, risk: str, severity: str, wanted: VoiceFilter) -> dict[int, int]:
        """Return the row of a finding by voice, of the voices that are meant."""
        query = select(f.voice_id, f.id).where(*_named(risk, severity), f.voice_id.is_not(None))
        if not wanted.all:
            query = query.where(f.voice_id.in_(select(t.voices.c.id).where(meant(wanted))))
        return {row.voice_id: row.id for row in self._connection.execute(query.order_by(f.id))}

    def told(self, keys: Iterable[tuple[str, str, str]], *, at: datetime) -> None:
        """Note that somebody was told of findings, by name of voice (empty: none), risk and severity."""
        by_risk: dict[tuple[str, str], set[str]] = {}
        for name, risk, severity in keys:
            by_risk.setdefault((risk, severity), set()).add(name)
        for (risk, severity), names in sorted(by_risk.items()):
            for part in slices(names):
                of = select(t.voices.c.id).where(t.voices.c.name.in_(part))
                # A notice of very many voices is one row, whoever of them is named.
                whose = or_(f.voice_id.in_(of), f.voice_id.is_(None))
                self._connection.execute(
                    update(t.findings)
                    .where(*_named(risk, severity), f.notified_at.is_(None), whose)
                    .values(notified_at=to_text(at))
                )

    def _known(self, condition: Any) -> dict[tuple[int | None, str, str], Known]:
        return {
            (row.voice_id, row.risk, row.severity): Known(
                row.id, from_text(row.first_seen_at), maybe_time(row.notified_at)
            )
            for row in self._connection.execute(select(t.findings).where(condition).order_by(f.id))
        }


def remembered(risk: str, severity: str) -> Any:
    """Return the condition that a finding of a voice is remembered."""
    return exists().where(*_named(risk, severity), f.voice_id == t.voices.c.id)


def _named(risk: str, severity: str) -> tuple[Any, Any]:
    return f.risk == risk, f.severity == severity
