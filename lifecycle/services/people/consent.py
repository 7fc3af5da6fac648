"""`vlm subject consent`: a person agrees to something for a time, and a paper proves it; also a renewal."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle.domain.errors import NotFound, Refused, UnreadableFile, UsageError
from lifecycle.domain.failpoints import hit
from lifecycle.domain.subjects import ALL, Consent, Paper, Subject, checked_scope, checked_term
from lifecycle.domain.voices import Voice
from lifecycle.formats import shown
from lifecycle.services.guard import check_generation, check_open_case
from lifecycle.services.people.papers import day, print_of, refuse_withdrawn
from lifecycle.services.people.subjects import known_subject
from lifecycle.services.registration.arrivals import arrivals
from lifecycle.services.registration.intake import MAX_CONSENT_BYTES
from lifecycle.services.registration.state import small_file
from lifecycle.services.retention.files import load_policy, policy_home

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.registry.unit_of_work import UnitOfWork

SHORT = 12
LAST = "last"
_ID = re.compile(r"[0-9a-f]{8,32}")


@dataclass(frozen=True, slots=True)
class ConsentRequest:
    """What a person agreed to.

    Attributes:
        subject: Their id or pseudonym.
        scope: Words of `lifecycle.domain.subjects.SCOPES`, or "all".
        begins: The first day; None: from now on.
        ends: The last day, in UTC; None: until it is withdrawn.
        voice: Name of the one voice that it is for; None: all of theirs, those to come included.
        renews: Id of the consent whose place it takes, or "last".
    """

    subject: str
    evidence: Path
    scope: str = ALL
    begins: date | None = None
    ends: date | None = None
    voice: str | None = None
    renews: str | None = None


@dataclass(frozen=True, slots=True)
class Consented:
    """A consent that is on record now."""

    subject: str
    consent: Consent
    voice: str | None
    created: bool
    dry_run: bool = False

    def to_json(self) -> dict[str, object]:
        """Return the consent for programs."""
        given = self.consent
        return {
            "subject": self.subject,
            "consent": None if self.dry_run and self.created else given.uid[:SHORT],
            "scope": given.scope.split(","),
            "voice": self.voice,
            "valid_from": _maybe(given.valid_from),
            "valid_until": _maybe(given.valid_until),
            "renews": None if given.renews_uid is None else given.renews_uid[:SHORT],
            "created": self.created,
            "dry_run": self.dry_run,
            "next": f"vlm subject show {self.subject}",
        }

    def lines(self) -> list[str]:
        """Return the consent for people."""
        given = self.consent
        which = "all their voices" if self.voice is None else self.voice
        scope = given.scope.replace(",", ", ")
        what = f"a consent of {self.subject} to {scope}, for {which}, {term(given)}"
        first = f"would keep {what}" if self.dry_run else f"kept {what}"
        if not self.created:
            first = f"this consent of {self.subject} is on record already; nothing was stored"
        lines = [first]
        if given.renews_uid is not None and self.created:
            lines.append(f"it takes the place of {given.renews_uid[:SHORT]}; both stay on record")
        return [*lines, f"next: vlm subject show {self.subject}"]


def term(given: Consent) -> str:
    """Return a consent's term in words."""
    start = "" if given.valid_from is None else f"from {given.valid_from.date()} "
    return start + ("until withdrawn" if given.valid_until is None else f"until {given.valid_until.date()}")


def add_consent(request: ConsentRequest, *, rooms: Rooms, dry_run: bool = False) -> Consented:
    """Keep a consent with the paper that proves it, sealed under a key with an end of its own.

    The same paper with the same terms is found and stored once.

    Raises:
        UsageError: Unknown scope, or a term that never holds; nothing was stored.
        NotFound: The person, the voice, the file or the consent to renew does not exist.
        UnreadableFile: The paper is empty or too large.
        Refused: A withdrawal of theirs is open, or the paper was withdrawn already.
    """
    again = "vlm subject consent --help"
    try:
        scope = checked_scope(request.scope)
        checked_term(request.begins, request.ends, today=rooms.clock().date())
    except UsageError as error:
        raise UsageError(error.message, hint=again) from None
    content = small_file(request.evidence, MAX_CONSENT_BYTES)
    if not content:
        name = shown(request.evidence.name)
        raise UnreadableFile(f'"{name}" is empty, so it is no consent; nothing was stored')
    with rooms.registry.read() as uow:
        subject = known_subject(request.subject, uow=uow, rooms=rooms)
        if subject.label is None:
            raise Refused(
                f"{subject.pseudonym} left and their keys are gone; who comes back is a new person here",
                hint="vlm subject add ID",
            )
        known, old = _on_record(request, subject, content, scope, uow=uow, rooms=rooms)
        voice = _voice(request, old, subject, uow=uow)
    given = Consent(
        uid=rooms.new_uid(),
        subject_uid=subject.uid,
        scope=scope,
        valid_until=None if request.ends is None else datetime.combine(request.ends, time.max, UTC),
        received_at=rooms.clock(),
        evidence_uid=rooms.new_uid(),
        valid_from=None if request.begins is None else datetime.combine(request.begins, time.min, UTC),
        renews_uid=None if old is None else old.uid,
    )
    which = None if voice is None else voice.name
    if known is not None or dry_run:
        return Consented(subject.pseudonym, known or given, which, known is None, dry_run=dry_run)
    _keep(request, subject, given, voice, content, rooms=rooms)
    return Consented(subject.pseudonym, given, which, created=True)


def _on_record(
    request: ConsentRequest, subject: Subject, content: bytes, scope: str, *, uow: UnitOfWork, rooms: Rooms
) -> tuple[Consent | None, Consent | None]:
    """Return the same consent where it is known, and the one that is to be renewed."""
    given = uow.subjects.consents(subject.uid)
    voices = uow.subjects.consent_voices(subject.uid)
    wanted = None if request.voice is None else uow.voices.get(request.voice).uid
    same = refuse_withdrawn(subject, content, request.evidence.name, voice_uid=wanted, uow=uow, rooms=rooms)
    ends, begins = request.ends, request.begins
    for consent in same:
        terms = (day(consent.valid_from), day(consent.valid_until), consent.scope)
        if terms == (begins, ends, scope) and voices.get(consent.uid) == wanted:
            return consent, None
    if request.renews is None:
        return None, None
    return None, _renewed(request.renews, given, voices, wanted, subject=subject)


def _renewed(
    told: str, given: Sequence[Consent], voices: dict[str, str], wanted: str | None, *, subject: Subject
) -> Consent:
    """Find the consent that is to be renewed: by the beginning of its id, or the last that was given."""
    taken = {c.renews_uid for c in given}
    open_ones = [c for c in given if c.withdrawn_at is None and c.uid not in taken]
    if told == LAST:
        found = [c for c in open_ones if wanted is None or voices.get(c.uid) == wanted][-1:]
    else:
        found = [c for c in open_ones if _ID.fullmatch(told) and c.uid.startswith(told)]
    if len(found) != 1:
        raise NotFound(
            f'{subject.pseudonym} has no consent "{shown(told[:40])}" that could be renewed; '
            "one that was withdrawn or renewed cannot be",
            hint=f"vlm subject show {subject.pseudonym}",
        )
    if wanted is not None and voices.get(found[0].uid) != wanted:
        raise UsageError(
            "the consent that is to be renewed is for other voices than the new one",
            hint=f"vlm subject show {subject.pseudonym}",
        )
    return found[0]


def _voice(
    request: ConsentRequest, old: Consent | None, subject: Subject, *, uow: UnitOfWork
) -> Voice | None:
    """Return the voice that the consent is for; a renewal is for the one that it renews."""
    check_open_case(subject.uid, None, uow=uow)
    if request.voice is None:
        uid = None if old is None else uow.subjects.consent_voices(subject.uid).get(old.uid)
        return None if uid is None else uow.voices.by_uid(uid)
    voice = uow.voices.get(request.voice)
    require_theirs(voice, subject)
    check_open_case(subject.uid, voice.uid, uow=uow)
    return voice


def require_theirs(voice: Voice, subject: Subject) -> None:
    """Require that a voice belongs to a person.

    Raises:
        UsageError: It belongs to another.
    """
    if subject.uid not in voice.subject_uids:
        raise UsageError(
            f'"{voice.name}" does not belong to subject {subject.pseudonym}', hint=f"vlm show {voice.name}"
        )


def _keep(
    request: ConsentRequest,
    subject: Subject,
    given: Consent,
    voice: Voice | None,
    content: bytes,
    *,
    rooms: Rooms,
) -> None:
    """Seal the paper, then write both rows with their event; whatever ends it early leaves nothing."""
    policy = load_policy(
        rooms.settings.default_policy if voice is None else voice.policy, own=policy_home(rooms)
    )
    stays = policy.keep_evidence
    until = None if given.valid_until is None or stays is None else stays.after(given.valid_until)
    keys = rooms.vault.keys
    named = json.dumps({"name": request.evidence.name, "path": str(request.evidence.absolute())})
    with arrivals(rooms) as coming:
        key = keys.create_data_key(subject_uid=subject.uid, purpose="evidence", until=until)
        stored = coming.take_bytes(content, key=key)
        assert given.evidence_uid is not None
        paper = Paper(
            uid=given.evidence_uid,
            subject_uid=subject.uid,
            digest=str(stored.digest),
            size_bytes=stored.size,
            key_id=key.id,
            label=keys.seal_text(subject.uid, named),
            fingerprint=print_of(subject, content, rooms=rooms),
            added_at=given.received_at,
        )
        with rooms.registry.write() as uow:
            check_open_case(subject.uid, None if voice is None else voice.uid, uow=uow)
            check_generation({subject.uid: subject.generation}, uow=uow)
            uow.subjects.add_paper(paper)
            uow.subjects.add_consent(given, voice_uid=None if voice is None else voice.uid)
            uow.trail.append(
                "consent",
                voice_uid=None if voice is None else voice.uid,
                subject_uid=subject.uid,
                ids={"consent": given.uid, **({"renews": given.renews_uid} if given.renews_uid else {})},
                details={
                    "scope": given.scope,
                    "valid_from": _maybe(given.valid_from),
                    "valid_until": _maybe(given.valid_until),
                },
            )
            hit("subject.before_commit")
            uow.commit()
        coming.keep()


def _maybe(moment: datetime | None) -> str | None:
    return (
        None
        if moment is None
        else moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    )
