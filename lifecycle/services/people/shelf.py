"""`vlm subject list`, `vlm subject show`: people by their pseudonyms; their ids only for who asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lifecycle.domain.errors import NotFound, UsageError
from lifecycle.domain.subjects import SCOPES, Consent, held_until, holding
from lifecycle.domain.voices import State
from lifecycle.registry.queries.people import MAX_PAGE, PeopleFilter, PersonRow
from lifecycle.services.guard import may
from lifecycle.services.people.cases import ListedCase
from lifecycle.services.people.consent import SHORT, term
from lifecycle.services.people.subjects import known_subject

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.domain.subjects import Case, Hold, Subject
    from lifecycle.domain.voices import Voice
    from lifecycle.registry.unit_of_work import UnitOfWork

__all__ = ["PeopleFilter", "list_subjects", "show_subject"]


@dataclass(frozen=True, slots=True)
class ListedPerson:
    """One line of the list.

    Attributes:
        consent: "holds", "ends" (with a date), "ended", "withdrawn" or "none"; the worst over their living voices.
    """

    row: PersonRow
    consent: str
    until: datetime | None

    def to_json(self) -> dict[str, object]:
        """Return the line for programs."""
        row = self.row
        return {
            "subject": row.pseudonym,
            "known": row.known,
            "voices": [name for name, _, _ in row.voices if name],
            "erased": sum(not name for name, _, _ in row.voices),
            "consent": self.consent,
            "consent_until": None if self.until is None else _time(self.until),
            "open_cases": row.open_cases,
            "due_on": None if row.due_on is None else row.due_on.isoformat(),
            "holds": row.holds,
            "added_at": _time(row.created_at),
        }

    def cells(self) -> list[str]:
        """Return the line for people."""
        row = self.row
        names = [name for name, _, _ in row.voices if name]
        voices = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        consent = {"holds": "until withdrawn", "ends": f"until {self.until:%Y-%m-%d}" if self.until else ""}
        case = f"case due {row.due_on}" if row.open_cases else ""
        marks = [case, "held" if row.holds else "", "" if row.known else "left"]
        return [
            row.pseudonym,
            voices or "-",
            consent.get(self.consent, self.consent),
            ", ".join(filter(None, marks)),
        ]


@dataclass(frozen=True, slots=True)
class People:
    """A page of people."""

    people: tuple[ListedPerson, ...]
    more: bool
    again: tuple[str, ...]

    @property
    def next(self) -> str | None:
        """The command for the next page."""
        if not self.more:
            return None
        return " ".join(["vlm subject list", *self.again, "--after", self.people[-1].row.pseudonym])

    def to_json(self) -> dict[str, object]:
        """Return the page for programs."""
        return {"subjects": [each.to_json() for each in self.people], "more": self.more, "next": self.next}

    def lines(self) -> list[str]:
        """Return the page for people."""
        from lifecycle.render.output import columns

        if not self.people:
            nobody = "nobody is known who fits" if self.again else "nobody is known"
            return [nobody, "next: vlm subject add ID"]
        head = ["subject", "voices", "consent", ""]
        lines = columns([head, *(each.cells() for each in self.people)], titled=True)
        return [*lines, f"next: {self.next}"] if self.next else lines


def list_subjects(
    wanted: PeopleFilter, *, rooms: Rooms, after: str | None = None, limit: int = 100
) -> People:
    """Return people in the order in which they came, a page at a time.

    Args:
        after: Pseudonym of the last person of the page before.
        limit: People on a page.

    Raises:
        UsageError: The limit is out of range.
        NotFound: Nobody has the pseudonym of `after`.
    """
    if not 1 <= limit < MAX_PAGE:
        raise UsageError(f"--limit is a number from 1 to {MAX_PAGE - 1}", hint="vlm subject list --help")
    now = rooms.clock()
    with rooms.registry.read() as uow:
        if after is not None and uow.subjects.by_pseudonym(after) is None:
            shown = "".join(c if c.isprintable() else "?" for c in after[:40])
            raise NotFound(f'there is no subject "{shown}"', hint="vlm subject list")
        rows = uow.people.page(wanted, now=now, after=after, limit=limit + 1)
    people = tuple(_listed(row, now) for row in rows[:limit])
    return People(people, len(rows) > limit, _again(wanted, limit))


def _again(wanted: PeopleFilter, limit: int) -> tuple[str, ...]:
    """Return the options that lead to the same list."""
    words = [
        f"--voice {wanted.voice}" if wanted.voice else "",
        "--open-case" if wanted.open_case else "",
        "--held" if wanted.held else "",
        "--without-consent" if wanted.without_consent else "",
        f"--consent-ends-before {wanted.ends_before:%Y-%m-%d}" if wanted.ends_before else "",
        f"--limit {limit}" if limit != 100 else "",
    ]
    return tuple(word for word in words if word)


def _listed(row: PersonRow, now: datetime) -> ListedPerson:
    living = [uid for _, state, uid in row.voices if state in {State.ACTIVE.value, State.DEPRECATED.value}]
    given = [[c for c, voice in row.consents if voice in {None, uid}] for uid in living]
    if not living:
        given = [[c for c, _ in row.consents]]
    worst = sorted((_standing(mine, now) for mine in given), key=_badness)
    consent, until = worst[-1]
    return ListedPerson(row, consent, until)


def _standing(given: Sequence[Consent], now: datetime) -> tuple[str, datetime | None]:
    holds = holding(given, now)
    if holds:
        until = held_until(holds)
        return ("holds", None) if until is None else ("ends", until)
    if any(c.withdrawn_at is not None for c in given):
        return "withdrawn", None
    return ("ended" if given else "none"), None


def _badness(standing: tuple[str, datetime | None]) -> tuple[int, float]:
    order = ("holds", "ends", "ended", "none", "withdrawn")
    word, until = standing
    return order.index(word), 0.0 if until is None else -until.timestamp()


@dataclass(frozen=True, slots=True)
class ShownPerson:
    """Everything that is on record about a person, without their id unless somebody asked for it.

    Attributes:
        allowed: For each voice, what may be done with it today.
        label: The id that the user gave, where it was asked for.
    """

    subject: Subject
    voices: tuple[Voice, ...]
    allowed: Mapping[str, Sequence[str]]
    consents: tuple[Mapping[str, object], ...]
    cases: tuple[ListedCase, ...]
    holds: tuple[Hold, ...]
    label: str | None
    contact: str | None
    revealed: bool

    def to_json(self) -> dict[str, object]:
        """Return the person for programs."""
        return {
            "subject": self.subject.pseudonym,
            "known": self.subject.label is not None,
            "added_at": _time(self.subject.created_at),
            "revealed": self.revealed,
            "id": self.label,
            "contact": self.contact,
            "has_contact": self.subject.contact is not None,
            "voices": [
                {
                    "name": voice.name or None,
                    "state": voice.state.value,
                    "mute": voice.mute,
                    "allowed": list(self.allowed[voice.uid]),
                }
                for voice in self.voices
            ],
            "consents": [dict(consent) for consent in self.consents],
            "cases": [case.to_json() for case in self.cases],
            "holds": [
                {
                    "on": "subject" if hold.voice_uid is None else "voice",
                    "placed_at": _time(hold.placed_at),
                    "review_on": None if hold.review_on is None else hold.review_on.isoformat(),
                }
                for hold in self.holds
            ],
            "next": self._next(),
        }

    def _next(self) -> str:
        open_ones = [case for case in self.cases if case.row.case.closed_at is None]
        if open_ones:
            return f"vlm subject case show {open_ones[0].row.case.uid[:SHORT]}"
        if self.subject.label is None:
            return "vlm subject list"
        return f"vlm subject consent {self.subject.pseudonym} --evidence FILE"

    def lines(self) -> list[str]:
        """Return the person for people."""
        from lifecycle.render.output import columns

        known = "" if self.subject.label is not None else ", who left: the id is no longer known"
        lines = [f"{self.subject.pseudonym}, added {self.subject.created_at.date()}{known}"]
        if self.revealed:
            lines += columns([["id", self.label or "-"], ["contact", self.contact or "-"]])
        rows = [
            [
                "  " + (voice.name or "(erased)"),
                voice.state.value,
                f"may {', '.join(self.allowed[voice.uid])}" if self.allowed[voice.uid] else "may do nothing",
            ]
            for voice in self.voices
        ]
        lines += ["voices", *columns(rows)] if rows else ["no voices"]
        if self.consents:
            lines += ["consents", *columns([_consent_cells(consent) for consent in self.consents])]
        if self.cases:
            lines += ["cases", *columns([["  " + each.cells()[0], *each.cells()[2:]] for each in self.cases])]
        for hold in self.holds:
            which = "them" if hold.voice_uid is None else "a voice of theirs"
            review = f", to be reviewed by {hold.review_on}" if hold.review_on else ""
            lines.append(f"held: a hold lies on {which} since {hold.placed_at.date()}{review}")
        return [*lines, f"next: {self._next()}"]


def show_subject(told: str, *, rooms: Rooms, reveal: bool = False) -> ShownPerson:
    """Return what is on record about a person.

    Args:
        reveal: Open the sealed id and contact too.

    Raises:
        NotFound: Nobody is known by this id.
    """
    now, keys = rooms.clock(), rooms.vault.keys
    with rooms.registry.read() as uow:
        subject = known_subject(told, uow=uow, rooms=rooms)
        found = [uow.voices.by_uid(uid) for uid in uow.subjects.voices_of(subject.uid)]
        voices = tuple(voice for voice in found if voice is not None)
        names = {voice.uid: voice.name or "(erased)" for voice in voices}
        of = uow.subjects.consent_voices(subject.uid)
        given = uow.subjects.consents(subject.uid)
        holds = list(uow.subjects.holds(subject_uid=subject.uid))
        for voice in voices:
            holds += uow.subjects.holds(voice_uid=voice.uid)
        cases = [_case_row(case, subject, names, now) for case in uow.cases.of_subject(subject.uid)]
        allowed = {voice.uid: _allowed(voice, uow=uow, now=now) for voice in voices}
    taken = {c.renews_uid for c in given}
    consents = tuple(_told(c, given, names.get(of.get(c.uid, "")), c.uid in taken, now) for c in given)
    return ShownPerson(
        subject=subject,
        voices=voices,
        allowed=allowed,
        consents=consents,
        cases=tuple(cases),
        holds=tuple(holds),
        label=keys.open_text(subject.label) if reveal and subject.label is not None else None,
        contact=keys.open_text(subject.contact) if reveal and subject.contact is not None else None,
        revealed=reveal,
    )


def _allowed(voice: Voice, *, uow: UnitOfWork, now: datetime) -> list[str]:
    if voice.state is State.ERASED:
        return []
    return [word for word in SCOPES if may(voice, word, uow=uow, now=now)]


def _case_row(case: Case, subject: Subject, names: Mapping[str, str], now: datetime) -> ListedCase:
    from lifecycle.registry.queries.cases import CaseRow

    row = CaseRow(case, subject.pseudonym, names.get(case.voice_uid or ""))
    return ListedCase(row, now.date())


def _told(
    consent: Consent, given: Sequence[Consent], voice: str | None, renewed: bool, now: datetime
) -> Mapping[str, object]:
    return {
        "consent": consent.uid[:SHORT],
        "scope": consent.scope.split(","),
        "voice": voice,
        "received_at": _time(consent.received_at),
        "valid_from": None if consent.valid_from is None else _time(consent.valid_from),
        "valid_until": None if consent.valid_until is None else _time(consent.valid_until),
        "withdrawn_at": None if consent.withdrawn_at is None else _time(consent.withdrawn_at),
        "renews": None if consent.renews_uid is None else consent.renews_uid[:SHORT],
        "renewed": renewed,
        "holds": consent in holding(given, now),
        "term": term(consent),
    }


def _consent_cells(consent: Mapping[str, object]) -> list[str]:
    scope, withdrawn = consent["scope"], consent["withdrawn_at"]
    words = ", ".join(map(str, scope)) if isinstance(scope, list) else str(scope)
    state = "holds" if consent["holds"] else "renewed since" if consent["renewed"] else "does not hold today"
    if withdrawn:
        state = f"withdrawn {str(withdrawn)[:10]}"
    which = str(consent["voice"] or "all voices")
    return [f"  {consent['consent']}", words, which, str(consent["term"]), state]


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
