"""What the files of a night's audit are made of: plain values, the same for every format."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

#: Words of severity, the worst first.
SEVERITIES = ("critical", "warning", "notice")


@dataclass(frozen=True, slots=True)
class SheetRow:
    """One finding.

    Attributes:
        voice: The voice's name; empty where the finding is about the installation.
        uid: The first 12 digits of the voice's random id, as notifications name it.
        since: When it was first found, RFC 3339 UTC, or empty.
    """

    voice: str
    uid: str
    owner: str
    risk: str
    severity: str
    message: str
    next: str
    new: bool
    since: str = ""

    @property
    def who(self) -> str:
        """The voice, or this installation."""
        return self.voice or "this installation"


@dataclass(frozen=True, slots=True)
class Sheet:
    """One audit, as its files tell it.

    Attributes:
        audit: A random id that every file of the same night carries.
        rows: The findings that nobody accepted, the worst first; perhaps not all of them.
        counts: (severity, risk) -> how many there are in all.
        new: severity -> how many the audit before did not find.
        states: State -> how many voices.
        rules: Risk -> what it means.
        seconds: How long the audit took.
        store_bytes: What the stored files take.
    """

    audit: str
    at: datetime
    tool: str
    voices: int
    rows: Sequence[SheetRow]
    counts: Mapping[tuple[str, str], int]
    new: Mapping[str, int]
    states: Mapping[str, int]
    accepted: int
    rules: Mapping[str, str]
    seconds: float
    store_bytes: int

    def count(self, severity: str) -> int:
        """Return how many findings have a severity."""
        return sum(number for (word, _), number in self.counts.items() if word == severity)

    @property
    def total(self) -> int:
        """How many findings there are."""
        return sum(self.counts.values())

    @property
    def left_out(self) -> int:
        """How many findings there are beyond `rows`."""
        return max(0, self.total - len(self.rows))

    @property
    def time(self) -> str:
        """When it was made, RFC 3339 UTC in whole seconds."""
        return self.at.isoformat(timespec="seconds").replace("+00:00", "Z")


def plain(text: str) -> str:
    """Return text without control characters and others that XML forbids or that steer a page."""
    return "".join(_REPLACED if _steers(character) else character for character in text)


_REPLACED = "\N{REPLACEMENT CHARACTER}"


def _steers(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cf", "Cs"} or character in "\ufffe\uffff"


def plural(number: int, word: str) -> str:
    """Return a number with its word: "1 notice", "2 notices", "2 critical"."""
    return f"{number:,} {word}{'' if number == 1 or word == 'critical' else 's'}"
