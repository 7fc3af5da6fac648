"""People, their consents, and holds."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Row, func, or_, select, update

from lifecycle.domain.errors import IntegrityError
from lifecycle.domain.subjects import Consent, Hold, Paper, Subject
from lifecycle.registry import tables as t
from lifecycle.registry.times import from_text, maybe_text, maybe_time, to_text

# What a consent for one voice takes over from the consent for all voices that it is cut out of.
_COPIED = ("subject_id", "scope", "valid_from", "valid_until", "received_at", "evidence_uid")


class SubjectQueries:
    """What services ask and change about people; one per unit of work."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def by_tag(self, tag: str) -> Subject | None:
        """Return the person whose id has this keyed tag, if known."""
        return self._one(t.subjects.c.lookup_tag == tag)

    def by_uid(self, uid: str) -> Subject | None:
        """Return a person by random id."""
        return self._one(t.subjects.c.uid == uid)

    def by_pseudonym(self, pseudonym: str) -> Subject | None:
        """Return a person by pseudonym, such as `s-7f3a1c9e`."""
        return self._one(t.subjects.c.pseudonym == pseudonym)

    def add(self, subject: Subject, *, tag: str | None) -> None:
        """Store a new person; `tag` is the keyed tag of the id that the user gave."""
        self._connection.execute(
            t.subjects.insert().values(
                uid=subject.uid,
                pseudonym=subject.pseudonym,
                lookup_tag=tag,
                label_sealed=subject.label,
                contact_sealed=subject.contact,
                generation=subject.generation,
                created_at=to_text(subject.created_at),
            )
        )

    def bump_generation(self, subject_uid: str) -> None:
        """Make every job void that started before now for this person."""
        self._connection.execute(
            update(t.subjects)
            .where(t.subjects.c.uid == subject_uid)
            .values(generation=t.subjects.c.generation + 1)
        )

    def voices_of(self, subject_uid: str) -> list[str]:
        """Return the ids of the voices that belong to a person."""
        query = (
            select(t.voices.c.uid)
            .join(t.voice_subjects, t.voice_subjects.c.voice_id == t.voices.c.id)
            .where(t.voice_subjects.c.subject_id == self._id(t.subjects, subject_uid))
            .order_by(t.voices.c.id)
        )
        return list(self._connection.execute(query).scalars())

    def consents(self, subject_uid: str, voice_uid: str | None = None) -> list[Consent]:
        """Return a person's consents, oldest first; with a voice: those for it and those for all voices."""
        query = (
            select(t.consents, t.subjects.c.uid.label("subject_uid"))
            .join(t.subjects, t.subjects.c.id == t.consents.c.subject_id)
            .where(t.subjects.c.uid == subject_uid)
            .order_by(t.consents.c.id)
        )
        if voice_uid is not None:
            voice_id = self._id(t.voices, voice_uid)
            query = query.where(or_(t.consents.c.voice_id == voice_id, t.consents.c.voice_id.is_(None)))
        return [consent_of(row) for row in self._connection.execute(query)]

    def add_consent(self, consent: Consent, *, voice_uid: str | None) -> None:
        """Store a consent for one voice, or for every voice of the person."""
        self._connection.execute(
            t.consents.insert().values(
                uid=consent.uid,
                subject_id=self._id(t.subjects, consent.subject_uid),
                voice_id=None if voice_uid is None else self._id(t.voices, voice_uid),
                scope=consent.scope,
                valid_from=maybe_text(consent.valid_from),
                valid_until=maybe_text(consent.valid_until),
                renews_uid=consent.renews_uid,
                received_at=to_text(consent.received_at),
                evidence_uid=consent.evidence_uid,
                withdrawn_at=maybe_text(consent.withdrawn_at),
            )
        )

    def withdraw(
        self, subject_uid: str, *, at: datetime, new_uid: Callable[[], str], voice_uid: str | None = None
    ) -> int:
        """Note that a person withdrew their consents, for one voice or for all; return how many.

        A consent for all voices that is withdrawn for one of them goes on for the others: a copy of it is written
        for that voice alone, and that one is withdrawn.
        """
        mine: Any = t.consents.c.subject_id == self._id(t.subjects, subject_uid)
        given = t.consents.c.withdrawn_at.is_(None)
        condition, copied = mine & given, 0
        if voice_uid is not None:
            voice_id = self._id(t.voices, voice_uid)
            general = select(t.consents).where(condition, t.consents.c.voice_id.is_(None))
            before = select(func.max(t.consents.c.withdrawn_at)).where(
                mine, t.consents.c.voice_id == voice_id
            )
            last = self._connection.execute(before).scalar()
            if last is not None:
                general = general.where(t.consents.c.received_at > last)
            for row in self._connection.execute(general.order_by(t.consents.c.id)).all():
                copy = {name: getattr(row, name) for name in _COPIED}
                values = {**copy, "uid": new_uid(), "voice_id": voice_id, "withdrawn_at": to_text(at)}
                self._connection.execute(t.consents.insert().values(**values))
                copied += 1
            condition = condition & (t.consents.c.voice_id == voice_id)
        changed = self._connection.execute(
            update(t.consents).where(condition).values(withdrawn_at=to_text(at))
        )
        return int(changed.rowcount) + copied

    def consents_for_all(self, subject_uid: str) -> list[Consent]:
        """Return a person's consents that are for all of their voices, those to come included."""
        of = self.consent_voices(subject_uid)
        return [consent for consent in self.consents(subject_uid) if consent.uid not in of]

    def consent_voices(self, subject_uid: str) -> dict[str, str]:
        """Return, for each consent of a person that is for one voice, the voice's id."""
        query = (
            select(t.consents.c.uid, t.voices.c.uid.label("voice_uid"))
            .join(t.subjects, t.subjects.c.id == t.consents.c.subject_id)
            .join(t.voices, t.voices.c.id == t.consents.c.voice_id)
            .where(t.subjects.c.uid == subject_uid)
            .order_by(t.consents.c.id)
        )
        return {row.uid: row.voice_uid for row in self._connection.execute(query)}

    def set_contact(self, subject_uid: str, contact: bytes) -> None:
        """Replace the sealed words on how to reach a person."""
        self._connection.execute(
            update(t.subjects).where(t.subjects.c.uid == subject_uid).values(contact_sealed=contact)
        )

    def add_paper(self, paper: Paper) -> None:
        """Store a document that proves a consent."""
        self._connection.execute(
            t.papers.insert().values(
                uid=paper.uid,
                subject_id=self._id(t.subjects, paper.subject_uid),
                digest=paper.digest,
                size_bytes=paper.size_bytes,
                key_id=paper.key_id,
                label_sealed=paper.label,
                fingerprint=paper.fingerprint,
                added_at=to_text(paper.added_at),
                present=True,
            )
        )

    def papers(self, subject_uid: str) -> list[Paper]:
        """Return the documents of a person that still exist, oldest first."""
        query = (
            select(t.papers)
            .join(t.subjects, t.subjects.c.id == t.papers.c.subject_id)
            .where(t.subjects.c.uid == subject_uid, t.papers.c.present.is_(True))
            .order_by(t.papers.c.id)
        )
        return [
            Paper(
                uid=row.uid,
                subject_uid=subject_uid,
                digest=row.digest,
                size_bytes=row.size_bytes,
                key_id=row.key_id,
                label=row.label_sealed,
                fingerprint=row.fingerprint,
                added_at=from_text(row.added_at),
            )
            for row in self._connection.execute(query)
        ]

    def held_prints(self, prints: Collection[str]) -> list[str]:
        """Return which of these fingerprints of people's things belong to a present artifact of any voice."""
        ordered, found = sorted(prints), []
        for start in range(0, len(ordered), 500):
            query = select(t.artifacts.c.fingerprint).where(
                t.artifacts.c.fingerprint.in_(ordered[start : start + 500]), t.artifacts.c.present.is_(True)
            )
            found += list(self._connection.execute(query.order_by(t.artifacts.c.id)).scalars())
        return found

    def all_papers(self) -> list[tuple[str, str]]:
        """Return the digest of every document that still exists, with its person's pseudonym."""
        query = (
            select(t.papers.c.digest, t.subjects.c.pseudonym)
            .join(t.subjects, t.subjects.c.id == t.papers.c.subject_id)
            .where(t.papers.c.present.is_(True))
            .order_by(t.papers.c.id)
        )
        return [(row.digest, row.pseudonym) for row in self._connection.execute(query)]

    def holds(
        self, *, voice_uid: str | None = None, subject_uid: str | None = None, active: bool = True
    ) -> list[Hold]:
        """Return holds, oldest first: all, or those on a voice or on a person; only active ones by default."""
        query = (
            select(t.holds, t.voices.c.uid.label("voice_uid"), t.subjects.c.uid.label("subject_uid"))
            .outerjoin(t.voices, t.voices.c.id == t.holds.c.voice_id)
            .outerjoin(t.subjects, t.subjects.c.id == t.holds.c.subject_id)
            .order_by(t.holds.c.id)
        )
        on = []
        if voice_uid is not None:
            on.append(t.voices.c.uid == voice_uid)
        if subject_uid is not None:
            on.append(t.subjects.c.uid == subject_uid)
        if on:
            query = query.where(or_(*on))
        if active:
            query = query.where(t.holds.c.released_at.is_(None))
        return [_hold(row) for row in self._connection.execute(query)]

    def holds_over(self, voice_uid: str) -> list[Hold]:
        """Return the active holds that forbid deletions of a voice: its own, and those on its people."""
        people = (
            select(t.subjects.c.uid)
            .join(t.voice_subjects, t.voice_subjects.c.subject_id == t.subjects.c.id)
            .join(t.voices, t.voices.c.id == t.voice_subjects.c.voice_id)
            .where(t.voices.c.uid == voice_uid)
        )
        found = self.holds(voice_uid=voice_uid)
        for subject_uid in self._connection.execute(people).scalars():
            found += self.holds(subject_uid=subject_uid)
        return found

    def add_hold(self, hold: Hold) -> None:
        """Store a new hold."""
        self._connection.execute(
            t.holds.insert().values(
                uid=hold.uid,
                voice_id=None if hold.voice_uid is None else self._id(t.voices, hold.voice_uid),
                subject_id=None if hold.subject_uid is None else self._id(t.subjects, hold.subject_uid),
                reason_sealed=hold.reason,
                placed_at=to_text(hold.placed_at),
                review_on=None if hold.review_on is None else hold.review_on.isoformat(),
                released_at=maybe_text(hold.released_at),
            )
        )

    def release_hold(self, uid: str, *, at: datetime) -> None:
        """End a hold."""
        self._connection.execute(
            update(t.holds)
            .where(t.holds.c.uid == uid, t.holds.c.released_at.is_(None))
            .values(released_at=to_text(at))
        )

    def _one(self, condition: Any) -> Subject | None:
        row = self._connection.execute(select(t.subjects).where(condition)).first()
        if row is None:
            return None
        return Subject(
            uid=row.uid,
            pseudonym=row.pseudonym,
            label=row.label_sealed,
            contact=row.contact_sealed,
            generation=row.generation,
            created_at=from_text(row.created_at),
        )

    def _id(self, table: Any, uid: str) -> int:
        found = self._connection.execute(select(table.c.id).where(table.c.uid == uid)).scalar()
        if found is None:
            raise IntegrityError(f"{table.name[:-1]} {uid[:12]} has no row", hint="vlm doctor")
        return int(found)


def consent_of(row: Row[Any]) -> Consent:
    """Return the consent of a row that also names its person as `subject_uid`."""
    return Consent(
        uid=row.uid,
        subject_uid=row.subject_uid,
        scope=row.scope,
        valid_from=maybe_time(row.valid_from),
        valid_until=maybe_time(row.valid_until),
        renews_uid=row.renews_uid,
        received_at=from_text(row.received_at),
        evidence_uid=row.evidence_uid,
        withdrawn_at=maybe_time(row.withdrawn_at),
    )


def _hold(row: Row[Any]) -> Hold:
    return Hold(
        uid=row.uid,
        voice_uid=row.voice_uid,
        subject_uid=row.subject_uid,
        reason=row.reason_sealed,
        placed_at=from_text(row.placed_at),
        released_at=maybe_time(row.released_at),
        review_on=None if row.review_on is None else date.fromisoformat(row.review_on),
    )
