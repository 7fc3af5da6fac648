"""`vlm subject case`: requests of people, by when each must be done, and how it ended."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING

from lifecycle.domain.errors import NotFound, Refused, UsageError
from lifecycle.domain.failpoints import hit
from lifecycle.domain.subjects import Case, Outcome
from lifecycle.services.people.dependents import ON_RELEASE, Dependents, Step, dependents_of, told

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.registry.queries.cases import CaseRow
    from lifecycle.registry.unit_of_work import UnitOfWork

MAX_REASON = 1000
SHORT = 12
_ID = re.compile(r"[0-9a-f]{8,32}")


def due_on(received: date, *, rooms: Rooms) -> date:
    """Return by when a request must be answered. Source: GDPR Art. 12(3), one month after its receipt.

    A day that the month lacks becomes its last: a request of 31 January is due on 28 or 29 February.
    """
    from lifecycle.domain.policies import Period

    term = Period.parse(rooms.settings.case_term)
    return term.after(datetime.combine(received, time.min, UTC)).date()


@dataclass(frozen=True, slots=True)
class ListedCase:
    """One case, as a list shows it."""

    row: CaseRow
    today: date

    @property
    def days_left(self) -> int:
        """Days until it is due; negative once it is overdue."""
        return (self.row.case.due_on - self.today).days

    def to_json(self) -> dict[str, object]:
        """Return the case for programs."""
        case = self.row.case
        return {
            "case": case.uid[:SHORT],
            "subject": self.row.pseudonym,
            "kind": case.kind,
            "voice": self.row.voice,
            "all_voices": case.voice_uid is None,
            "received_on": case.received_on.isoformat(),
            "due_on": case.due_on.isoformat(),
            "opened_at": _time(case.opened_at),
            "closed_at": None if case.closed_at is None else _time(case.closed_at),
            "outcome": None if case.outcome is None else case.outcome.value,
            "overdue": case.closed_at is None and self.days_left < 0,
        }

    def cells(self) -> list[str]:
        """Return the case as a line of a table."""
        case = self.row.case
        which = "all voices" if case.voice_uid is None else self.row.voice or "(erased)"
        return [
            case.uid[:SHORT],
            self.row.pseudonym,
            case.kind,
            which,
            str(case.received_on),
            self.standing(),
        ]

    def standing(self) -> str:
        """Return how it stands, in words."""
        case = self.row.case
        if case.closed_at is not None:
            ended = "done" if case.outcome is Outcome.DONE else "closed"
            return f"{ended} {case.closed_at.date()}"
        days = self.days_left
        one = {-1: "1 day overdue", 0: "today", 1: "in 1 day"}
        left = one.get(days) or (f"in {days} days" if days > 0 else f"{-days} days overdue")
        return f"due {case.due_on}, {left}"


@dataclass(frozen=True, slots=True)
class CaseList:
    """A page of cases, the one that is due first at the front."""

    cases: tuple[ListedCase, ...]
    more: bool
    everything: bool

    @property
    def next(self) -> str | None:
        """The command for the next page."""
        if not self.more:
            return None
        words = ["vlm subject case list", *(["--all"] if self.everything else [])]
        return " ".join([*words, "--after", self.cases[-1].row.case.uid[:SHORT]])

    def to_json(self) -> dict[str, object]:
        """Return the page for programs."""
        return {"cases": [case.to_json() for case in self.cases], "more": self.more, "next": self.next}

    def lines(self) -> list[str]:
        """Return the page for people."""
        from lifecycle.render.output import columns

        if not self.cases:
            return ["no cases" if self.everything else "no open cases"]
        head = ["case", "subject", "request", "about", "received", ""]
        lines = columns([head, *(case.cells() for case in self.cases)], titled=True)
        return [*lines, f"next: {self.next}"] if self.next else lines


def list_cases(
    *,
    rooms: Rooms,
    everything: bool = False,
    due_by: date | None = None,
    after: str | None = None,
    limit: int = 100,
) -> CaseList:
    """Return cases by the day on which they are due; open ones unless `everything`."""
    if not 1 <= limit <= 1000:
        raise UsageError("--limit is a number from 1 to 1000", hint="vlm subject case list --help")
    with rooms.registry.read() as uow:
        last = None if after is None else _found(after, uow=uow).case.uid
        rows = uow.cases.page(open_only=not everything, due_by=due_by, after=last, limit=limit + 1)
    today = rooms.clock().date()
    listed = tuple(ListedCase(row, today) for row in rows[:limit])
    return CaseList(listed, len(rows) > limit, everything)


@dataclass(frozen=True, slots=True)
class ShownCase:
    """One case with everything that still depends on the person."""

    listed: ListedCase
    left: Dependents
    steps: tuple[Step, ...]

    def to_json(self) -> dict[str, object]:
        """Return the case for programs."""
        return {
            **self.listed.to_json(),
            "voices": [voice.to_json() for voice in self.left.voices],
            "backups": self.left.backups,
            "plan": [step.to_json() for step in self.steps],
            "retained": [{"voice": v.name, "basis": "hold", "until": ON_RELEASE} for v in self.left.held],
        }

    def lines(self) -> list[str]:
        """Return the case for people."""
        from lifecycle.render.output import columns

        row = self.listed.row
        lines = [f"case {row.case.uid[:SHORT]} of {row.pseudonym}: {row.case.kind}, {self.listed.standing()}"]
        if row.case.closed_at is not None:
            return lines
        lines += columns([voice.row() for voice in self.left.voices])
        if self.steps:
            lines += ["to do:", *told(self.steps)]
        close = f"vlm subject case close {row.case.uid[:SHORT]} --reason TEXT"
        return [*lines, f"it closes by itself when all of it is gone; else: {close}"]


def show_case(told_as: str, *, rooms: Rooms) -> ShownCase:
    """Return a case, what still depends on the person, and what is to be done about it.

    Raises:
        NotFound: There is no such case.
    """
    now = rooms.clock()
    with rooms.registry.read() as uow:
        row = _found(told_as, uow=uow)
        left = left_of(row.case, uow=uow, now=now)
    reference = None if row.case.request is None else rooms.vault.keys.open_text(row.case.request)
    steps = () if row.case.closed_at is not None else tuple(left.steps(reference))
    return ShownCase(ListedCase(row, now.date()), left, steps)


def left_of(case: Case, *, uow: UnitOfWork, now: datetime) -> Dependents:
    """Return what depends on the person of a case, in the voices that it concerns."""
    subject = uow.subjects.by_uid(case.subject_uid)
    voice = None if case.voice_uid is None else uow.voices.by_uid(case.voice_uid)
    if subject is None:
        return Dependents((), 0, None)
    return dependents_of(subject, voice=voice, uow=uow, now=now)


@dataclass(frozen=True, slots=True)
class ClosedCase:
    """A case that was closed with a reason."""

    listed: ListedCase
    left: int
    dry_run: bool

    def to_json(self) -> dict[str, object]:
        """Return the case for programs."""
        return {**self.listed.to_json(), "left": self.left, "dry_run": self.dry_run}

    def lines(self) -> list[str]:
        """Return the case for people."""
        row = self.listed.row
        case = f"case {row.case.uid[:SHORT]} of {row.pseudonym}"
        lines = [f"would close {case}" if self.dry_run else f"closed {case}"]
        if self.left:
            lines.append(f"{self.left} file(s) that depend on the person are still there")
        cure = f"vlm subject consent {row.pseudonym} --evidence FILE"
        return [*lines, f"what was withdrawn stays withdrawn; a newer consent is added with: {cure}"]


def close_case(told_as: str, *, reason: str, rooms: Rooms, dry_run: bool = False) -> ClosedCase:
    """Close a case before everything that depends on the person is gone; the reason is kept sealed.

    Raises:
        NotFound: There is no such case.
        Refused: It is closed already.
        UsageError: There is no reason.
    """
    reason = reason.strip()
    if not reason or len(reason) > MAX_REASON:
        raise UsageError(
            f"a reason of 1 to {MAX_REASON} characters is expected", hint="vlm subject case close --help"
        )
    now = rooms.clock()
    with rooms.registry.write() as uow:
        row = _found(told_as, uow=uow)
        case = row.case
        left = uow.cases.things_left(case.subject_uid, case.voice_uid)
        if case.closed_at is not None:
            raise Refused(
                f"case {case.uid[:SHORT]} is closed already", hint=f"vlm subject case show {case.uid[:SHORT]}"
            )
        if dry_run:
            return ClosedCase(ListedCase(row, now.date()), left, dry_run=True)
        subject = uow.subjects.by_uid(case.subject_uid)
        known = subject is not None and subject.label is not None
        uow.cases.close(case.uid, Outcome.CLOSED, at=now)
        uow.trail.append(
            "case.closed",
            voice_uid=case.voice_uid,
            subject_uid=case.subject_uid,
            ids={"case": case.uid},
            # The keys of a person who left are gone, and words about them shall not outlive those.
            details={"reason": reason} if known else None,
        )
        after = _found(case.uid, uow=uow)
        hit("subject.before_commit")
        uow.commit()
    return ClosedCase(ListedCase(after, now.date()), left, dry_run=False)


def close_finished(voice_uid: str, *, uow: UnitOfWork, now: datetime) -> list[str]:
    """Close the cases that concern a voice and of which nothing is left; return their ids.

    A purge calls it in the transaction in which it ends.
    """
    voice = uow.voices.by_uid(voice_uid)
    people = () if voice is None else voice.subject_uids
    closed = []
    for row in uow.cases.open_over(people, voice_uid):
        case = row.case
        if uow.cases.things_left(case.subject_uid, case.voice_uid):
            continue
        uow.cases.close(case.uid, Outcome.DONE, at=now)
        uow.trail.append(
            "case.done", voice_uid=case.voice_uid, subject_uid=case.subject_uid, ids={"case": case.uid}
        )
        closed.append(case.uid)
    return closed


def _found(told_as: str, *, uow: UnitOfWork) -> CaseRow:
    prefix = told_as.strip().lower()
    rows = uow.cases.find(prefix) if _ID.fullmatch(prefix) else []
    if len(rows) != 1:
        shown = "".join(c if c.isprintable() else "?" for c in told_as[:40])
        raise NotFound(f'there is no case "{shown}"', hint="vlm subject case list --all")
    return rows[0]


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
