"""The rows of a registration, written in one transaction."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lifecycle.domain.subjects import Consent
from lifecycle.domain.voices import Role, State, Version, Voice
from lifecycle.services.registration.state import Begun, Intake

if TYPE_CHECKING:
    from lifecycle.registry.unit_of_work import UnitOfWork


def changed_voice(begun: Begun, intake: Intake) -> Voice:
    """Return the voice as it will be; equal to what it was where nothing about it changes."""
    request, old = begun.request, begun.voice
    heard = any(a.role in {Role.EMBEDDING, Role.REFERENCE} for a in intake.new)
    if old is None:
        return Voice(
            uid=begun.voice_uid,
            name=request.name,
            state=State.ACTIVE,
            owner=request.owner,
            contact=request.contact,
            policy=begun.policy.name,
            upstream=request.upstream,
            created_at=begun.now,
            changed_at=begun.now,
            own_voice=request.own_voice,
            subject_uids=() if begun.person is None else (begun.person.subject.uid,),
            rights=request.rights,
            contract_ends_at=request.contract_end,
        )
    people = old.subject_uids
    if begun.person is not None and begun.person.subject.uid not in people:
        people = (*people, begun.person.subject.uid)
    new = replace(
        old,
        owner=request.owner or old.owner,
        contact=request.contact or old.contact,
        policy=begun.policy.name,
        upstream=request.upstream or old.upstream,
        mute=old.mute and not heard,
        own_voice=old.own_voice or request.own_voice,
        subject_uids=people,
        rights=request.rights or old.rights,
        contract_ends_at=request.contract_end or old.contract_ends_at,
    )
    return new if new == old else replace(new, changed_at=begun.now)


def write_rows(begun: Begun, intake: Intake, voice: Voice, *, uow: UnitOfWork) -> str:
    """Write everything that is new, with its event; return "voice", "version" or "additions"."""
    if begun.person is not None and begun.person.new:
        uow.subjects.add(begun.person.subject, tag=begun.person.tag)
    if begun.voice is None:
        uow.voices.add(voice)
    else:
        uow.voices.update(replace(voice, changed_at=begun.now))
        for subject_uid in voice.subject_uids:
            uow.voices.add_subject(voice.uid, subject_uid)
    number = begun.number
    if begun.new_version:
        identity = intake.identity
        assert identity is not None
        uow.voices.add_version(voice.uid, Version(begun.version_uid, number, identity, begun.now))
    for recordings in intake.sets:
        uow.voices.add_set(recordings)
    for artifact in intake.new:
        uow.voices.add_artifact(voice.uid, artifact)
    _consents(begun, intake, voice, uow=uow)
    created = "voice" if begun.voice is None else "version" if begun.new_version else "additions"
    _event(begun, intake, created, number, uow=uow)
    return created


def _consents(begun: Begun, intake: Intake, voice: Voice, *, uow: UnitOfWork) -> None:
    for uid, evidence_uid in intake.consents:
        assert begun.subject_uid is not None
        consent = Consent(
            uid=uid,
            subject_uid=begun.subject_uid,
            scope=begun.request.consent_words,
            valid_until=begun.request.consent_end,
            received_at=begun.now,
            evidence_uid=evidence_uid,
            valid_from=begun.request.consent_start,
        )
        uow.subjects.add_consent(consent, voice_uid=voice.uid)


def _event(begun: Begun, intake: Intake, created: str, number: int, *, uow: UnitOfWork) -> None:
    request = begun.request
    counts: dict[str, int] = {}
    for artifact in intake.new:
        counts[artifact.role.value] = counts.get(artifact.role.value, 0) + 1
    uow.trail.append(
        "register",
        voice_uid=begun.voice_uid,
        subject_uid=begun.subject_uid,
        ids={"version": begun.version_uid},
        details={
            "name": request.name,
            "created": created,
            "version": number,
            "files": counts,
            "owner": request.owner,
            "upstream": request.upstream,
            "own_voice": request.own_voice,
            "rights": request.rights,
            "contract_ends": None if request.contract_ends is None else request.contract_ends.isoformat(),
            "recorded_on": None if request.recorded_on is None else request.recorded_on.isoformat(),
            "consent_until": None if request.consent_until is None else request.consent_until.isoformat(),
        },
    )
