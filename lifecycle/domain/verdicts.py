"""What running a voice gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Verdict(StrEnum):
    """The outcome of one voice in one runtime, with one code, on one device."""

    WORKS = "works"
    NOT_CHECKED = "not_checked"
    DIFFERS = "differs"
    BROKEN = "broken"
    CRASHED = "crashed"

    @property
    def exit_code(self) -> int:
        """What `vlm verify` exits with when this is the worst row."""
        return _EXIT[self]


_EXIT = {
    Verdict.WORKS: 0,
    Verdict.NOT_CHECKED: 12,
    Verdict.DIFFERS: 13,
    Verdict.BROKEN: 14,
    Verdict.CRASHED: 14,
}


@dataclass(frozen=True, slots=True)
class Row:
    """One verdict with everything that it depends on.

    Attributes:
        code: Whose code ran: "engine", "own" or "export"; "none" where nothing ran.
        sandbox: "bwrap", "landlock" or "none".
        detail: Steps, distances and tolerances, JSON-able.
    """

    uid: str
    voice: str
    version_uid: str
    torch: str
    build: str
    python: str
    lock_hash: str
    engine_hash: str
    device: str
    code: str
    verdict: Verdict
    reason: str
    next: str | None
    detail: Mapping[str, object]
    sandbox: str
    at: datetime
