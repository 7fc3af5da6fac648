"""Who a person is: found by a keyed tag or by pseudonym, made when new; the id itself lies sealed."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lifecycle.domain.errors import NotFound, UsageError
from lifecycle.domain.failpoints import hit
from lifecycle.domain.subjects import Subject

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.registry.unit_of_work import UnitOfWork

MAX_ID = 200
MAX_CONTACT = 500
_PSEUDONYM = re.compile(r"s-[0-9a-f]{8}")
# Whoever registers their own voice is a person of the registry like any other, without an id of theirs.
OWN_VOICE = "\N{NULL}own voice"


@dataclass(frozen=True, slots=True)
class Person:
    """A person, and whether the registry has no row of theirs yet."""

    subject: Subject
    tag: str | None
    new: bool


def find_subject(told: str, *, uow: UnitOfWork, rooms: Rooms) -> Subject | None:
    """Return the person of an id or pseudonym, if known.

    Raises:
        NotFound: It is a pseudonym, and nobody has it.
        UsageError: It is no id.
    """
    told = checked_id(told)
    if _PSEUDONYM.fullmatch(told):
        found = uow.subjects.by_pseudonym(told)
        if found is None:
            raise NotFound(f'there is no subject "{told}"', hint="vlm subject list")
        return found
    return uow.subjects.by_tag(rooms.vault.keys.lookup_tag(told))


def known_subject(told: str, *, uow: UnitOfWork, rooms: Rooms) -> Subject:
    """Return the person of an id or pseudonym.

    Raises:
        NotFound: Nobody is known by it; the id itself is not repeated, since errors end up in logs.
    """
    found = find_subject(told, uow=uow, rooms=rooms)
    if found is None:
        raise NotFound("nobody is known by this id", hint="vlm subject list")
    return found


@dataclass(frozen=True, slots=True)
class Added:
    """A person who is known now.

    Attributes:
        subject: Their pseudonym; None where a rehearsal cannot know it yet.
        created: Whether nobody was known by this id before.
    """

    subject: str | None
    created: bool
    contact: bool
    dry_run: bool = False

    def to_json(self) -> dict[str, object]:
        """Return the result for programs."""
        return {
            "subject": self.subject,
            "created": self.created,
            "contact": self.contact,
            "dry_run": self.dry_run,
            "next": self._next(),
        }

    def _next(self) -> str | None:
        return None if self.subject is None else f"vlm subject consent {self.subject} --evidence FILE"

    def lines(self) -> list[str]:
        """Return the result for people."""
        if self.subject is None:
            return ["would add one person, under a random pseudonym; nothing was changed (--dry-run)"]
        new = f"{self.subject} is the new pseudonym"
        first = new if self.created else f"{self.subject} is known already"
        return [f"{first}; the contact is kept, sealed" if self.contact else first, f"next: {self._next()}"]


def add_subject(told: str, *, contact: str | None, rooms: Rooms, dry_run: bool = False) -> Added:
    """Make a person known, or find them; their id is kept sealed and looked up by a keyed tag.

    Args:
        contact: How to reach them; kept sealed, and replaces what was kept before.

    Raises:
        UsageError: The id or the contact is empty or too long.
        NotFound: It is a pseudonym, and nobody has it.
    """
    contact = None if contact is None else _checked_contact(contact)
    with rooms.registry.write() as uow:
        known = find_subject(told, uow=uow, rooms=rooms)
        if dry_run:
            told_as = None if known is None else known.pseudonym
            return Added(told_as, known is None, contact is not None, dry_run=True)
        person = person_of(told, uow=uow, rooms=rooms)
        subject = person.subject
        sealed = None if contact is None else rooms.vault.keys.seal_text(subject.uid, contact)
        if person.new:
            uow.subjects.add(replace(subject, contact=sealed), tag=person.tag)
        elif sealed is not None:
            uow.subjects.set_contact(subject.uid, sealed)
        if person.new or sealed is not None:
            verb = "subject.add" if person.new else "subject.contact"
            uow.trail.append(verb, subject_uid=subject.uid)
            hit("subject.before_commit")
            uow.commit()
    return Added(subject.pseudonym, person.new, contact is not None)


def _checked_contact(contact: str) -> str:
    contact = contact.strip()
    if not contact or len(contact) > MAX_CONTACT or not contact.isprintable():
        raise UsageError(
            f"a contact has 1 to {MAX_CONTACT} printable characters", hint="vlm subject add --help"
        )
    return contact


def person_of(told: str, *, uow: UnitOfWork, rooms: Rooms) -> Person:
    """Return the person of an id or pseudonym; an unknown id makes a new person, with keys, but no row yet.

    Raises:
        NotFound, UsageError: As `find_subject`.
    """
    known = find_subject(told, uow=uow, rooms=rooms)
    if known is not None:
        return Person(known, None, new=False)
    uid = rooms.new_uid()
    while uow.subjects.by_pseudonym(f"s-{uid[:8]}") is not None:
        uid = rooms.new_uid()
    rooms.vault.keys.create_subject(uid)
    subject = Subject(
        uid=uid,
        pseudonym=f"s-{uid[:8]}",
        label=rooms.vault.keys.seal_text(uid, checked_id(told).strip("\0")),
        generation=0,
        created_at=rooms.clock(),
    )
    return Person(subject, rooms.vault.keys.lookup_tag(told), new=True)


def checked_id(told: str) -> str:
    """Return an id of a person without blanks around it.

    Raises:
        UsageError: It is empty or too long, or a character of it cannot be printed.
    """
    told = told.strip(" \t\r\n")
    if told != OWN_VOICE and not told.isprintable():
        raise UsageError(
            "an id of a subject has no line ends and no control characters", hint="vlm subject add --help"
        )
    if not told or len(told) > MAX_ID:
        raise UsageError(f"an id of a subject has 1 to {MAX_ID} characters", hint="vlm subject add --help")
    return told
