"""Which documents of a person are the same paper, whether they came with a voice or by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from blake3 import blake3

from lifecycle.domain.digest import Digest
from lifecycle.domain.errors import Refused
from lifecycle.domain.voices import Role
from lifecycle.formats import shown

if TYPE_CHECKING:
    from datetime import date, datetime

    from lifecycle.bootstrap import Rooms
    from lifecycle.domain.subjects import Consent, Subject
    from lifecycle.registry.unit_of_work import UnitOfWork


def print_of(subject: Subject, content: bytes, *, rooms: Rooms) -> str:
    """Return by what a document of a person is recognised."""
    return rooms.vault.keys.fingerprint(subject.uid, Digest("blake3", blake3(content).hexdigest()))


def same_paper(subject: Subject, content: bytes, *, uow: UnitOfWork, rooms: Rooms) -> list[Consent]:
    """Return the consents of a person that a paper with this content proves."""
    given = uow.subjects.consents(subject.uid)
    plain = print_of(subject, content, rooms=rooms)
    found = {paper.uid for paper in uow.subjects.papers(subject.uid) if paper.fingerprint == plain}
    tagged = {
        print_of(subject, (blake3(content).hexdigest() + tag).encode(), rooms=rooms) for tag in _tags(given)
    }
    for voice_uid in uow.subjects.voices_of(subject.uid):
        documents = uow.voices.artifacts(voice_uid, role=Role.CONSENT)
        found |= {artifact.uid for artifact in documents if artifact.fingerprint in tagged}
    return [consent for consent in given if consent.evidence_uid in found]


def _tags(given: Sequence[Consent]) -> set[str]:
    """A document that came with a voice was recognised by its content and the terms of the consent."""
    tags = set()
    for consent in given:
        end, start = str(day(consent.valid_until)), day(consent.valid_from)
        tags |= {end, f"{end} {start} {consent.scope}", f"{end} {start} None"}
    return tags


def refuse_withdrawn(
    subject: Subject, content: bytes, name: str, *, voice_uid: str | None, uow: UnitOfWork, rooms: Rooms
) -> list[Consent]:
    """Refuse a paper whose consent was withdrawn: a newer one is needed, whatever dates it is given.

    Args:
        name: Of the file, for the sentence.
        voice_uid: The voice that it is for; None: all of the person's.

    Returns:
        The consents that the paper proves already.

    Raises:
        Refused: It was withdrawn.
    """
    same = same_paper(subject, content, uow=uow, rooms=rooms)
    of = uow.subjects.consent_voices(subject.uid) if same else {}
    for consent in same:
        if consent.withdrawn_at is not None and (
            voice_uid is None or of.get(consent.uid) in {None, voice_uid}
        ):
            raise Refused(
                f'"{shown(name)}" proves a consent that was withdrawn, so a newer one is needed; nothing was stored',
                hint=f"vlm subject show {subject.pseudonym}",
            )
    return same


def day(moment: datetime | None) -> date | None:
    """Return the day of a moment, in UTC."""
    return None if moment is None else moment.date()
