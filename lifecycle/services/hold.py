"""`vlm hold`, `vlm unhold`: a reason that forbids every deletion of a voice, or of all voices of a person."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING

from lifecycle.domain.errors import NotFound, Refused, UsageError
from lifecycle.domain.subjects import Hold, Subject
from lifecycle.services.people.subjects import find_subject

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.domain.voices import Voice
    from lifecycle.registry.unit_of_work import UnitOfWork

MAX_REASON = 1000
# No hold is open-ended: without another day it is to be reviewed after a year.
REVIEW_DAYS = 365


@dataclass(frozen=True, slots=True)
class HoldResult:
    """A hold that was placed, or the holds that were released.

    Attributes:
        on: The voice's name, or the person's pseudonym.
        voices: Names of the voices that it covers.
        active: How many holds lie on it now.
        review_on: The day by which somebody must look whether it is still needed; None once released.
        due: Cases that waited for the release and are due now, each as the command that shows it.
    """

    on: str
    kind: str
    held: bool
    voices: tuple[str, ...]
    active: int
    released: int = 0
    dry_run: bool = False
    review_on: date | None = None
    due: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return the result for programs."""
        return {
            "on": self.on,
            "kind": self.kind,
            "held": self.held,
            "voices": list(self.voices),
            "active": self.active,
            "released": self.released,
            "review_on": None if self.review_on is None else self.review_on.isoformat(),
            "due": list(self.due),
            "dry_run": self.dry_run,
        }

    def lines(self) -> list[str]:
        """Return the result for people."""
        covered = f" ({', '.join(self.voices)})" if self.kind == "subject" and self.voices else ""
        if self.held:
            did = f"would hold {self.on}{covered}" if self.dry_run else f"held {self.on}{covered}"
            first = f"{did}: nothing of it can be purged or erased"
            review = f"it is to be reviewed by {self.review_on}; lift it with: vlm unhold {self.on}"
            return [first, review]
        what = f"{self.released} hold{'s' if self.released != 1 else ''} on {self.on}{covered}"
        first = f"would release {what}" if self.dry_run else f"released {what}"
        due = [
            f"a withdrawal waited for it and is to be dealt with at once: {command}" for command in self.due
        ]
        return [first, *due]


def hold(
    name: str, *, reason: str, rooms: Rooms, review: date | None = None, dry_run: bool = False
) -> HoldResult:
    """Forbid every deletion of a voice, or of a person's voices, until it is lifted.

    Args:
        name: A voice, or a person's pseudonym.
        reason: Why; kept sealed.
        review: The day by which somebody must look whether it is still needed; None: a year from now.

    Raises:
        NotFound: There is no such voice or person.
        Refused: A purge of it was committed: it is too late.
        UsageError: There is no reason, or the day of review is past.
    """
    reason = reason.strip()
    if not reason or len(reason) > MAX_REASON:
        raise UsageError(
            f"a hold needs a reason of 1 to {MAX_REASON} characters", hint=f"vlm hold {name} --reason TEXT"
        )
    today = rooms.clock().date()
    review = review or today + timedelta(days=REVIEW_DAYS)
    if review <= today:
        raise UsageError(
            f"a hold must be reviewed after today, not on {review}", hint=f"vlm hold {name} --reason TEXT"
        )
    with rooms.registry.write() as uow:
        voice, subject = _target(name, uow=uow, rooms=rooms)
        _refuse_late(name, voice, subject, uow=uow)
        placed = Hold(
            uid=rooms.new_uid(),
            voice_uid=None if voice is None else voice.uid,
            subject_uid=None if subject is None else subject.uid,
            reason=rooms.vault.keys.seal_text(_whose(voice, subject), reason),
            placed_at=rooms.clock(),
            review_on=review,
        )
        uow.subjects.add_hold(placed)
        told = _told(name, voice, subject, uow=uow, held=True, dry_run=dry_run)
        result = replace(told, review_on=review)
        if dry_run:
            return result
        uow.trail.append(
            "hold",
            voice_uid=placed.voice_uid,
            # The reason may name the person, so it is sealed as theirs and goes when they go.
            subject_uid=_whose(voice, subject),
            ids={"hold": placed.uid},
            details={"reason": reason, "review_on": review.isoformat()},
        )
        uow.commit()
    return result


def unhold(name: str, *, rooms: Rooms, dry_run: bool = False) -> HoldResult:
    """Lift every hold that lies on a voice, or on a person, itself.

    Raises:
        NotFound: There is no such voice or person.
        Refused: No hold lies on it.
    """
    with rooms.registry.write() as uow:
        voice, subject = _target(name, uow=uow, rooms=rooms)
        holds = _on(voice, subject, uow=uow)
        if not holds:
            raise Refused(*_nothing(name, voice, uow=uow))
        now = rooms.clock()
        for each in holds:
            uow.subjects.release_hold(each.uid, at=now)
            uow.trail.append(
                "unhold",
                voice_uid=each.voice_uid,
                subject_uid=each.subject_uid,
                ids={"hold": each.uid},
            )
        told = _told(name, voice, subject, uow=uow, held=False, dry_run=dry_run, released=len(holds))
        result = replace(told, due=_waiting(voice, subject, uow=uow))
        if not dry_run:
            uow.commit()
    return result


def _waiting(voice: Voice | None, subject: Subject | None, *, uow: UnitOfWork) -> tuple[str, ...]:
    """Return the open withdrawals of whose voices nothing is held any longer; no new request is needed for them."""
    uids = [voice.uid] if voice is not None else uow.subjects.voices_of(subject.uid) if subject else []
    found: dict[str, None] = {}
    for uid in uids:
        each = uow.voices.by_uid(uid)
        if each is None or uow.subjects.holds_over(uid):
            continue
        for row in uow.cases.open_over(each.subject_uids, uid):
            found[f"vlm subject case show {row.case.uid[:12]}"] = None
    return tuple(found)


def _nothing(name: str, voice: Voice | None, *, uow: UnitOfWork) -> tuple[str]:
    people = [] if voice is None else [uow.subjects.by_uid(uid) for uid in voice.subject_uids]
    over = [p.pseudonym for p in people if p is not None and uow.subjects.holds(subject_uid=p.uid)]
    where = f"; one lies on its subject: vlm unhold {over[0]}" if over else ""
    return (f'no hold lies on "{name}" itself{where}',)


def _target(name: str, *, uow: UnitOfWork, rooms: Rooms) -> tuple[Voice | None, Subject | None]:
    """Find what a hold is for: a voice by its name, else a person by pseudonym or id."""
    voice = uow.voices.find(name)
    if voice is not None:
        return voice, None
    try:
        subject = find_subject(name, uow=uow, rooms=rooms)
    except NotFound:
        subject = None
    if subject is None:
        uow.voices.get(name)
    return None, subject


def _refuse_late(name: str, voice: Voice | None, subject: Subject | None, *, uow: UnitOfWork) -> None:
    from lifecycle.domain.purges import PurgeState

    mine = {voice.uid} if voice is not None else set(uow.subjects.voices_of(subject.uid) if subject else ())
    for purge in uow.purges.all_open():
        if purge.voice_uid in mine and purge.state is not PurgeState.PLANNED:
            raise Refused(
                f'it is too late to hold "{name}": its purge is committed and goes on', hint="vlm doctor"
            )


def _on(voice: Voice | None, subject: Subject | None, *, uow: UnitOfWork) -> list[Hold]:
    if voice is not None:
        return uow.subjects.holds(voice_uid=voice.uid)
    return uow.subjects.holds(subject_uid=subject.uid) if subject is not None else []


def _whose(voice: Voice | None, subject: Subject | None) -> str | None:
    if subject is not None:
        return subject.uid
    return voice.subject_uids[0] if voice is not None and voice.subject_uids else None


def _told(
    name: str,
    voice: Voice | None,
    subject: Subject | None,
    *,
    uow: UnitOfWork,
    held: bool,
    dry_run: bool,
    released: int = 0,
) -> HoldResult:
    mine = () if voice is None else (voice.name,)
    covered = (
        [] if subject is None else [uow.voices.by_uid(uid) for uid in uow.subjects.voices_of(subject.uid)]
    )
    return HoldResult(
        on=name if subject is None else subject.pseudonym,
        kind="voice" if voice is not None else "subject",
        held=held,
        voices=mine or tuple(each.name for each in covered if each is not None and each.name),
        active=len(_on(voice, subject, uow=uow)),
        released=released,
        dry_run=dry_run,
    )
