"""`vlm subject withdraw`: a person takes their consent back; from that second on nothing is done with their voice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from lifecycle.domain.errors import UsageError
from lifecycle.domain.failpoints import hit
from lifecycle.domain.subjects import SCOPES, WITHDRAWAL, Case, Outcome, Subject, checked_receipt
from lifecycle.services.people.cases import SHORT, due_on
from lifecycle.services.people.consent import require_theirs
from lifecycle.services.people.dependents import ON_RELEASE, Dependents, Step, dependents_of, told
from lifecycle.services.people.subjects import known_subject

if TYPE_CHECKING:
    from datetime import datetime

    from lifecycle.bootstrap import Rooms
    from lifecycle.domain.voices import Voice
    from lifecycle.registry.unit_of_work import UnitOfWork

MAX_REFERENCE = 200
#: What is refused from the second of a withdrawal on, in the words of `SCOPES` and of what else uses a voice.
BLOCKED = (*SCOPES, "golden", "verify", "restore", "register")


@dataclass(frozen=True, slots=True)
class WithdrawRequest:
    """What a person asked for.

    Attributes:
        subject: Their id or pseudonym.
        received: The day on which the request arrived.
        reference: What the request is called elsewhere; kept sealed.
        voice: Name of the one voice that it concerns; None: all of theirs.
    """

    subject: str
    received: date
    reference: str | None = None
    voice: str | None = None

    def check(self, *, today: date) -> None:
        """Refuse what cannot be.

        Raises:
            UsageError: The day or the reference is impossible.
        """
        again = "vlm subject withdraw --help"
        try:
            checked_receipt(self.received, today=today)
        except UsageError as error:
            raise UsageError(error.message, hint=again) from None
        told_as = self.reference
        if told_as is not None and not (
            0 < len(told_as.strip()) <= MAX_REFERENCE and told_as.isprintable() and told_as[0] != "-"
        ):
            raise UsageError(f"a reference has 1 to {MAX_REFERENCE} printable characters", hint=again)


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A withdrawal: what is blocked now, what depends on the person, and what is to be done by when.

    Attributes:
        created: False where the case was open already.
        consents: How many consents were withdrawn by this call.
    """

    subject: str
    case: Case
    voice: str | None
    created: bool
    consents: int
    left: Dependents
    reference: str | None
    today: date
    dry_run: bool = False

    @property
    def steps(self) -> list[Step]:
        """What is to be done, in order."""
        return self.left.steps(self.reference)

    @property
    def done(self) -> bool:
        """Whether nothing depended on the person, so that the case is closed already."""
        return self.case.closed_at is not None

    def to_json(self) -> dict[str, object]:
        """Return the withdrawal for programs."""
        newest = self.left.newest_backup
        return {
            "subject": self.subject,
            "case": None if self.dry_run and self.created else self.case.uid[:SHORT],
            "created": self.created,
            "closed": self.done,
            "voice": self.voice,
            "received_on": self.case.received_on.isoformat(),
            "due_on": self.case.due_on.isoformat(),
            "days_left": (self.case.due_on - self.today).days,
            "consents_withdrawn": self.consents,
            "blocked": list(BLOCKED),
            "voices": [voice.to_json() for voice in self.left.voices],
            "backups": {
                "count": self.left.backups,
                "newest_on": None if newest is None else str(newest.date()),
            },
            "plan": [step.to_json() for step in self.steps],
            "retained": [{"voice": v.name, "basis": "hold", "until": ON_RELEASE} for v in self.left.held],
            "dry_run": self.dry_run,
            "next": self._next(),
        }

    def _next(self) -> str:
        first = next((step.command for step in self.steps if not step.waits_for), None)
        if self.dry_run or first is None:
            return f"vlm subject show {self.subject}"
        return first

    def lines(self) -> list[str]:
        """Return the withdrawal for people, the answer first."""
        from lifecycle.render.output import columns

        which = "" if self.voice is None else f" for {self.voice}"
        n, plural = self.consents, "" if self.consents == 1 else "s"
        first = f"withdrew {n} consent{plural} of {self.subject}{which}"
        if self.dry_run:
            first = f"would withdraw {n} consent{plural} of {self.subject}{which}"
        if not self.created:
            first = f"{self.subject} withdrew{which} already"
        named = "" if self.dry_run and self.created else f"case {self.case.uid[:SHORT]}, "
        lines = [f"{first}; {named}received {self.case.received_on}, due {self.case.due_on}"]
        if self.done:
            return [*lines, "nothing depended on them, so the case is closed"]
        what = ", ".join(BLOCKED)
        now = f"would be blocked: {what}" if self.dry_run else f"blocked from now on: {what}"
        lines += [now, *columns([voice.row() for voice in self.left.voices])]
        lines += [
            f"held: {voice.name} is kept until the hold is released, and is due at once then"
            for voice in self.left.held
        ]
        if self.left.backups:
            lines.append(
                f"{self.left.backups} backup(s) were made since they came; what is purged does not open there again"
            )
        if self.steps:
            lines += ["to do, in this order:", *told(self.steps)]
        return [*lines, "nothing was changed (--dry-run)"] if self.dry_run else lines


def withdraw(request: WithdrawRequest, *, rooms: Rooms, dry_run: bool = False) -> Withdrawn:
    """Take back the consents of a person, open the case, and make void what is being made: one transaction.

    Where the case is open already it is found, and nothing is opened twice.

    Raises:
        NotFound: Nobody is known by this id, or there is no such voice.
        UsageError: An impossible day, or a voice of another person.
    """
    request.check(today=rooms.clock().date())
    with rooms.registry.write() as uow:
        subject = known_subject(request.subject, uow=uow, rooms=rooms)
        voice = None if request.voice is None else uow.voices.get(request.voice)
        if voice is not None:
            require_theirs(voice, subject)
        now = rooms.clock()
        left = dependents_of(subject, voice=voice, uow=uow, now=now)
        known = _open_case(subject, voice, uow=uow)
        if known is not None:
            return _told(
                request, subject, known, left, rooms=rooms, created=False, consents=0, dry_run=dry_run
            )
        consents = uow.subjects.withdraw(
            subject.uid, at=now, new_uid=rooms.new_uid, voice_uid=None if voice is None else voice.uid
        )
        case = _case(request, subject, voice, uow=uow, rooms=rooms, now=now)
        done = _told(
            request, subject, case, left, rooms=rooms, created=True, consents=consents, dry_run=dry_run
        )
        if dry_run:
            return done
        _write(request, case, consents, left, uow=uow)
        hit("subject.before_commit")
        uow.commit()
    hit("subject.after_commit")
    return done


def _open_case(subject: Subject, voice: Voice | None, *, uow: UnitOfWork) -> Case | None:
    found = uow.cases.open_over([subject.uid], None if voice is None else voice.uid)
    return found[0].case if found else None


def _case(
    request: WithdrawRequest,
    subject: Subject,
    voice: Voice | None,
    *,
    uow: UnitOfWork,
    rooms: Rooms,
    now: datetime,
) -> Case:
    """Make the case; where nothing depends on the person it is done at once."""
    uid = None if voice is None else voice.uid
    empty = uow.cases.things_left(subject.uid, uid) == 0
    known = subject.label is not None
    reference = request.reference if known else None
    return Case(
        uid=rooms.new_uid(),
        subject_uid=subject.uid,
        voice_uid=uid,
        kind=WITHDRAWAL,
        received_on=request.received,
        due_on=due_on(request.received, rooms=rooms),
        opened_at=now,
        closed_at=now if empty else None,
        outcome=Outcome.DONE if empty else None,
        request=None if reference is None else rooms.vault.keys.seal_text(subject.uid, reference),
    )


def _write(request: WithdrawRequest, case: Case, consents: int, left: Dependents, *, uow: UnitOfWork) -> None:
    uow.cases.add(case)
    uow.subjects.bump_generation(case.subject_uid)
    subject = uow.subjects.by_uid(case.subject_uid)
    known = subject is not None and subject.label is not None
    details = {
        "received_on": case.received_on.isoformat(),
        "due_on": case.due_on.isoformat(),
        "reference": request.reference,
        "voices": [voice.name for voice in left.voices],
        "consents": consents,
    }
    uow.trail.append(
        "subject.withdraw",
        voice_uid=case.voice_uid,
        subject_uid=case.subject_uid,
        ids={"case": case.uid},
        details=details if known else None,
    )
    if case.closed_at is not None:
        uow.trail.append(
            "case.done", voice_uid=case.voice_uid, subject_uid=case.subject_uid, ids={"case": case.uid}
        )


def _told(
    request: WithdrawRequest,
    subject: Subject,
    case: Case,
    left: Dependents,
    *,
    rooms: Rooms,
    created: bool,
    consents: int,
    dry_run: bool,
) -> Withdrawn:
    reference = request.reference
    if not created and case.request is not None:
        reference = rooms.vault.keys.open_text(case.request)
    return Withdrawn(
        subject=subject.pseudonym,
        case=case,
        voice=request.voice,
        created=created,
        consents=consents,
        left=left,
        reference=reference,
        today=rooms.clock().date(),
        dry_run=dry_run,
    )
