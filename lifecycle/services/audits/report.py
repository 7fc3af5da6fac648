"""What an audit found, as a result for people, programs and the writers of its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from lifecycle.domain.filters import ALL, VoiceFilter
from lifecycle.domain.risks import Severity
from lifecycle.watch.report import Finding, Group, Section, Tally, exit_code, grouped


class Scrub(StrEnum):
    """Which stored files an audit reads again; see docs/howto/nightly-audit.md."""

    ALL = "all"
    DUE = "due"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """What was read again.

    Attributes:
        files: How many stored files there are.
        hashed: How many of them were read to their end and hashed.
        size_bytes: Their bytes.
    """

    mode: Scrub
    files: int = 0
    hashed: int = 0
    size_bytes: int = 0

    def to_json(self) -> dict[str, object]:
        """Return it for programs."""
        return {"mode": self.mode.value, "files": self.files, "hashed": self.hashed, "bytes": self.size_bytes}


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What an audit found.

    Attributes:
        findings: Accepted and known ones included, worst first; of each risk and severity at most
            `watch.report.LISTED` stand here one by one.
        listed: Those of them that this report is about: not accepted, and new where only new ones were asked for.
        tallies: Exact numbers of each risk and severity, worst first.
        sections: The same numbers by owner, subject, state, upstream or policy, where that was asked for.
        voices: How many voices were looked at.
        at: When the audit began.
        code: What `vlm audit` exits with.
        quiet: A timer has nothing to say: only new ones were asked for and nothing but notices is new.
    """

    findings: tuple[Finding, ...]
    listed: tuple[Finding, ...]
    tallies: tuple[Tally, ...]
    voices: int
    seconds: float
    at: datetime
    code: int
    accepted_until: datetime | None
    quiet: bool
    scrubbed: Scrubbed
    filter: VoiceFilter = ALL
    group_by: str | None = None
    sections: tuple[Section, ...] = ()

    @property
    def groups(self) -> list[Group]:
        """The findings by cause, for people."""
        return grouped(self.listed, not_listed={(t.risk, t.severity): t.not_listed for t in self.tallies})

    @property
    def new(self) -> tuple[Finding, ...]:
        """The listed findings that no audit found before."""
        return tuple(finding for finding in self.listed if finding.new)

    def count(self, severity: Severity) -> int:
        """Return how many findings of a severity this report is about, those not listed included."""
        return sum(tally.reported for tally in self.tallies if tally.severity is severity)

    @property
    def accepted(self) -> int:
        """How many findings somebody accepted."""
        return sum(tally.accepted for tally in self.tallies)

    @property
    def not_listed(self) -> int:
        """How many findings are counted and do not stand in `listed`."""
        return sum(tally.not_listed for tally in self.tallies)

    def exit_code(self, fail_on: str) -> int:
        """Return what the audit would exit with for another `fail_on`."""
        return exit_code(self.tallies, fail_on=fail_on)

    def to_json(self) -> Mapping[str, object]:
        """Return the report for programs."""
        return {
            "at": stamp(self.at),
            "risks": [finding_json(finding) for finding in self.listed],
            "counts": {severity.value: self.count(severity) for severity in Severity},
            "by_risk": [tally.to_json() for tally in self.tallies],
            "accepted": self.accepted,
            "groups": [section.to_json() for section in self.sections],
            "scrubbed": self.scrubbed.to_json(),
            "voices": self.voices,
            "seconds": round(self.seconds, 2),
        }


def finding_json(finding: Finding) -> dict[str, object]:
    """Return one finding for programs."""
    risk = finding.risk
    return {
        "voice": risk.voice or None,
        "owner": finding.owner,
        "risk": risk.risk,
        "severity": risk.severity.value,
        "message": risk.message,
        "next": risk.next,
        "new": finding.new,
        "since": None if finding.since is None else stamp(finding.since),
        "accepted": finding.accepted,
    }


def stamp(moment: datetime) -> str:
    """Return a moment for programs, to the second."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
