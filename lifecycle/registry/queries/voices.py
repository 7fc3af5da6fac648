"""Voices, their versions, artifacts and recording sets."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, or_, select, update

from lifecycle.domain.digest import Digest
from lifecycle.domain.errors import IntegrityError, NotFound
from lifecycle.domain.voices import Artifact, DataClass, Role, State, Version, Voice
from lifecycle.registry import tables as t
from lifecycle.registry.times import from_text, maybe_text, maybe_time, to_text

# Among so many names the nearest to a mistyped one is looked for.
_NEAR = 1000


@dataclass(frozen=True, slots=True)
class RecordingSet:
    """Things of one voice and class that share one data key.

    Attributes:
        subject_uid: Whose things they are; None for recordings of the caller's own voice.
        key_id: The data key that seals them.
    """

    uid: str
    voice_uid: str
    subject_uid: str | None
    data_class: DataClass
    key_id: str
    created_at: datetime
    destroyed_at: datetime | None = None


class VoiceQueries:
    """What services ask and change about voices; one per unit of work."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, name: str) -> Voice | None:
        """Return the voice of this name, if any."""
        return self._one(t.voices.c.name == name)

    def get(self, name: str) -> Voice:
        """Return the voice of this name.

        Raises:
            NotFound: There is none; the hint proposes the nearest name.
        """
        voice = self.find(name)
        if voice is not None:
            return voice
        near = difflib.get_close_matches(name, self._names_near(name), n=1)
        shown = "".join(c if c.isprintable() else "?" for c in name[:64])
        hint = f"did you mean: vlm show {near[0]}" if near else "see what there is: vlm list"
        raise NotFound(f'there is no voice "{shown}"', hint=hint)

    def _names_near(self, name: str) -> list[str]:
        """Return names among which the nearest is looked for: all of a small registry, else neighbours by order."""
        column = t.voices.c.name
        query = select(column).where(column.is_not(None))
        names = list(self._connection.execute(query.order_by(column).limit(_NEAR + 1)).scalars())
        if len(names) <= _NEAR:
            return names
        before = query.where(column <= name).order_by(column.desc()).limit(_NEAR // 2)
        after = query.where(column > name).order_by(column).limit(_NEAR // 2)
        return [*self._connection.execute(before).scalars(), *self._connection.execute(after).scalars()]

    def by_uid(self, uid: str) -> Voice | None:
        """Return a voice by its random id, erased ones too."""
        return self._one(t.voices.c.uid == uid)

    def all(self, *, states: Collection[State] | None = None) -> list[Voice]:
        """Return all voices by name, erased ones last; `states` keeps only some."""
        query = select(t.voices).order_by(t.voices.c.name.is_(None), t.voices.c.name, t.voices.c.id)
        if states is not None:
            query = query.where(t.voices.c.state.in_([state.value for state in states]))
        rows = self._connection.execute(query).all()
        subjects = self._subjects_of([row.id for row in rows])
        return [voice_of(row, subjects.get(row.id, ())) for row in rows]

    def add(self, voice: Voice) -> None:
        """Store a new voice and the people it belongs to."""
        self._connection.execute(
            t.voices.insert().values(
                uid=voice.uid, created_at=to_text(voice.created_at), **_changeable(voice)
            )
        )
        for subject_uid in voice.subject_uids:
            self.add_subject(voice.uid, subject_uid)

    def update(self, voice: Voice) -> None:
        """Store a voice's changed fields; its people are added with `add_subject`."""
        self._connection.execute(
            update(t.voices).where(t.voices.c.uid == voice.uid).values(**_changeable(voice))
        )

    def used(self, voice_uid: str, *, at: datetime) -> None:
        """Note that a voice spoke, was trained further or left as an export; time never goes back here."""
        mine, earlier = t.voices.c.uid == voice_uid, t.voices.c.last_used_at < to_text(at)
        self._connection.execute(
            update(t.voices)
            .where(mine, or_(t.voices.c.last_used_at.is_(None), earlier))
            .values(last_used_at=to_text(at))
        )

    def add_subject(self, voice_uid: str, subject_uid: str) -> None:
        """Note that a voice belongs to a person; known already is fine."""
        voice_id, subject_id = self._id(t.voices, voice_uid), self._id(t.subjects, subject_uid)
        pair = (t.voice_subjects.c.voice_id == voice_id) & (t.voice_subjects.c.subject_id == subject_id)
        if self._connection.execute(select(t.voice_subjects).where(pair)).first() is None:
            values = {"voice_id": voice_id, "subject_id": subject_id}
            self._connection.execute(t.voice_subjects.insert().values(values))

    def versions(self, voice_uid: str) -> list[Version]:
        """Return a voice's versions, oldest first."""
        rows = self._connection.execute(
            select(t.versions).join(t.voices).where(t.voices.c.uid == voice_uid).order_by(t.versions.c.number)
        )
        return [_version(row) for row in rows]

    def current(self, voice_uid: str) -> Version:
        """Return the newest version that is not withdrawn.

        Raises:
            NotFound: There is none.
        """
        live = [version for version in self.versions(voice_uid) if version.withdrawn_at is None]
        if not live:
            raise NotFound("the voice has no version that is not withdrawn", hint="vlm list")
        return live[-1]

    def add_version(self, voice_uid: str, version: Version) -> None:
        """Store a new version of a voice."""
        self._connection.execute(
            t.versions.insert().values(
                uid=version.uid,
                voice_id=self._id(t.voices, voice_uid),
                number=version.number,
                identity=str(version.identity),
                created_at=to_text(version.created_at),
                withdrawn_at=maybe_text(version.withdrawn_at),
            )
        )

    def artifacts(
        self,
        voice_uid: str,
        *,
        role: Role | None = None,
        version_uid: str | None = None,
        present: bool | None = True,
    ) -> list[Artifact]:
        """Return a voice's artifacts in the order they were added.

        Args:
            voice_uid: The voice.
            role: Only this role.
            version_uid: Only those of this version (those of no version are left out).
            present: Only those that still exist (True), that are gone (False), or all (None).
        """
        query = _artifacts().where(t.voices.c.uid == voice_uid).order_by(t.artifacts.c.id)
        if role is not None:
            query = query.where(t.artifacts.c.role == role.value)
        if version_uid is not None:
            query = query.where(t.versions.c.uid == version_uid)
        if present is not None:
            query = query.where(t.artifacts.c.present.is_(present))
        return [_artifact(row) for row in self._connection.execute(query)]

    def artifact_by_digest(self, digest: Digest) -> list[Artifact]:
        """Return every present artifact, of any voice, whose bytes on disk have this digest."""
        query = _artifacts().where(t.artifacts.c.digest == str(digest), t.artifacts.c.present.is_(True))
        return [_artifact(row) for row in self._connection.execute(query)]

    def blob_digests(self) -> set[str]:
        """Return the digest of every blob that a present artifact, or a document of a person, refers to."""
        query = select(t.artifacts.c.digest).where(t.artifacts.c.present.is_(True)).distinct()
        papers = select(t.papers.c.digest).where(t.papers.c.present.is_(True))
        return {*self._connection.execute(query).scalars(), *self._connection.execute(papers).scalars()}

    def add_artifact(self, voice_uid: str, artifact: Artifact) -> None:
        """Store a new artifact; a sealed one joins the recording set of its data key."""
        self._connection.execute(
            t.artifacts.insert().values(
                uid=artifact.uid,
                voice_id=self._id(t.voices, voice_uid),
                version_id=None
                if artifact.version_uid is None
                else self._id(t.versions, artifact.version_uid),
                set_id=None if artifact.key_id is None else self._set_id(artifact.key_id),
                role=artifact.role.value,
                data_class=artifact.data_class.value,
                digest=str(artifact.digest),
                size_bytes=artifact.size_bytes,
                key_id=artifact.key_id,
                kind=artifact.kind,
                facts=dict(artifact.facts),
                label_sealed=artifact.label,
                fingerprint=artifact.fingerprint,
                recorded_at=maybe_text(artifact.recorded_at),
                added_at=to_text(artifact.added_at),
                present=artifact.present,
            )
        )

    def note(self, artifact_uid: str, facts: Mapping[str, object]) -> None:
        """Store what is known of an artifact now; what it is stays as it was."""
        query = update(t.artifacts).where(t.artifacts.c.uid == artifact_uid)
        self._connection.execute(query.values(facts=dict(facts)))

    def mark_destroyed(self, artifact_uids: Collection[str]) -> None:
        """Note that artifacts are gone; their labels and fingerprints go with them."""
        self._connection.execute(
            update(t.artifacts)
            .where(t.artifacts.c.uid.in_(list(artifact_uids)))
            .values(present=False, label_sealed=None, fingerprint=None)
        )

    def sets(self, voice_uid: str) -> list[RecordingSet]:
        """Return a voice's recording sets, destroyed ones too, oldest first."""
        rows = self._connection.execute(
            select(t.recording_sets, t.subjects.c.uid.label("subject_uid"))
            .join(t.voices, t.voices.c.id == t.recording_sets.c.voice_id)
            .outerjoin(t.subjects, t.subjects.c.id == t.recording_sets.c.subject_id)
            .where(t.voices.c.uid == voice_uid)
            .order_by(t.recording_sets.c.id)
        )
        return [
            RecordingSet(
                uid=row.uid,
                voice_uid=voice_uid,
                subject_uid=row.subject_uid,
                data_class=DataClass(row.data_class),
                key_id=row.key_id,
                created_at=from_text(row.created_at),
                destroyed_at=maybe_time(row.destroyed_at),
            )
            for row in rows
        ]

    def add_set(self, recordings: RecordingSet) -> None:
        """Store a new recording set."""
        self._connection.execute(
            t.recording_sets.insert().values(
                uid=recordings.uid,
                voice_id=self._id(t.voices, recordings.voice_uid),
                subject_id=None
                if recordings.subject_uid is None
                else self._id(t.subjects, recordings.subject_uid),
                data_class=recordings.data_class.value,
                key_id=recordings.key_id,
                created_at=to_text(recordings.created_at),
                destroyed_at=maybe_text(recordings.destroyed_at),
            )
        )

    def end_set(self, set_uid: str, *, at: datetime) -> None:
        """Note that the data key of a set is gone."""
        self._connection.execute(
            update(t.recording_sets)
            .where(t.recording_sets.c.uid == set_uid, t.recording_sets.c.destroyed_at.is_(None))
            .values(destroyed_at=to_text(at))
        )

    def count(self) -> int:
        """Return how many voices there are, erased ones too."""
        return int(self._connection.execute(select(func.count()).select_from(t.voices)).scalar_one())

    def _one(self, condition: Any) -> Voice | None:
        row = self._connection.execute(select(t.voices).where(condition)).first()
        return None if row is None else voice_of(row, self._subjects_of([row.id]).get(row.id, ()))

    def _subjects_of(self, voice_ids: list[int]) -> Mapping[int, tuple[str, ...]]:
        found: dict[int, list[str]] = {}
        query = select(t.voice_subjects.c.voice_id, t.subjects.c.uid).join(t.subjects)
        if len(voice_ids) == 1:
            query = query.where(t.voice_subjects.c.voice_id == voice_ids[0])
        for voice_id, uid in self._connection.execute(query.order_by(t.subjects.c.id)):
            found.setdefault(voice_id, []).append(uid)
        return {voice_id: tuple(uids) for voice_id, uids in found.items()}

    def _id(self, table: Any, uid: str) -> int:
        found = self._connection.execute(select(table.c.id).where(table.c.uid == uid)).scalar()
        if found is None:
            raise IntegrityError(f"{table.name[:-1]} {uid[:12]} has no row", hint="vlm doctor")
        return int(found)

    def _set_id(self, key_id: str) -> int | None:
        query = select(t.recording_sets.c.id).where(t.recording_sets.c.key_id == key_id)
        found = self._connection.execute(query).scalar()
        return None if found is None else int(found)


def _artifacts() -> Any:
    return (
        select(t.artifacts, t.versions.c.uid.label("version_uid"))
        .join(t.voices, t.voices.c.id == t.artifacts.c.voice_id)
        .outerjoin(t.versions, t.versions.c.id == t.artifacts.c.version_id)
    )


def _changeable(voice: Voice) -> dict[str, object]:
    return {
        "name": voice.name or None,
        "state": voice.state.value,
        "owner": voice.owner,
        "contact": voice.contact,
        "policy": voice.policy,
        "upstream": voice.upstream,
        "mute": voice.mute,
        "own_voice": voice.own_voice,
        "facts": dict(voice.facts),
        "changed_at": to_text(voice.changed_at),
        "rights": voice.rights,
        "last_used_at": maybe_text(voice.last_used_at),
        "retired_at": maybe_text(voice.retired_at),
        "contract_ends_at": maybe_text(voice.contract_ends_at),
    }


def voice_of(row: Row[Any], subject_uids: tuple[str, ...]) -> Voice:
    """Return a row of `voices` as a value."""
    return Voice(
        uid=row.uid,
        name=row.name or "",
        state=State(row.state),
        owner=row.owner,
        contact=row.contact,
        policy=row.policy,
        upstream=row.upstream,
        created_at=from_text(row.created_at),
        changed_at=from_text(row.changed_at),
        mute=row.mute,
        own_voice=row.own_voice,
        subject_uids=subject_uids,
        facts=row.facts,
        rights=row.rights,
        last_used_at=maybe_time(row.last_used_at),
        retired_at=maybe_time(row.retired_at),
        contract_ends_at=maybe_time(row.contract_ends_at),
    )


def _version(row: Row[Any]) -> Version:
    return Version(
        uid=row.uid,
        number=row.number,
        identity=Digest.parse(row.identity),
        created_at=from_text(row.created_at),
        withdrawn_at=maybe_time(row.withdrawn_at),
    )


def _artifact(row: Row[Any]) -> Artifact:
    return Artifact(
        uid=row.uid,
        version_uid=row.version_uid,
        role=Role(row.role),
        data_class=DataClass(row.data_class),
        digest=Digest.parse(row.digest),
        size_bytes=row.size_bytes,
        key_id=row.key_id,
        kind=row.kind,
        facts=row.facts,
        label=row.label_sealed,
        fingerprint=row.fingerprint,
        added_at=from_text(row.added_at),
        present=row.present,
        recorded_at=maybe_time(row.recorded_at),
    )
