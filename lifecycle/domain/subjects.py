"""The person whose voice it is, what they agreed to, and what forbids deletion."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Subject:
    """A person, known by a pseudonym everywhere but in one sealed row.

    Attributes:
        pseudonym: "s-" and 8 hexadecimal digits of `uid`, random, never derived from a name.
        label: The sealed id that the user gave; None once erased.
        contact: Sealed words on how to reach them, if any were given.
        generation: Rises when something of theirs is purged; a job that began before is void.
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


@dataclass(frozen=True, slots=True)
class Hold:
    """A reason, on a voice or a subject, that forbids every deletion."""

    uid: str
    voice_uid: str | None
    subject_uid: str | None
    reason: bytes
    placed_at: datetime
    released_at: datetime | None = None
