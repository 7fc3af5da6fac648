"""The person whose voice it is, what they agreed to, and what forbids deletion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from lifecycle.domain.errors import UsageError

#: What a person may agree to, one word each; "all" stands for every one of them, those of later versions included.
SCOPES = ("speak", "train", "convert", "export", "publish")
ALL = "all"
# What consents said before scopes had words: nothing was left out then.
_EVERYTHING = frozenset({ALL, "voice"})
MAX_SCOPE = 64


@dataclass(frozen=True, slots=True)
class Use:
    """Something that is done with a voice.

    Attributes:
        words: How a sentence says that it cannot, after "cannot".
        scope: The word of `SCOPES` that a consent must cover; None where any consent that holds will do.
        living: Whether the voice must be in service.
        speaks: Whether the voice must have what it is conditioned on.
    """

    words: str
    scope: str | None
    living: bool = True
    speaks: bool = False


#: Every use that is known. What is not named here is refused, so a new one has to be thought about first.
USES: Mapping[str, Use] = {
    "speak": Use("speak", "speak", speaks=True),
    "train": Use("be trained", "train"),
    "convert": Use("be converted to", "convert", speaks=True),
    "export": Use("be exported", "export"),
    "publish": Use("be published", "publish"),
    "golden": Use("record a golden", "speak"),
    "verify": Use("be verified", "speak"),
    "restore": Use("be restored", None, living=False),
}


def checked_scope(text: str) -> str:
    """Return scope words in the order of `SCOPES`, joined by commas; "all" outranks the others.

    Raises:
        UsageError: There is none, or one that is unknown.
    """
    words = {word.strip().lower() for word in text.split(",") if word.strip()}
    unknown = sorted(words - {*SCOPES, ALL})
    if unknown or not words or len(text) > MAX_SCOPE:
        shown = "".join(c if c.isprintable() else "?" for c in unknown[0][:32]) if unknown else ""
        what = f'"{shown}" is not a scope of consents' if unknown else "a consent needs a scope"
        raise UsageError(f"{what}; there are {', '.join(SCOPES)} and {ALL}")
    return ALL if ALL in words else ",".join(word for word in SCOPES if word in words)


def covers(scope: str, word: str | None) -> bool:
    """Whether a consent of this scope agrees to a use; `word` None asks for no use in particular."""
    words = set(scope.split(","))
    return word is None or bool(words & _EVERYTHING) or word in words


def checked_term(begins: date | None, ends: date | None, *, today: date) -> None:
    """Refuse a term during which a consent would never hold.

    Args:
        begins: Its first day; None: today.
        ends: Its last day; None: until it is withdrawn.

    Raises:
        UsageError: It ends before it begins, or ended already.
    """
    if ends is not None and begins is not None and ends < begins:
        raise UsageError(f"the consent would end on {ends}, before it begins on {begins}")
    if ends is not None and ends < today:
        raise UsageError(f"the consent ended on {ends}, which is past")


@dataclass(frozen=True, slots=True)
class Subject:
    """A person, known by a pseudonym everywhere but in one sealed row.

    Attributes:
        pseudonym: "s-" and 8 hexadecimal digits of `uid`, random, never derived from a name.
        label: The sealed id that the user gave; None once erased.
        contact: Sealed words on how to reach them, if any were given.
        generation: Rises when something of theirs is purged or withdrawn; a job that began before is void.
    """

    uid: str
    pseudonym: str
    label: bytes | None
    generation: int
    created_at: datetime
    contact: bytes | None = None


@dataclass(frozen=True, slots=True)
class Consent:
    """Evidence of an agreement, its scope and its term.

    Attributes:
        scope: Words of `SCOPES` joined by commas, or "all".
        valid_from: From when on it holds; None: since it was received.
        valid_until: The moment at which it ends; None: until it is withdrawn.
        renews_uid: The consent that it takes the place of, if any.
    """

    uid: str
    subject_uid: str
    scope: str
    valid_until: datetime | None
    received_at: datetime
    evidence_uid: str | None
    withdrawn_at: datetime | None = None
    valid_from: datetime | None = None
    renews_uid: str | None = None

    def holds_at(self, now: datetime) -> bool:
        """Whether the consent has begun, and is neither withdrawn nor ended at `now`."""
        if self.withdrawn_at is not None and self.withdrawn_at <= now:
            return False
        if self.valid_from is not None and now < self.valid_from:
            return False
        return self.valid_until is None or now < self.valid_until


def holding(given: Sequence[Consent], now: datetime, word: str | None = None) -> list[Consent]:
    """Return the consents that count: those that hold, agree to the use, and came after the last withdrawal.

    A consent that was renewed gives way to the newer one as soon as that one has begun. One that ended by itself
    never speaks again; a newer one is needed for that.

    Args:
        word: A word of `SCOPES`; None asks for no use in particular.
    """
    gone = [c.withdrawn_at for c in given if c.withdrawn_at is not None and c.withdrawn_at <= now]
    last = max(gone, default=None)
    begun = {c.renews_uid for c in given if c.valid_from is None or c.valid_from <= now}
    return [
        c
        for c in given
        if c.holds_at(now)
        and covers(c.scope, word)
        and c.uid not in begun
        and (last is None or c.received_at > last)
    ]


def held_until(holds: Iterable[Consent]) -> datetime | None:
    """Return when the last of some consents ends; None where one of them lasts until it is withdrawn."""
    ends = [consent.valid_until for consent in holds]
    return None if None in ends else max((end for end in ends if end is not None), default=None)


@dataclass(frozen=True, slots=True)
class Paper:
    """A document that proves a consent and belongs to a person, whichever voices there are.

    Attributes:
        digest: `blake3:` of the sealed bytes.
        key_id: The evidence key that seals it, with an end of its own.
        label: The sealed name that the file had.
    """

    uid: str
    subject_uid: str
    digest: str
    size_bytes: int
    key_id: str
    label: bytes | None
    fingerprint: str | None
    added_at: datetime


@dataclass(frozen=True, slots=True)
class Hold:
    """A reason, on a voice or a subject, that forbids every deletion.

    Attributes:
        review_on: The day on which somebody must look whether it is still needed.
    """

    uid: str
    voice_uid: str | None
    subject_uid: str | None
    reason: bytes
    placed_at: datetime
    released_at: datetime | None = None
    review_on: date | None = None


class Outcome(StrEnum):
    """How a case ended: all that depended on the person is gone, or somebody closed it with a reason."""

    DONE = "done"
    CLOSED = "closed"


WITHDRAWAL = "withdrawal"


@dataclass(frozen=True, slots=True)
class Case:
    """A request of a person that must be answered by a day.

    Attributes:
        voice_uid: The one voice that it concerns; None: all of theirs.
        kind: What they asked for; "withdrawal" today.
        received_on: The day on which the request arrived.
        due_on: The day by which everything must be done.
        request: Sealed reference of the request, if one was given.
    """

    uid: str
    subject_uid: str
    voice_uid: str | None
    kind: str
    received_on: date
    due_on: date
    opened_at: datetime
    closed_at: datetime | None = None
    outcome: Outcome | None = None
    request: bytes | None = None

    def concerns(self, voice_uid: str | None) -> bool:
        """Whether a voice is in its scope; None stands for a voice that does not exist yet."""
        return self.voice_uid is None or self.voice_uid == voice_uid


_OLDEST_YEARS = 5


def checked_receipt(received: date, *, today: date) -> None:
    """Refuse a day on which a request cannot have arrived.

    Raises:
        UsageError: It lies in the future, or more than five years back.
    """
    if received > today:
        raise UsageError(f"a request cannot have been received on {received}, which is still to come")
    if received.year < today.year - _OLDEST_YEARS:
        raise UsageError(f"{received} lies more than {_OLDEST_YEARS} years back; is the year right")
