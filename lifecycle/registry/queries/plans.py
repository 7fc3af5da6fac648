"""Plans of policies, and the facts that they are made from, fetched for many voices at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, or_, select, update

from lifecycle.domain.errors import IntegrityError
from lifecycle.domain.filters import VoiceFilter
from lifecycle.domain.purges import OPEN
from lifecycle.domain.subjects import Consent
from lifecycle.domain.time_bases import Facts, Kept, Span
from lifecycle.domain.voices import DataClass, State
from lifecycle.registry import tables as t
from lifecycle.registry.queries.subjects import consent_of
from lifecycle.registry.queries.uses import counts
from lifecycle.registry.times import from_text, maybe_text, maybe_time, to_text

_SLICE = 500


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One plan as it was stored.

    Attributes:
        scheduled: A timer asked for it.
        body: `envelope` (the signed plan), and `begun_at` once applying it began; random ids only.
    """

    uid: str
    policy: str
    body: Mapping[str, Any]
    inventory_digest: str
    made_at: datetime
    scheduled: bool = False
    applied_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Inventoried:
    """One voice with all that a policy asks about it.

    Attributes:
        used_at: Places that claim to use it.
        noticed: By rule and due time, when each notice was given.
    """

    name: str
    facts: Facts
    held: bool = False
    used_at: tuple[str, ...] = ()
    unfinished: bool = False
    noticed: Mapping[tuple[str, datetime], Mapping[str, datetime]] = field(default_factory=dict)


class PlanQueries:
    """What services ask and note about plans; one per unit of work."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, row: PlanRow) -> None:
        """Store a new plan."""
        self._connection.execute(
            t.plans.insert().values(
                uid=row.uid,
                policy=row.policy,
                body=dict(row.body),
                inventory_digest=row.inventory_digest,
                made_at=to_text(row.made_at),
                scheduled=row.scheduled,
                applied_at=maybe_text(row.applied_at),
            )
        )

    def find(self, start: str) -> list[PlanRow]:
        """Return the plans whose id begins like this, the newest first; at most ten."""
        query = select(t.plans).where(t.plans.c.uid.startswith(start, autoescape=True))
        rows = self._connection.execute(query.order_by(t.plans.c.id.desc()).limit(10))
        return [_plan(row) for row in rows]

    def of_policy(self, policy: str, *, by_hand: bool = False) -> list[PlanRow]:
        """Return a policy's plans, the newest first; at most a hundred.

        Args:
            by_hand: Only those that a person asked for.
        """
        query = select(t.plans).where(t.plans.c.policy == policy)
        if by_hand:
            query = query.where(t.plans.c.scheduled.is_(False))
        rows = self._connection.execute(query.order_by(t.plans.c.id.desc()).limit(100))
        return [_plan(row) for row in rows]

    def policies(self) -> dict[str, int]:
        """Return how many voices that are not erased name each policy, by its name."""
        query = (
            select(t.voices.c.policy, func.count())
            .where(t.voices.c.state != State.ERASED.value)
            .group_by(t.voices.c.policy)
            .order_by(t.voices.c.policy)
        )
        return {str(policy): int(number) for policy, number in self._connection.execute(query)}

    def leap_since(self, since: datetime | None, most: timedelta) -> tuple[datetime, datetime] | None:
        """Return the first two neighbours on the trail, since a moment, between which more time passed than `most`."""
        query = select(t.events.c.at).order_by(t.events.c.sequence)
        if since is not None:
            query = query.where(t.events.c.at >= to_text(since))
        before = since
        for text in self._connection.execute(query).scalars():
            at = from_text(text)
            if before is not None and at - before > most:
                return before, at
            before = at
        return None

    def note(self, uid: str, *, body: Mapping[str, Any], applied_at: datetime | None = None) -> None:
        """Note how far applying a plan came.

        Raises:
            IntegrityError: It has no row, or was applied already.
        """
        changed = self._connection.execute(
            update(t.plans)
            .where(t.plans.c.uid == uid, t.plans.c.applied_at.is_(None))
            .values(body=dict(body), applied_at=maybe_text(applied_at))
        ).rowcount
        if changed != 1:
            raise IntegrityError(f"plan {uid[:12]} was applied by another process", hint="vlm policy plan")

    def purged_since(self, voice_uids: Collection[str], since: datetime) -> dict[str, dict[str, str]]:
        """Return, for voices that a policy purged since, the verbs that were decided, each with its purge."""
        found: dict[str, dict[str, str]] = {}
        for uids in _slices(voice_uids):
            query = (
                select(t.voices.c.uid, t.purges.c.verb, t.purges.c.uid)
                .join(t.voices, t.voices.c.id == t.purges.c.voice_id)
                .where(t.voices.c.uid.in_(uids), t.purges.c.basis == "policy")
                .where(
                    t.purges.c.opened_at >= to_text(since), t.purges.c.state.not_in(["planned", "aborted"])
                )
                .order_by(t.purges.c.id)
            )
            for voice_uid, verb, purge_uid in self._connection.execute(query):
                found.setdefault(voice_uid, {})[verb] = purge_uid
        return found

    def inventory(self, wanted: VoiceFilter, *, now: datetime) -> Iterator[Inventoried]:
        """Yield every voice that is meant and not erased, oldest first, some hundred at a time.

        Args:
            now: Claims of use that ended by then no longer count.
        """
        last = 0
        while True:
            query = select(t.voices).where(t.voices.c.id > last, t.voices.c.state != State.ERASED.value)
            if wanted.policy is not None:
                query = query.where(t.voices.c.policy == wanted.policy)
            if wanted.owner:
                query = query.where(t.voices.c.owner == wanted.owner)
            if 0 < len(wanted.names) <= _SLICE:
                query = query.where(t.voices.c.name.in_(wanted.names))
            rows = self._connection.execute(query.order_by(t.voices.c.id).limit(_SLICE)).all()
            if not rows:
                return
            last = rows[-1].id
            yield from self._inventoried(rows, wanted, now)

    def _inventoried(self, rows: Sequence[Row[Any]], wanted: VoiceFilter, now: datetime) -> list[Inventoried]:
        ids = [row.id for row in rows]
        people, kept, consents = self._people(ids), self._kept(ids), self._consents(ids)
        held, unfinished = self._held(ids), self._unfinished(ids)
        used, noticed = self._used(ids, now), self._noticed(ids)
        found = []
        for row in rows:
            mine = people.get(row.id, [])
            if not _meant(row, mine, wanted):
                continue
            given = {uid: consents.get((row.id, uid), []) for uid in mine}
            facts = Facts(
                uid=row.uid,
                state=State(row.state),
                owner=row.owner,
                own_voice=row.own_voice,
                registered_at=from_text(row.created_at),
                changed_at=from_text(row.changed_at),
                last_used_at=maybe_time(row.last_used_at),
                retired_at=maybe_time(row.retired_at),
                contract_ends_at=maybe_time(row.contract_ends_at),
                consents=given,
                kept=kept.get(row.id, []),
            )
            found.append(
                Inventoried(
                    name=row.name or "",
                    facts=facts,
                    held=row.id in held,
                    used_at=tuple(used.get(row.id, ())),
                    unfinished=row.id in unfinished,
                    noticed=noticed.get(row.id, {}),
                )
            )
        return found

    def _people(self, ids: list[int]) -> dict[int, list[str]]:
        found: dict[int, list[str]] = {}
        query = (
            select(t.voice_subjects.c.voice_id, t.subjects.c.uid)
            .join(t.subjects, t.subjects.c.id == t.voice_subjects.c.subject_id)
            .where(t.voice_subjects.c.voice_id.in_(ids))
            .order_by(t.voice_subjects.c.voice_id, t.subjects.c.id)
        )
        for voice_id, uid in self._connection.execute(query):
            found.setdefault(voice_id, []).append(uid)
        return found

    def _kept(self, ids: list[int]) -> dict[int, list[Kept]]:
        a = t.artifacts.c
        made = func.coalesce(a.recorded_at, a.added_at)
        query = (
            select(
                a.voice_id,
                a.data_class,
                func.count().label("count"),
                func.sum(a.size_bytes).label("size"),
                func.min(a.added_at).label("added_first"),
                func.max(a.added_at).label("added_last"),
                func.min(made).label("made_first"),
                func.max(made).label("made_last"),
                func.count(a.recorded_at).label("dated"),
            )
            .where(a.voice_id.in_(ids), a.present.is_(True))
            .group_by(a.voice_id, a.data_class)
            .order_by(a.voice_id, a.data_class)
        )
        found: dict[int, list[Kept]] = {}
        for row in self._connection.execute(query):
            one = Kept(
                data_class=DataClass(row.data_class),
                count=int(row[2]),
                size_bytes=int(row.size),
                registered=Span(from_text(row.added_first), from_text(row.added_last)),
                recorded=Span(from_text(row.made_first), from_text(row.made_last)),
                undated=int(row[2]) - int(row.dated),
            )
            found.setdefault(row.voice_id, []).append(one)
        return found

    def _consents(self, ids: list[int]) -> dict[tuple[int, str], list[Consent]]:
        """Return consents by voice and person; one without a voice covers all voices of the person."""
        covers = or_(t.consents.c.voice_id.is_(None), t.consents.c.voice_id == t.voice_subjects.c.voice_id)
        query = (
            select(
                t.consents,
                t.subjects.c.uid.label("subject_uid"),
                t.voice_subjects.c.voice_id.label("of_voice"),
            )
            .join(t.voice_subjects, t.voice_subjects.c.subject_id == t.consents.c.subject_id)
            .join(t.subjects, t.subjects.c.id == t.consents.c.subject_id)
            .where(t.voice_subjects.c.voice_id.in_(ids), covers)
            .order_by(t.consents.c.id)
        )
        found: dict[tuple[int, str], list[Consent]] = {}
        for row in self._connection.execute(query):
            found.setdefault((row.of_voice, row.subject_uid), []).append(consent_of(row))
        return found

    def _held(self, ids: list[int]) -> set[int]:
        alive = t.holds.c.released_at.is_(None)
        own = select(t.holds.c.voice_id).where(t.holds.c.voice_id.in_(ids), alive)
        theirs = (
            select(t.voice_subjects.c.voice_id)
            .join(t.holds, t.holds.c.subject_id == t.voice_subjects.c.subject_id)
            .where(t.voice_subjects.c.voice_id.in_(ids), alive)
        )
        return set(self._connection.execute(own).scalars()) | set(self._connection.execute(theirs).scalars())

    def _unfinished(self, ids: list[int]) -> set[int]:
        states = [state.value for state in OPEN]
        query = select(t.purges.c.voice_id).where(t.purges.c.voice_id.in_(ids), t.purges.c.state.in_(states))
        return set(self._connection.execute(query).scalars())

    def _used(self, ids: list[int], now: datetime) -> dict[int, list[str]]:
        query = select(t.uses.c.voice_id, t.uses.c.place).where(t.uses.c.voice_id.in_(ids), counts(now))
        found: dict[int, list[str]] = {}
        for voice_id, place in self._connection.execute(query.order_by(t.uses.c.id)):
            found.setdefault(voice_id, []).append(place)
        return found

    def _noticed(self, ids: list[int]) -> dict[int, dict[tuple[str, datetime], dict[str, datetime]]]:
        query = select(t.notices).where(t.notices.c.voice_id.in_(ids)).order_by(t.notices.c.id)
        found: dict[int, dict[tuple[str, datetime], dict[str, datetime]]] = {}
        for row in self._connection.execute(query):
            about = found.setdefault(row.voice_id, {}).setdefault((row.rule, from_text(row.due_at)), {})
            about[row.stage] = from_text(row.noticed_at)
        return found


def _meant(row: Row[Any], people: Sequence[str], wanted: VoiceFilter) -> bool:
    return (
        (not wanted.names or row.name in wanted.names)
        and wanted.owner in {None, row.owner or ""}
        and (wanted.subject_uid is None or wanted.subject_uid in people)
        and (not wanted.states or State(row.state) in wanted.states)
        and wanted.upstream in {None, row.upstream or ""}
        and wanted.policy in {None, row.policy}
    )


def _slices(uids: Collection[str]) -> Iterator[list[str]]:
    ordered = sorted(uids)
    for start in range(0, len(ordered), _SLICE):
        yield ordered[start : start + _SLICE]


def _plan(row: Row[Any]) -> PlanRow:
    return PlanRow(
        uid=row.uid,
        policy=row.policy,
        body=row.body,
        inventory_digest=row.inventory_digest,
        made_at=from_text(row.made_at),
        scheduled=row.scheduled,
        applied_at=maybe_time(row.applied_at),
    )
