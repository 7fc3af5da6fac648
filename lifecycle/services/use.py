"""`vlm use`: claims that something live depends on a voice; what is in use is not purged or erased."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from lifecycle.domain.errors import NotFound, Refused
from lifecycle.domain.failpoints import hit
from lifecycle.domain.uses import Claim, checked_place, parse_term
from lifecycle.domain.voices import State
from lifecycle.render.output import ago, columns, printable
from lifecycle.services.audits.report import stamp
from lifecycle.services.guard import refuse_while_purged

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """A claim that was made, made longer, or removed.

    Attributes:
        did: "added", "extended", "unchanged" (it lasts longer already) or "removed".
    """

    voice: str
    claim: Claim
    did: str
    dry_run: bool = False

    def to_json(self) -> dict[str, object]:
        """Return the result for programs."""
        claim = self.claim
        return {
            "voice": self.voice,
            "where": claim.place,
            "did": self.did,
            "claimed_at": stamp(claim.claimed_at),
            "until": None if claim.until is None else stamp(claim.until),
            "dry_run": self.dry_run,
        }

    def lines(self) -> list[str]:
        """Return the result for people."""
        place, end = printable(self.claim.place), until_words(self.claim.until)
        again = f"vlm use remove {self.voice} --where {shlex.quote(place)}"
        if self.did == "removed":
            did = f"dropped the claim of {place} on {self.voice}"
            return [f"would drop the claim of {place} on {self.voice}" if self.dry_run else did]
        if self.did == "unchanged":
            return [f"{self.voice} is claimed by {place} already, {end}; nothing was changed"]
        name = self.voice
        did = {
            ("added", False): f"claimed {name} for {place}, {end}",
            ("added", True): f"would claim {name} for {place}, {end}",
            ("extended", False): f"extended the claim on {name} for {place}, {end}",
            ("extended", True): f"would extend the claim on {name} for {place}, {end}",
        }[self.did, self.dry_run]
        return [f"{did}: it will not be purged or erased", f"drop it with: {again}"]


@dataclass(frozen=True, slots=True)
class Claims:
    """Claims of one voice or of all, at a moment; expired ones are shown and do not count."""

    claims: Sequence[tuple[str, Claim]]
    now: datetime
    voice: str | None = None

    def to_json(self) -> dict[str, object]:
        """Return the claims for programs."""
        return {
            "uses": [
                {
                    "voice": name,
                    "where": claim.place,
                    "claimed_at": stamp(claim.claimed_at),
                    "until": None if claim.until is None else stamp(claim.until),
                    "expired": not claim.counts_at(self.now),
                }
                for name, claim in self.claims
            ]
        }

    def places(self) -> list[str]:
        """Return where the voices are in use now, and until when, for people."""
        return [
            f"{printable(claim.place)}, {until_words(claim.until)}"
            for _, claim in self.claims
            if claim.counts_at(self.now)
        ]

    def lines(self) -> list[str]:
        """Return the claims for people."""
        if not self.claims:
            name = self.voice or "NAME"
            whose = f"nothing claims {self.voice}" if self.voice else "nothing claims a voice"
            return [whose, f"next: vlm use add {name} --where k8s://prod/tts"]
        rows = [["voice", "where", "claimed", "lasts"]]
        for name, claim in self.claims:
            lasts = until_words(claim.until) if claim.counts_at(self.now) else "expired"
            rows.append([name, printable(claim.place), ago(self.now - claim.claimed_at), lasts])
        return columns(rows, titled=True)


def until_words(until: datetime | None) -> str:
    """Return when a claim ends, for people."""
    return "until it is removed" if until is None else f"until {stamp(until)[:16].replace('T', ' ')}"


def add_use(
    name: str, *, where: str, term: str | None = None, rooms: Rooms, dry_run: bool = False
) -> ClaimResult:
    """Claim that something live depends on a voice; claiming again makes the claim longer, never shorter.

    Args:
        where: What depends on it, such as `k8s://prod/tts`.
        term: How long, such as `24h`; None: until it is removed.

    Raises:
        NotFound: There is no such voice.
        Refused: It was erased, or a purge of it is open.
        UsageError: The place or the term is none.
    """
    place, lasts = checked_place(where), None if term is None else parse_term(term)
    with rooms.registry.write() as uow:
        voice = uow.voices.get(name)
        refuse_while_purged(voice, uow=uow)
        if voice.state is State.ERASED:
            raise Refused(f'"{name}" was erased, so nothing can depend on it', hint="vlm list")
        now = rooms.clock()
        same = [claim for claim in uow.uses.of_voice(voice.uid) if claim.place == place]
        live = next((claim for claim in same if claim.counts_at(now)), None)
        claim, did = _claimed(live, lasts, now=now, new=Claim(rooms.new_uid(), voice.uid, place, now))
        result = ClaimResult(name, claim, did, dry_run)
        if dry_run or did == "unchanged":
            return result
        for over in same:
            if over is not live:
                uow.uses.remove(over.uid, at=now)
        if did == "added":
            uow.uses.add(claim)
        else:
            uow.uses.extend(claim.uid, until=claim.until)
        uow.trail.append(
            "use.add",
            voice_uid=voice.uid,
            ids={"use": claim.uid},
            details={"where": place, "until": None if claim.until is None else stamp(claim.until)},
        )
        hit("use.before_commit")
        uow.commit()
    return result


def _claimed(live: Claim | None, lasts: timedelta | None, *, now: datetime, new: Claim) -> tuple[Claim, str]:
    until = None if lasts is None else now + lasts
    if live is None:
        return replace(new, until=until), "added"
    if live.until is None or (until is not None and until <= live.until):
        return live, "unchanged"
    return replace(live, until=until), "extended"


def remove_use(name: str, *, where: str, rooms: Rooms, dry_run: bool = False) -> ClaimResult:
    """Drop the claim of a place on a voice, also one that expired.

    Raises:
        NotFound: There is no such voice, or no such claim.
    """
    place = checked_place(where)
    with rooms.registry.write() as uow:
        voice = uow.voices.get(name)
        mine = uow.uses.of_voice(voice.uid)
        found = [claim for claim in mine if claim.place == place]
        if not found:
            raise NotFound(f'"{printable(place)}" does not claim "{name}"', hint=f"vlm use list {name}")
        result = ClaimResult(name, found[-1], "removed", dry_run)
        if dry_run:
            return result
        for claim in found:
            uow.uses.remove(claim.uid, at=rooms.clock())
        uow.trail.append(
            "use.remove", voice_uid=voice.uid, ids={"use": found[-1].uid}, details={"where": place}
        )
        hit("use.before_commit")
        uow.commit()
    return result


def list_uses(name: str | None = None, *, rooms: Rooms) -> Claims:
    """Return the claims on a voice, or on all voices.

    Raises:
        NotFound: There is no such voice.
    """
    with rooms.registry.read() as uow:
        if name is None:
            return Claims(uow.uses.all(), rooms.clock())
        voice = uow.voices.get(name)
        return Claims([(name, claim) for claim in uow.uses.of_voice(voice.uid)], rooms.clock(), name)
