"""`vlm list`: what there is, by name, in pages; nothing personal but what the caller could open anyway."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from lifecycle.domain.errors import UsageError
from lifecycle.domain.filters import ALL, GROUPS, VoiceFilter
from lifecycle.registry.queries.shelf import Shelved, Wanted
from lifecycle.render.output import columns, megabytes
from lifecycle.services.audits.report import stamp

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class ListedVoice:
    """One line of the list; `name` is None for a tombstone.

    Attributes:
        uses: How many claims say that something live depends on it.
    """

    name: str | None
    state: str
    version: int
    mute: bool
    held: bool
    owner: str | None
    subjects: tuple[str, ...]
    recordings: int
    size_bytes: int
    policy: str
    registered_at: datetime
    rights: str | None = None
    upstream: str | None = None
    uses: int = 0
    last_used_at: datetime | None = None

    def to_json(self) -> dict[str, object]:
        """Return the line for programs."""
        return {
            "name": self.name,
            "state": self.state,
            "version": self.version,
            "mute": self.mute,
            "held": self.held,
            "owner": self.owner,
            "subjects": list(self.subjects),
            "recordings": self.recordings,
            "size": self.size_bytes,
            "policy": self.policy,
            "registered_at": stamp(self.registered_at),
            "rights": self.rights,
            "upstream": self.upstream,
            "uses": self.uses,
            "last_used_at": None if self.last_used_at is None else stamp(self.last_used_at),
        }


@dataclass(frozen=True, slots=True)
class ShelfGroup:
    """How many voices an owner, subject, state, upstream or policy has."""

    key: str | None
    numbers: Mapping[str, int]

    def to_json(self) -> dict[str, object]:
        """Return the group for programs."""
        return {"key": self.key, **self.numbers}


@dataclass(frozen=True, slots=True)
class Shelf:
    """Voices by name.

    Attributes:
        next: The name after which the next page begins; None where this is the last.
        filtered: Only some voices were asked for.
    """

    voices: tuple[ListedVoice, ...]
    next: str | None = None
    group_by: str | None = None
    groups: tuple[ShelfGroup, ...] = ()
    filtered: bool = False

    def to_json(self) -> Mapping[str, object]:
        """Return the list for programs."""
        return {
            "voices": [voice.to_json() for voice in self.voices],
            "next": self.next,
            "groups": [group.to_json() for group in self.groups],
        }

    def lines(self) -> list[str]:
        """Return the list for people."""
        if self.group_by is not None:
            return self._grouped(self.group_by)
        if not self.voices:
            if self.filtered:
                return ["no voice is meant by this", "next: vlm list"]
            return ["no voices yet", "next: vlm register NAME --weights FILE"]
        rows = [["name", "state", "version", "owner", "recordings", "size", ""]]
        rows += [_row(voice) for voice in self.voices]
        more = [] if self.next is None else ["", f"more: vlm list --after {self.next}"]
        return [*columns(rows, titled=True), *more]

    def _grouped(self, by: str) -> list[str]:
        rows = [[by, "voices", "active", "deprecated", "retired", "in use"]]
        for group in self.groups:
            numbers = [str(group.numbers.get(word) or "-") for word in _NUMBERS]
            rows.append([group.key or "(none)", *numbers])
        return columns(rows, titled=True)


_NUMBERS = ("voices", "active", "deprecated", "retired", "in_use")


def _row(voice: ListedVoice) -> list[str]:
    used = f"in use ({voice.uses})" if voice.uses > 1 else "in use"
    marks = [
        word for word, is_so in (("mute", voice.mute), ("held", voice.held), (used, voice.uses)) if is_so
    ]
    return [
        voice.name or "(erased)",
        voice.state,
        str(voice.version or "-"),
        voice.owner or "-",
        str(voice.recordings or "-"),
        megabytes(voice.size_bytes),
        ", ".join(marks),
    ]


def list_voices(
    *,
    rooms: Rooms,
    everything: bool = False,
    filter: VoiceFilter = ALL,  # noqa: A002 - what it is called everywhere
    in_use: bool | None = None,
    after: str | None = None,
    limit: int | None = None,
    group_by: str | None = None,
) -> Shelf:
    """Return the voices by name.

    Args:
        everything: With the tombstones of erased voices, after the last name.
        in_use: Only those that something live depends on (True), or that nothing does (False).
        after: Begin behind this name.
        limit: At most so many; None: all.
        group_by: One of `lifecycle.domain.filters.GROUPS`: count by that as well.

    Raises:
        UsageError: The limit is below one, or there is no such grouping.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"a page has at least one voice, not {limit}", hint="vlm list --limit 50")
    if group_by is not None and group_by not in GROUPS:
        raise UsageError(
            f'"{group_by}" is nothing to group by; {", ".join(GROUPS)} are', hint="vlm list --help"
        )
    wanted = Wanted(filter, rooms.clock(), everything, in_use)
    found: list[Shelved] = []
    with rooms.registry.read() as uow:
        groups = [] if group_by is None else uow.shelf.groups(wanted, group_by)
        last, more = after, True
        while more:
            size = _PAGE if limit is None else min(_PAGE, limit + 1 - len(found))
            page = uow.shelf.page(wanted, after=last, limit=size)
            found += page
            last = page[-1].voice.name if page else last
            more = len(page) == size and (limit is None or len(found) <= limit)
        rest = limit is not None and len(found) > limit
        if everything and not rest and filter.all and in_use is None:
            found += uow.shelf.tombstones(now=wanted.now)
    listed = found[:limit] if rest else found
    return Shelf(
        voices=tuple(_listed(each) for each in listed),
        next=listed[-1].voice.name if rest else None,
        group_by=group_by,
        groups=tuple(ShelfGroup(key, numbers) for key, numbers in groups),
        filtered=not filter.all or in_use is not None or after is not None,
    )


def _listed(each: Shelved) -> ListedVoice:
    voice = each.voice
    return ListedVoice(
        name=voice.name or None,
        state=voice.state.value,
        version=each.version,
        mute=voice.mute,
        held=each.held,
        owner=voice.owner,
        subjects=each.people,
        recordings=each.recordings,
        size_bytes=each.size_bytes,
        policy=voice.policy,
        registered_at=voice.created_at,
        rights=voice.rights,
        upstream=voice.upstream,
        uses=each.uses,
        last_used_at=voice.last_used_at,
    )
