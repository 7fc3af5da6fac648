"""Purge rows, and the rows that a purge deletes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, func, or_, select, update

from lifecycle.domain.errors import IntegrityError
from lifecycle.domain.purges import OPEN, Purge, PurgeState, followed
from lifecycle.registry import tables as t
from lifecycle.registry.times import from_text, to_text


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What the registry must no longer know after a purge.

    Attributes:
        artifacts: The destroyed artifacts.
        leaving: Subjects of whom nothing else lives.
        erased: Whether the voice itself goes, with its name and every detail of its events.
    """

    voice_uid: str
    artifacts: Collection[str]
    leaving: Collection[str]
    erased: bool


# A purge's own details name the request that asked for it: evidence, which stays.
EVIDENCE_VERBS = ("purge.committed", "purge.verified", "purge.aborted")


class PurgeQueries:
    """What services ask and change about purges; one per unit of work."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, purge: Purge) -> None:
        """Store a new purge, planned."""
        self._connection.execute(
            t.purges.insert().values(
                uid=purge.uid,
                voice_id=self._voice_id(purge.voice_uid),
                verb=purge.verb,
                state=purge.state.value,
                plan=dict(purge.plan),
                plan_sealed=None,
                plan_digest=purge.plan_digest,
                basis=purge.basis,
                request_sealed=purge.request,
                opened_at=to_text(purge.opened_at),
                changed_at=to_text(purge.changed_at),
            )
        )

    def get(self, uid: str) -> Purge:
        """Return a purge by its id.

        Raises:
            IntegrityError: No row has this id.
        """
        row = self._connection.execute(_select().where(t.purges.c.uid == uid)).first()
        if row is None:
            raise IntegrityError(f"purge {uid[:12]} has no row", hint="vlm doctor")
        return _purge(row)

    def open_of(self, voice_uid: str) -> Purge | None:
        """Return the purge that locks a voice, if any."""
        found = [purge for purge in self.all_open() if purge.voice_uid == voice_uid]
        return found[0] if found else None

    def all_committed(self) -> list[Purge]:
        """Return every purge that was decided, finished or not, oldest first."""
        without = [PurgeState.PLANNED.value, PurgeState.ABORTED.value]
        rows = self._connection.execute(
            _select().where(t.purges.c.state.not_in(without)).order_by(t.purges.c.id)
        ).all()
        return [_purge(row) for row in rows]

    def all_open(self) -> list[Purge]:
        """Return every purge that is neither finished nor aborted, oldest first."""
        states = [state.value for state in OPEN]
        rows = self._connection.execute(
            _select().where(t.purges.c.state.in_(states)).order_by(t.purges.c.id)
        ).all()
        return [_purge(row) for row in rows]

    def of_voice(self, voice_uid: str) -> list[Purge]:
        """Return all purges of a voice, oldest first."""
        rows = self._connection.execute(
            _select().where(t.voices.c.uid == voice_uid).order_by(t.purges.c.id)
        ).all()
        return [_purge(row) for row in rows]

    def move(self, purge: Purge, state: PurgeState, *, at: datetime) -> Purge:
        """Take a purge one step on.

        Raises:
            IntegrityError: The step does not follow, or another process was quicker.
        """
        after = followed(purge.state, state)
        changed = self._connection.execute(
            update(t.purges)
            .where(t.purges.c.uid == purge.uid, t.purges.c.state == purge.state.value)
            .values(state=after.value, changed_at=to_text(at))
        ).rowcount
        if changed != 1:
            raise IntegrityError(f"purge {purge.uid[:12]} is no longer {purge.state}", hint="vlm doctor")
        return replace(purge, state=after, changed_at=at)

    def owners(self, digests: Collection[str]) -> dict[str, set[str]]:
        """Return, for each blob digest, the voices whose present artifacts refer to it."""
        found: dict[str, set[str]] = {digest: set() for digest in digests}
        ordered = sorted(found)
        for start in range(0, len(ordered), 500):
            rows = self._connection.execute(
                select(t.artifacts.c.digest, t.voices.c.uid)
                .join(t.voices, t.voices.c.id == t.artifacts.c.voice_id)
                .where(t.artifacts.c.digest.in_(ordered[start : start + 500]), t.artifacts.c.present)
            ).all()
            for digest, voice_uid in rows:
                found[digest].add(voice_uid)
        return found

    def leaving(self, voice_uid: str) -> list[str]:
        """Return the subjects of a voice of whom nothing else lives: no other voice still holds data of theirs."""
        voice_id = self._voice_id(voice_uid)
        mine = select(t.voice_subjects.c.subject_id).where(t.voice_subjects.c.voice_id == voice_id)
        # Another voice keeps a person here while it speaks, or while recordings of theirs still stand.
        elsewhere = (
            select(t.voice_subjects.c.subject_id)
            .join(t.voices, t.voices.c.id == t.voice_subjects.c.voice_id)
            .where(t.voice_subjects.c.voice_id != voice_id, t.voices.c.state.in_(["active", "deprecated"]))
            .union(
                select(t.recording_sets.c.subject_id).where(
                    t.recording_sets.c.voice_id != voice_id,
                    t.recording_sets.c.destroyed_at.is_(None),
                    t.recording_sets.c.data_class != "evidence",
                    t.recording_sets.c.subject_id.is_not(None),
                )
            )
        )
        rows = self._connection.execute(
            select(t.subjects.c.uid)
            .where(t.subjects.c.id.in_(mine), t.subjects.c.id.not_in(elsewhere))
            .order_by(t.subjects.c.id)
        )
        return list(rows.scalars())

    def sealed_of(self, what: Forgotten) -> list[bytes]:
        """Return every sealed value that `forget` will delete, so that its bytes can be looked for afterwards."""
        voice_id = self._voice_id(what.voice_uid)
        labels = select(t.artifacts.c.uid, t.artifacts.c.label_sealed).where(
            t.artifacts.c.voice_id == voice_id, t.artifacts.c.data_class != "evidence"
        )
        wanted, everything = set(what.artifacts), bool(what.leaving) or what.erased
        values: list[bytes | None] = [
            row[1] for row in self._connection.execute(labels) if everything or row[0] in wanted
        ]
        values += self._connection.execute(
            select(t.subjects.c.label_sealed).where(t.subjects.c.uid.in_(list(what.leaving)))
        ).scalars()
        values += self._connection.execute(
            select(t.event_details.c.sealed).where(self._details_that_go(what))
        ).scalars()
        return [value for value in values if value]

    def forget(self, what: Forgotten, *, at: datetime) -> None:
        """Delete what the registry knows of destroyed things: labels, fingerprints, facts, details of events.

        The artifact rows stay with the digest of their ciphertext, which identifies nobody once its key is gone.
        """
        voice_id = self._voice_id(what.voice_uid)
        ordered = sorted(what.artifacts)
        for start in range(0, len(ordered), 500):
            self._connection.execute(
                update(t.artifacts)
                .where(t.artifacts.c.uid.in_(ordered[start : start + 500]))
                .values(present=False, label_sealed=None, fingerprint=None, facts={})
            )
        self._connection.execute(delete(t.event_details).where(self._details_that_go(what)))
        if what.leaving or what.erased:
            self._connection.execute(
                update(t.artifacts)
                .where(t.artifacts.c.voice_id == voice_id, t.artifacts.c.data_class != "evidence")
                .values(label_sealed=None, fingerprint=None)
            )
        self._connection.execute(
            update(t.subjects)
            .where(t.subjects.c.uid.in_(list(what.leaving)))
            .values(label_sealed=None, lookup_tag=None, contact_sealed=None)
        )
        gone = select(t.subjects.c.id).where(t.subjects.c.uid.in_(list(what.leaving)))
        self._connection.execute(
            update(t.cases).where(t.cases.c.subject_id.in_(gone)).values(request_sealed=None)
        )
        changed = update(t.voices).where(t.voices.c.id == voice_id).values(changed_at=to_text(at))
        self._connection.execute(changed)
        if what.erased:
            self._bury(voice_id)

    def end_sets(self, set_uids: Collection[str], *, at: datetime) -> None:
        """Mark recording sets as destroyed."""
        self._connection.execute(
            update(t.recording_sets)
            .where(t.recording_sets.c.uid.in_(list(set_uids)), t.recording_sets.c.destroyed_at.is_(None))
            .values(destroyed_at=to_text(at))
        )

    def mute(self, voice_uid: str) -> None:
        """Note that a voice lost what it is conditioned on."""
        self._connection.execute(update(t.voices).where(t.voices.c.uid == voice_uid).values(mute=True))

    def _bury(self, voice_id: int) -> None:
        """Turn an erased voice into its tombstone: no name, owner, contact, address or reason is left."""
        self._connection.execute(
            update(t.voices)
            .where(t.voices.c.id == voice_id)
            .values(
                name=None,
                owner=None,
                contact=None,
                rights=None,
                upstream=None,
                facts={},
                mute=True,
                state="erased",
            )
        )
        for table in (t.uses, t.notices, t.findings, t.import_rows):
            self._connection.execute(delete(table).where(table.c.voice_id == voice_id))
        # A verdict's reason and next command may name the voice.
        versions = select(t.versions.c.id).where(t.versions.c.voice_id == voice_id)
        self._connection.execute(delete(t.verdicts).where(t.verdicts.c.version_id.in_(versions)))
        for table in (t.holds, t.accepted_risks):
            emptied = update(table).where(table.c.voice_id == voice_id).values(reason_sealed=b"")
            self._connection.execute(emptied)

    def left_of(self, what: Forgotten) -> int:
        """Return how many rows still hold something that `forget` had to delete; 0 after a purge."""
        wanted, everything = set(what.artifacts), bool(what.leaving) or what.erased
        told = or_(t.artifacts.c.label_sealed.is_not(None), t.artifacts.c.fingerprint.is_not(None))
        rows = self._connection.execute(
            select(t.artifacts.c.uid, t.artifacts.c.data_class, told.label("told"))
            .join(t.voices, t.voices.c.id == t.artifacts.c.voice_id)
            .where(t.voices.c.uid == what.voice_uid, or_(t.artifacts.c.present, told))
        ).all()
        left = sum(
            1
            for row in rows
            if row.uid in wanted or (everything and row.told and row.data_class != "evidence")
        )
        left += self._count(
            t.subjects,
            and_(
                t.subjects.c.uid.in_(list(what.leaving)),
                or_(t.subjects.c.label_sealed.is_not(None), t.subjects.c.lookup_tag.is_not(None)),
            ),
        )
        named = and_(t.voices.c.uid == what.voice_uid, t.voices.c.name.is_not(None))
        left += self._count(t.voices, named) if what.erased else 0
        return left + self._count(t.event_details, self._details_that_go(what))

    def _count(self, table: Any, condition: Any) -> int:
        query = select(func.count()).select_from(table).where(condition)
        return int(self._connection.execute(query).scalar_one())

    def _details_that_go(self, what: Forgotten) -> Any:
        """Details about a person in this voice's events, all of a person who leaves, all of an erased voice."""
        of_voice = select(t.events.c.sequence).where(
            t.events.c.voice_uid == what.voice_uid, t.events.c.verb.not_in(EVIDENCE_VERBS)
        )
        here: Any = t.event_details.c.event_sequence.in_(of_voice)
        if not what.erased:
            here = and_(here, t.event_details.c.subject_uid.is_not(None))
        return or_(here, t.event_details.c.subject_uid.in_(list(what.leaving)))

    def _voice_id(self, voice_uid: str) -> int:
        found = self._connection.execute(select(t.voices.c.id).where(t.voices.c.uid == voice_uid)).scalar()
        if found is None:
            raise IntegrityError(f"voice {voice_uid[:12]} has no row", hint="vlm doctor")
        return int(found)


def _select() -> Any:
    return select(t.purges, t.voices.c.uid.label("voice_uid")).join(
        t.voices, t.voices.c.id == t.purges.c.voice_id
    )


def _purge(row: Row[Any]) -> Purge:
    plan: Mapping[str, object] = row.plan
    return Purge(
        uid=row.uid,
        voice_uid=row.voice_uid,
        verb=row.verb,
        state=PurgeState(row.state),
        plan=plan,
        plan_digest=row.plan_digest,
        basis=row.basis,
        request=row.request_sealed,
        opened_at=from_text(row.opened_at),
        changed_at=from_text(row.changed_at),
    )


__all__: Sequence[str] = ("Forgotten", "PurgeQueries")
