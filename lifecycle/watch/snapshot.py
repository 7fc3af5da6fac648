"""What an audit looks at, as plain values: fetched by the service, judged by the rules."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from lifecycle.domain.policies import Policy
from lifecycle.domain.subjects import Consent
from lifecycle.domain.time_bases import Facts
from lifecycle.domain.verdicts import Row
from lifecycle.domain.voices import State

#: The clock may be this far ahead of the highest time that was ever seen before anything is believed less.
CLOCK_AHEAD = timedelta(hours=48)


@dataclass(frozen=True, slots=True)
class Damage:
    """A stored file that is not what it was: role "weights", state "changed" or "missing"."""

    role: str
    state: str


@dataclass(frozen=True, slots=True)
class DueCase:
    """An open case of a person that concerns a voice: both by their short ids."""

    case: str
    subject: str
    due_on: date


@dataclass(frozen=True, slots=True)
class VoiceFacts:
    """One voice at the moment of the audit.

    Attributes:
        policy_lost: What is wrong with its policy where that cannot be read: "is gone", "cannot be read".
        retention: What its policy counts from; None where nobody fetched it.
        recordings_since: When the oldest recording that is still held came; None if none is held.
        subjects: How many persons the voice names; `own_voice` says that the user is the one.
        consents: All consents of those persons that cover this voice.
        checked: The newest verdict for each runtime and device, of the current version.
        consented: Whether the voice may be used today, as far as consents go.
        golden: "recorded", "pending" (one could be made), or "none" (nothing to speak with).
        lock: "full", "partial" or "none".
        lock_lost: Packages of the newest lock that its last check could not have as the lock names them.
        cases: Open cases of its people that concern it.
        hold_reviews: For each hold on it or on its people, the day by which somebody must look again.
    """

    name: str
    state: State
    policy: Policy
    registered_at: datetime
    mute: bool = False
    owner: str | None = None
    own_voice: bool = False
    subjects: int = 0
    recordings_since: datetime | None = None
    consents: Sequence[Consent] = ()
    consented: bool = True
    damage: Sequence[Damage] = ()
    checked: Sequence[Row] = ()
    golden: str = "none"
    checkable: bool = True
    unfinished_purge: bool = False
    lock: str = "none"
    lock_lost: Sequence[str] = ()
    image: bool = False
    export: bool = False
    pickled_only: bool = False
    policy_lost: str = ""
    retention: Facts | None = None
    cases: Sequence[DueCase] = ()
    hold_reviews: Sequence[date] = ()

    @property
    def serves(self) -> bool:
        """Whether the voice is meant to speak today."""
        return self.state in {State.ACTIVE, State.DEPRECATED}

    @property
    def speaks(self) -> bool:
        """Whether it serves, can speak, and may."""
        return self.serves and not self.mute and self.consented


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that one audit looks at.

    Attributes:
        now: The time of day.
        highest_seen: The highest time that the anchor beside the keys has seen.
        default_torch: The torch that voices are expected to work on.
        runtimes: Versions of torch that are installed here.
        commands: Every command that exists, such as "vlm golden record"; a risk whose cure is none is not reported.
        copies: What is missing of second copies: a word, a sentence and a command each.
    """

    voices: Sequence[VoiceFacts]
    now: datetime
    default_torch: str
    commands: Collection[str]
    runtimes: Collection[str] = ()
    highest_seen: datetime | None = None
    accepted: Sequence[Accepted] = field(default_factory=tuple)
    copies: Sequence[tuple[str, str, str]] = ()


@dataclass(frozen=True, slots=True)
class Accepted:
    """A risk that somebody accepted until a date; `voice` None means every voice."""

    risk: str
    voice: str | None
    until: datetime

    def covers(self, *, risk: str, voice: str, now: datetime) -> bool:
        """Whether it still speaks for a finding."""
        return self.risk == risk and self.voice in {None, voice} and now < self.until
