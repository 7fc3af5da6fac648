"""Everything that is held about a person, gathered for the person: their data and nobody else's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from lifecycle.domain.digest import Digest
from lifecycle.domain.errors import VlmError
from lifecycle.domain.retention import decisions
from lifecycle.domain.subjects import holding
from lifecycle.domain.time_bases import NEVER, facts_of
from lifecycle.domain.voices import DataClass, Role
from lifecycle.services.guard import refuse_while_purged
from lifecycle.services.purges.preview import evidence_ends
from lifecycle.services.retention.files import load_policies, policy_home

if TYPE_CHECKING:
    from pathlib import Path

    from lifecycle.bootstrap import Rooms
    from lifecycle.domain.subjects import Subject
    from lifecycle.domain.voices import Artifact, Voice
    from lifecycle.registry.trail import StoredEvent
    from lifecycle.registry.unit_of_work import UnitOfWork

FORMAT = "vlm-subject-export/1"
_CLIPS = frozenset({Role.AUDIO, Role.REFERENCE})
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")
# Words of others: who answers for a voice, and why somebody placed a hold.
_OTHERS = frozenset({"owner", "contact"})
_REASONS = frozenset({"hold", "unhold", "audit.accept"})
NOT_INCLUDED = (
    "model weights and what goes with them: they are described, and no copy of them is handed out",
    "speaker files, features and goldens that were computed from the recordings: they are described",
    "reasons of holds, and names of people who answer for a voice: they are about others",
    "files that were spoken or exported: they were handed to whoever asked, and are not tracked",
    "backups: they hold sealed copies of the same things",
)


@dataclass(frozen=True, slots=True)
class Clip:
    """One stored file that goes into the export, opened."""

    name: str
    digest: Digest
    key_id: str | None
    size_bytes: int


@dataclass(slots=True)
class Record:
    """What is held about a person.

    Attributes:
        data: The readable part, JSON.
        clips: Files that are copied in, opened: documents of consents, and recordings where they were asked for.
        certificates: Receipts of purges, as they lie on disk.
    """

    data: dict[str, Any]
    clips: list[Clip] = field(default_factory=list)
    certificates: list[Path] = field(default_factory=list)
    recordings: int = 0


def gather(subject: Subject, *, uow: UnitOfWork, rooms: Rooms, recordings: bool) -> Record:
    """Gather the record of a person.

    Args:
        recordings: Copy their recordings and reference clips in, too.

    Raises:
        Refused: A purge of theirs is open.
    """
    found = [uow.voices.by_uid(uid) for uid in uow.subjects.voices_of(subject.uid)]
    voices = [voice for voice in found if voice is not None]
    for voice in voices:
        refuse_while_purged(voice, uow=uow)
    record = Record({})
    keys = rooms.vault.keys
    record.data = {
        "format": FORMAT,
        "made_at": _time(rooms.clock()),
        "subject": subject.pseudonym,
        "id": None if subject.label is None else keys.open_text(subject.label),
        "contact": None if subject.contact is None else keys.open_text(subject.contact),
        "added_at": _time(subject.created_at),
        "voices": [
            _voice(voice, subject, record, uow=uow, rooms=rooms, recordings=recordings) for voice in voices
        ],
        "consents": _consents(subject, voices, record, uow=uow, rooms=rooms),
        "cases": _cases(subject, uow=uow, rooms=rooms),
        "holds": [
            {
                "placed_at": _time(hold.placed_at),
                "review_on": None if hold.review_on is None else str(hold.review_on),
            }
            for voice in [None, *voices]
            for hold in uow.subjects.holds(
                subject_uid=subject.uid if voice is None else None,
                voice_uid=None if voice is None else voice.uid,
            )
        ],
        "events": [_event(each, subject, uow=uow) for each in _events(subject, voices, uow=uow)],
        "kept": _kept(subject, voices, uow=uow, rooms=rooms),
        "recordings_included": recordings,
        "not_included": [
            *NOT_INCLUDED,
            *([] if recordings else ["recordings and reference clips: they were not asked for this time"]),
        ],
    }
    record.certificates = _certificates(voices, uow=uow, rooms=rooms)
    record.data["certificates"] = [f"certificates/{path.name}" for path in record.certificates]
    return record


def _voice(
    voice: Voice, subject: Subject, record: Record, *, uow: UnitOfWork, rooms: Rooms, recordings: bool
) -> dict[str, Any]:
    mine = {each.key_id for each in uow.voices.sets(voice.uid) if each.subject_uid == subject.uid}
    files = []
    for artifact in uow.voices.artifacts(voice.uid):
        personal = artifact.data_class is not DataClass.MODEL
        if personal and artifact.key_id not in mine:
            continue
        told = _file(artifact, rooms=rooms)
        if recordings and artifact.role in _CLIPS:
            record.recordings += 1
            told["included"] = _clip(
                artifact, told, f"recordings/{voice.name}/{record.recordings:04d}", record
            )
        files.append(told)
    return {
        "name": voice.name or None,
        "state": voice.state.value,
        "mute": voice.mute,
        "registered_at": _time(voice.created_at),
        "last_used_at": None if voice.last_used_at is None else _time(voice.last_used_at),
        "retired_at": None if voice.retired_at is None else _time(voice.retired_at),
        "rights": voice.rights,
        "policy": voice.policy,
        "uses": [
            {
                "place": claim.place,
                "claimed_at": _time(claim.claimed_at),
                "until": None if claim.until is None else _time(claim.until),
            }
            for claim in uow.uses.of_voice(voice.uid)
        ],
        "files": files,
    }


def _file(artifact: Artifact, *, rooms: Rooms) -> dict[str, Any]:
    seconds = artifact.facts.get("seconds")
    return {
        "role": artifact.role.value,
        "class": artifact.data_class.value,
        "kind": artifact.kind,
        "size": artifact.size_bytes,
        "seconds": seconds if isinstance(seconds, int | float) else None,
        "name": _name(artifact.label, rooms=rooms),
        "added_at": _time(artifact.added_at),
        "recorded_at": None if artifact.recorded_at is None else _time(artifact.recorded_at),
        "sealed": artifact.key_id is not None,
        "included": None,
    }


def _clip(artifact: Artifact, told: Mapping[str, Any], place: str, record: Record) -> str:
    name = place + _suffix(told["name"], ".json" if artifact.kind == "transcript" else ".audio")
    record.clips.append(Clip(name, artifact.digest, artifact.key_id, artifact.size_bytes))
    return name


def _consents(
    subject: Subject, voices: Sequence[Voice], record: Record, *, uow: UnitOfWork, rooms: Rooms
) -> list[dict[str, Any]]:
    """Return every consent, each with the document that proves it."""
    given, of = uow.subjects.consents(subject.uid), uow.subjects.consent_voices(subject.uid)
    names = {voice.uid: voice.name or None for voice in voices}
    proofs: dict[str, Clip] = {}
    for paper in uow.subjects.papers(subject.uid):
        name = f"consents/{paper.uid[:12]}{_suffix(_name(paper.label, rooms=rooms), '.document')}"
        proofs[paper.uid] = Clip(name, Digest.parse(paper.digest), paper.key_id, paper.size_bytes)
    for voice in voices:
        for artifact in uow.voices.artifacts(voice.uid, role=Role.CONSENT):
            name = f"consents/{artifact.uid[:12]}{_suffix(_name(artifact.label, rooms=rooms), '.document')}"
            proofs[artifact.uid] = Clip(name, artifact.digest, artifact.key_id, artifact.size_bytes)
    wanted = {consent.evidence_uid for consent in given}
    record.clips += [clip for uid, clip in proofs.items() if uid in wanted]
    now, told = rooms.clock(), []
    for consent in given:
        clip = proofs.get(consent.evidence_uid or "")
        told.append(
            {
                "consent": consent.uid[:12],
                "scope": consent.scope.split(","),
                "voice": names.get(of.get(consent.uid, "")),
                "all_voices": consent.uid not in of,
                "received_at": _time(consent.received_at),
                "valid_from": None if consent.valid_from is None else _time(consent.valid_from),
                "valid_until": None if consent.valid_until is None else _time(consent.valid_until),
                "withdrawn_at": None if consent.withdrawn_at is None else _time(consent.withdrawn_at),
                "renews": None if consent.renews_uid is None else consent.renews_uid[:12],
                "holds": consent in holding(given, now),
                "document": None if clip is None else clip.name,
            }
        )
    return told


def _cases(subject: Subject, *, uow: UnitOfWork, rooms: Rooms) -> list[dict[str, Any]]:
    return [
        {
            "case": case.uid[:12],
            "kind": case.kind,
            "received_on": case.received_on.isoformat(),
            "due_on": case.due_on.isoformat(),
            "closed_at": None if case.closed_at is None else _time(case.closed_at),
            "outcome": None if case.outcome is None else case.outcome.value,
            "reference": None if case.request is None else rooms.vault.keys.open_text(case.request),
        }
        for case in uow.cases.of_subject(subject.uid)
    ]


def _events(subject: Subject, voices: Sequence[Voice], *, uow: UnitOfWork) -> Iterator[StoredEvent]:
    """Yield, in order, what happened to a person and to the voices that are theirs alone."""
    mine = {each.event.sequence: each for each in uow.trail.stored(subject_uid=subject.uid)}
    for voice in voices:
        if voice.subject_uids == (subject.uid,):
            for each in uow.trail.stored(voice_uid=voice.uid):
                if each.subject_uid in {None, subject.uid}:
                    mine[each.event.sequence] = each
    yield from (mine[sequence] for sequence in sorted(mine))


def _event(stored: StoredEvent, subject: Subject, *, uow: UnitOfWork) -> dict[str, Any]:
    told: Mapping[str, Any] | None = None
    if stored.details_subject == subject.uid and stored.event.verb not in _REASONS:
        try:
            told = uow.trail.details(stored)
        except (VlmError, ValueError):
            told = None
    details = None if told is None else {key: value for key, value in told.items() if key not in _OTHERS}
    return {
        "sequence": stored.event.sequence,
        "at": _time(stored.event.at),
        "what": stored.event.verb,
        "details": details,
    }


def _kept(
    subject: Subject, voices: Sequence[Voice], *, uow: UnitOfWork, rooms: Rooms
) -> list[dict[str, Any]]:
    """Return what is kept and until when, with the rule that says so."""
    kept: list[dict[str, Any]] = []
    policies, lost = load_policies({voice.policy for voice in voices}, own=policy_home(rooms))
    for voice in voices:
        given = {uid: uow.subjects.consents(uid, voice_uid=voice.uid) for uid in voice.subject_uids}
        facts = facts_of(voice, uow.voices.artifacts(voice.uid), given)
        for each in decisions(policies[voice.policy], facts):
            until = None if each.delete_due >= NEVER else _time(each.delete_due)
            what = ", ".join(sorted(str(one) for one in each.rule.applies_to.classes))
            kept.append({"voice": voice.name or None, "what": what, "until": until, "because": each.because})
        if voice.policy in lost:
            because = f'its policy "{voice.policy}" {lost[voice.policy]}, so that nobody can say until when'
            kept.append({"voice": voice.name or None, "what": "voice", "until": None, "because": because})
    ends = evidence_ends(rooms)
    for paper in uow.subjects.papers(subject.uid):
        until = ends.get(paper.key_id)
        kept.append({"voice": None, "what": "evidence", "until": until, "because": "it proves a consent"})
    return kept


def _certificates(voices: Sequence[Voice], *, uow: UnitOfWork, rooms: Rooms) -> list[Path]:
    """Return the receipts of the purges of these voices; they name random ids only."""
    folder = rooms.settings.home / "certificates"
    found: list[Path] = []
    for voice in voices:
        for purge in uow.purges.of_voice(voice.uid):
            found += sorted(folder.glob(f"*-{purge.uid[:6]}.dsse.json"))
            found += sorted(folder.glob(f"*-{purge.uid[:6]}.html"))
    return list(dict.fromkeys(found))


def _name(label: bytes | None, *, rooms: Rooms) -> str | None:
    """Return the name that a file had, without the folder that it lay in: that one may name others."""
    if label is None:
        return None
    try:
        text = rooms.vault.keys.open_text(label)
        told = json.loads(text)
    except (VlmError, ValueError):
        return None
    name = told.get("name") if isinstance(told, dict) else None
    return PurePath(name).name if isinstance(name, str) else None


def _suffix(name: str | None, other: str) -> str:
    suffix = PurePath(name or "").suffix
    return suffix.lower() if _SUFFIX.fullmatch(suffix) else other


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
