"""What an audit finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How soon somebody must act."""

    CRITICAL = "critical"
    WARNING = "warning"
    NOTICE = "notice"


@dataclass(frozen=True, slots=True)
class Risk:
    """A finding about one voice, with the first thing to do.

    Attributes:
        risk: A stable word for scripts, such as "consent-expired".
        message: One line for people.
        next: A command that works when pasted.
    """

    voice: str
    risk: str
    severity: Severity
    message: str
    next: str
