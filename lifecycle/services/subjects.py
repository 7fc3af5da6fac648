"""Who a person is: found by a keyed tag or by pseudonym, made when new; the id itself lies sealed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lifecycle.domain.errors import NotFound, UsageError
from lifecycle.domain.subjects import Subject

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.registry.unit_of_work import UnitOfWork

MAX_ID = 200
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
            raise NotFound(f'there is no subject "{told}"', hint="vlm list")
        return found
    return uow.subjects.by_tag(rooms.vault.keys.lookup_tag(told))


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
        label=rooms.vault.keys.seal_text(uid, told.strip("\0")),
        generation=0,
        created_at=rooms.clock(),
    )
    return Person(subject, rooms.vault.keys.lookup_tag(told), new=True)


def checked_id(told: str) -> str:
    """Return an id of a person without blanks around it.

    Raises:
        UsageError: It is empty or too long.
    """
    told = told.strip(" \t\r\n")
    if not told or len(told) > MAX_ID:
        raise UsageError(
            f"an id of a subject has 1 to {MAX_ID} characters", hint="vlm register NAME --subject ID"
        )
    return told
