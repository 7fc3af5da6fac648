"""What an audit asks about many voices at once: numbers, ids of those to look at, and their facts in batches."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, String, bindparam, case, cast, func, null, select

from lifecycle.domain.digest import Digest
from lifecycle.domain.filters import VoiceFilter
from lifecycle.domain.policies import Policy
from lifecycle.domain.purges import OPEN
from lifecycle.domain.subjects import Consent
from lifecycle.domain.verdicts import Row
from lifecycle.domain.voices import Artifact, DataClass, Role, Voice
from lifecycle.registry import tables as t
from lifecycle.registry.queries.candidates import (
    Kinds,
    covering,
    due,
    holding,
    lost_lock,
    meant,
    promised,
    recordings,
    stale,
    unfinished,
    without_golden,
    wrong_verdict,
)
from lifecycle.registry.queries.subjects import consent_of
from lifecycle.registry.queries.verdicts import verdict_of
from lifecycle.registry.queries.voices import voice_of
from lifecycle.registry.times import from_text, maybe_time

_SLICE = 500
_PAGE = 20_000


@dataclass(frozen=True, slots=True)
class Looked:
    """One voice with all that the rules ask about it.

    Attributes:
        id: Its row, by which findings are remembered.
        people: Pseudonyms of the persons that it belongs to.
        artifacts: Those that are still there, of every version; facts only where a rule reads them.
        current: Those of the current version, or of none in particular.
        consents: By person, all that cover the voice.
        checked: The newest verdict of the current version for each runtime and device.
    """

    id: int
    voice: Voice
    people: tuple[str, ...] = ()
    artifacts: Sequence[Artifact] = ()
    current: Sequence[Artifact] = ()
    consents: Mapping[str, Sequence[Consent]] = field(default_factory=dict)
    checked: Sequence[Row] = ()
    unfinished: bool = False


class AuditQueries:
    """What an audit asks; one per unit of work."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def count(self, wanted: VoiceFilter) -> int:
        """Return how many living voices are meant."""
        query = select(func.count()).select_from(t.voices).where(meant(wanted))
        return int(self._connection.execute(query).scalar_one())

    def policies(self, wanted: VoiceFilter) -> set[str]:
        """Return the policies that the voices name."""
        query = select(t.voices.c.policy).where(meant(wanted)).distinct()
        return set(self._connection.execute(query).scalars())

    def grouped(self, wanted: VoiceFilter, by: str, *conditions: Any) -> dict[str | None, int]:
        """Return how many voices are meant, by owner, subject, state, upstream or policy.

        A voice of two persons counts for both; the key of voices without an owner, person or upstream is None.

        Args:
            conditions: More of them, of `candidates.py`.
        """
        key, source = grouping(by)
        query = select(key, func.count()).select_from(source).where(meant(wanted), *conditions).group_by(key)
        found: dict[str | None, int] = {}
        for value, number in self._connection.execute(query):
            found[value or None] = found.get(value or None, 0) + int(number)
        return found

    def suspects(
        self, wanted: VoiceFilter, policies: Iterable[Policy], *, now: datetime, kinds: Kinds, runtimes: bool
    ) -> set[int]:
        """Return every voice of which a rule could find more than a notice, and some others.

        Args:
            runtimes: Whether there is one, so that a golden could be made.
        """
        conditions = [wrong_verdict(), unfinished(), lost_lock(), *promised(now)]
        conditions += [without_golden(kinds)] if runtimes else []
        for policy in policies:
            conditions += [*recordings(policy, now), *stale(policy, now), *due(policy, now)]
        found: set[int] = set()
        for condition in conditions:
            found |= set(self._ids(meant(wanted), condition))
        return found

    def holders(self, digests: Iterable[str], wanted: VoiceFilter) -> set[int]:
        """Return the voices, of those that are meant, that hold one of these files."""
        found: set[int] = set()
        for part in slices(digests):
            found |= set(self._ids(meant(wanted), holding(part)))
        return found

    def under(self, policies: Iterable[str], wanted: VoiceFilter) -> set[int]:
        """Return the voices, of those that are meant, that name one of these policies."""
        found: set[int] = set()
        for part in slices(policies):
            found |= set(self._ids(meant(wanted), t.voices.c.policy.in_(part)))
        return found

    def _ids(self, *conditions: Any) -> list[int]:
        query = select(t.voices.c.id).where(*conditions)
        return list(self._connection.execute(query).scalars())

    def digests(self, wanted: VoiceFilter) -> Iterator[tuple[str, int]]:
        """Yield each stored file of the voices, once, with its size, by digest."""
        last = ""
        while True:
            query = (
                _files(wanted).where(t.artifacts.c.digest > last).order_by(t.artifacts.c.digest).limit(_PAGE)
            )
            rows = self._connection.execute(query).all()
            if not rows:
                return
            yield from ((str(digest), int(size)) for digest, size in rows)
            last = str(rows[-1][0])

    def stored_bytes(self, wanted: VoiceFilter) -> int:
        """Return the bytes of the voices' stored files; one that several share counts once."""
        each = _files(wanted).subquery()
        return int(self._connection.scalar(select(func.coalesce(func.sum(each.c.size), 0))) or 0)

    def digests_of(self, ids: Collection[int]) -> set[str]:
        """Return the digests of the stored files of some voices."""
        found: set[str] = set()
        for part in slices(ids):
            query = select(t.artifacts.c.digest).where(
                t.artifacts.c.voice_id.in_(part), t.artifacts.c.present.is_(True)
            )
            found |= set(self._connection.execute(query).scalars())
        return found

    def roles_of(self, digests: Iterable[str]) -> dict[str, tuple[str, list[str]]]:
        """Return, for every voice that holds one of these files, its name and what they are to it."""
        found: dict[str, tuple[str, list[str]]] = {}
        for part in slices(digests):
            query = (
                select(t.voices.c.uid, t.voices.c.name, t.artifacts.c.role)
                .join(t.voices, t.voices.c.id == t.artifacts.c.voice_id)
                .where(t.artifacts.c.present.is_(True), t.artifacts.c.digest.in_(part))
                .order_by(t.voices.c.id, t.artifacts.c.id)
            )
            for uid, name, role in self._connection.execute(query):
                found.setdefault(uid, (name or "", []))[1].append(str(role))
        return found

    def look(self, ids: Collection[int]) -> Iterator[Looked]:
        """Yield voices with their facts, the oldest first, a batch of queries for every few hundred."""
        for part in slices(ids):
            yield from self._batch(part)

    def _batch(self, ids: Sequence[int]) -> list[Looked]:
        rows = self._connection.execute(
            select(t.voices).where(among(t.voices.c.id, ids)).order_by(t.voices.c.id)
        ).all()
        people, versions = self._people(ids), self._versions(ids)
        artifacts, checked = self._artifacts(ids), self._checked([number for number, _ in versions.values()])
        consents, unfinished = self._consents(ids), self._unfinished(ids)
        found = []
        for row in rows:
            mine, (_, version) = people.get(row.id, []), versions.get(row.id, (0, None))
            here = artifacts.get(row.id, [])
            found.append(
                Looked(
                    id=row.id,
                    voice=voice_of(row, tuple(uid for uid, _ in mine)),
                    people=tuple(pseudonym for _, pseudonym in mine),
                    artifacts=here,
                    current=[a for a in here if a.version_uid in {None, version}],
                    consents={uid: consents.get((row.id, uid), []) for uid, _ in mine},
                    checked=checked.get(version or "", []),
                    unfinished=row.id in unfinished,
                )
            )
        return found

    def _people(self, ids: Sequence[int]) -> dict[int, list[tuple[str, str]]]:
        query = (
            select(t.voice_subjects.c.voice_id, t.subjects.c.uid, t.subjects.c.pseudonym)
            .join(t.subjects, t.subjects.c.id == t.voice_subjects.c.subject_id)
            .where(among(t.voice_subjects.c.voice_id, ids))
            .order_by(t.voice_subjects.c.voice_id, t.subjects.c.id)
        )
        found: dict[int, list[tuple[str, str]]] = {}
        for voice_id, uid, pseudonym in self._connection.execute(query):
            found.setdefault(voice_id, []).append((uid, pseudonym))
        return found

    def _versions(self, ids: Sequence[int]) -> dict[int, tuple[int, str]]:
        """Return the current version of each voice, its row and its id: the newest that is not withdrawn."""
        query = (
            select(t.versions.c.voice_id, t.versions.c.id, t.versions.c.uid)
            .where(among(t.versions.c.voice_id, ids), t.versions.c.withdrawn_at.is_(None))
            .order_by(t.versions.c.voice_id, t.versions.c.number)
        )
        return {row.voice_id: (row.id, row.uid) for row in self._connection.execute(query)}

    def _artifacts(self, ids: Sequence[int]) -> dict[int, list[Artifact]]:
        a = t.artifacts.c
        # The facts of recordings and weights are long, and no rule reads them.
        facts = case((a.role == Role.LOCKFILE.value, a.facts), else_=null()).label("facts")
        query = (
            select(
                a.voice_id, a.uid, a.role, a.data_class, a.digest, a.size_bytes, a.key_id, a.kind,
                a.added_at, a.recorded_at, t.versions.c.uid.label("version_uid"), facts,
            )
            .outerjoin(t.versions, t.versions.c.id == a.version_id)
            .where(among(a.voice_id, ids), a.present.is_(True))
            .order_by(a.id)
        )  # fmt: skip
        found: dict[int, list[Artifact]] = {}
        for row in self._connection.execute(query):
            found.setdefault(row.voice_id, []).append(_artifact(row))
        return found

    def _checked(self, versions: Sequence[int]) -> dict[str, list[Row]]:
        d = t.verdicts.c
        newest = (
            select(func.max(d.id))
            .where(among(d.version_id, versions))
            .group_by(d.version_id, d.torch, d.build, d.device)
        )
        query = (
            select(t.verdicts, t.versions.c.uid.label("version_uid"), t.voices.c.name.label("voice"))
            .join(t.versions, t.versions.c.id == d.version_id)
            .join(t.voices, t.voices.c.id == t.versions.c.voice_id)
            .where(d.id.in_(newest))
            .order_by(d.id)
        )
        found: dict[str, list[Row]] = {}
        for row in self._connection.execute(query):
            found.setdefault(row.version_uid, []).append(verdict_of(row))
        return found

    def _consents(self, ids: Sequence[int]) -> dict[tuple[int, str], list[Consent]]:
        link = t.voice_subjects.c
        query = (
            select(t.consents, t.subjects.c.uid.label("subject_uid"), link.voice_id.label("of_voice"))
            .join(t.voice_subjects, link.subject_id == t.consents.c.subject_id)
            .join(t.subjects, t.subjects.c.id == t.consents.c.subject_id)
            .where(
                among(link.voice_id, ids),
                covering(link.voice_id),
            )
            .order_by(t.consents.c.id)
        )
        found: dict[tuple[int, str], list[Consent]] = {}
        for row in self._connection.execute(query):
            found.setdefault((row.of_voice, row.subject_uid), []).append(consent_of(row))
        return found

    def _unfinished(self, ids: Sequence[int]) -> set[int]:
        states = [state.value for state in OPEN]
        query = select(t.purges.c.voice_id).where(
            among(t.purges.c.voice_id, ids), t.purges.c.state.in_(states)
        )
        return set(self._connection.execute(query).scalars())


def slices(values: Iterable[Any]) -> Iterator[list[Any]]:
    """Yield values in order, some hundred at a time: databases take only so many in one question."""
    ordered = sorted(values)
    for start in range(0, len(ordered), _SLICE):
        yield ordered[start : start + _SLICE]


def among(column: Any, ids: Sequence[int]) -> Any:
    """Return the condition that a row is one of some hundred.

    Their numbers are written into the statement: as parameters they would cost the drivers more than the answer.
    """
    return column.in_(bindparam(None, [int(each) for each in ids], expanding=True, literal_execute=True))


def _files(wanted: VoiceFilter) -> Any:
    """Each stored file once. Without conditions the index of digests answers, and no voice is looked at."""
    a = t.artifacts.c
    query = (
        select(a.digest, func.max(a.size_bytes).label("size")).where(a.present.is_(True)).group_by(a.digest)
    )
    return query if wanted.all else query.join(t.voices, t.voices.c.id == a.voice_id).where(meant(wanted))


def grouping(by: str) -> tuple[Any, Any]:
    """Return the column that voices are grouped by, and what it is selected from."""
    columns = {"owner": t.voices.c.owner, "upstream": t.voices.c.upstream, "policy": t.voices.c.policy}
    if by in columns:
        return columns[by], t.voices
    if by == "state":
        return cast(t.voices.c.state, String(16)), t.voices
    source = t.voices.outerjoin(t.voice_subjects, t.voice_subjects.c.voice_id == t.voices.c.id).outerjoin(
        t.subjects, t.subjects.c.id == t.voice_subjects.c.subject_id
    )
    return t.subjects.c.pseudonym, source


def _artifact(row: Any) -> Artifact:
    return Artifact(
        uid=row.uid,
        version_uid=row.version_uid,
        role=Role(row.role),
        data_class=DataClass(row.data_class),
        digest=Digest.parse(row.digest),
        size_bytes=row.size_bytes,
        key_id=row.key_id,
        kind=row.kind,
        facts=row.facts or {},
        label=None,
        fingerprint=None,
        added_at=from_text(row.added_at),
        recorded_at=maybe_time(row.recorded_at),
    )
