"""How findings become a report: counted exactly, listed up to a bound, folded for people, the exit code chosen."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from lifecycle.domain.risks import Risk, Severity
from lifecycle.watch.snapshot import Accepted, Snapshot

_EXIT = {Severity.CRITICAL: 11, Severity.WARNING: 10}
FAIL_ON = ("critical", "warning", "never")
#: So many findings of one risk are listed one by one; the rest is counted.
LISTED = 10_000


@dataclass(frozen=True, slots=True)
class Finding:
    """A risk, and what the report does with it.

    Attributes:
        accepted: Somebody lives with it until a day; it is counted and not listed.
        new: No audit found it before.
        owner: Who answers for the voice, where somebody is named.
        since: When an audit first found it; this audit's own time where it is new.
        notified_at: When somebody was told, if anybody was.
    """

    risk: Risk
    accepted: bool = False
    new: bool = True
    owner: str | None = None
    since: datetime | None = None
    notified_at: datetime | None = None

    @property
    def key(self) -> str:
        """What makes it the same finding in the next audit."""
        return f"{self.risk.voice}/{self.risk.risk}/{self.risk.severity}"


@dataclass(frozen=True, slots=True)
class Tally:
    """Exact numbers of one risk and severity.

    Attributes:
        found: All findings, accepted and known ones included.
        accepted: Those that somebody lives with.
        new: Those that no audit found before and nobody accepted.
        reported: Those that this report is about: not accepted, and new where only new ones were asked for.
        not_listed: How many of the reported are not listed one by one.
    """

    risk: str
    severity: Severity
    found: int
    accepted: int
    new: int
    reported: int
    not_listed: int = 0
    message: str = ""
    next: str = ""

    def to_json(self) -> dict[str, object]:
        """Return the numbers for programs."""
        return {
            "risk": self.risk,
            "severity": self.severity.value,
            "found": self.found,
            "accepted": self.accepted,
            "new": self.new,
            "reported": self.reported,
            "not_listed": self.not_listed,
        }


@dataclass(frozen=True, slots=True)
class Section:
    """What was reported for the voices of one owner, person, state, upstream or policy.

    Attributes:
        key: The owner, pseudonym, state, upstream or policy; None for voices without one.
        voices: How many voices were looked at.
    """

    key: str | None
    voices: int
    critical: int
    warning: int
    notice: int

    def to_json(self) -> dict[str, object]:
        """Return the section for programs."""
        return {
            "key": self.key,
            "voices": self.voices,
            "counts": {"critical": self.critical, "warning": self.warning, "notice": self.notice},
        }


def weigh(risks: Sequence[Risk], snapshot: Snapshot, *, known: Collection[str] = ()) -> list[Finding]:
    """Mark which risks somebody accepted, and which an audit found before (by `Finding.key`)."""
    found = []
    for risk in risks:
        accepted = any(_covers(one, risk, snapshot) for one in snapshot.accepted)
        finding = Finding(risk, accepted=accepted)
        found.append(Finding(risk, accepted=accepted, new=finding.key not in known))
    return found


def _covers(accepted: Accepted, risk: Risk, snapshot: Snapshot) -> bool:
    return accepted.covers(risk=risk.risk, voice=risk.voice, now=snapshot.now)


def exit_code(listed: Iterable[Finding | Tally], *, fail_on: str = "warning") -> int:
    """Return 11 for a critical risk, 10 for a warning, else 0; `fail_on` says what counts.

    Args:
        fail_on: "critical", "warning" or "never".
    """
    if fail_on == "never":
        return 0
    severities = {_severity(one) for one in listed}
    if Severity.CRITICAL in severities:
        return _EXIT[Severity.CRITICAL]
    return _EXIT[Severity.WARNING] if Severity.WARNING in severities and fail_on == "warning" else 0


def _severity(one: Finding | Tally) -> Severity | None:
    if isinstance(one, Tally):
        return one.severity if one.reported else None
    return None if one.accepted else one.risk.severity


@dataclass(frozen=True, slots=True)
class Group:
    """One cause for people: a voice, or how many, with one next command."""

    severity: Severity
    who: str
    message: str
    next: str
    voices: tuple[str, ...]


def grouped(
    listed: Sequence[Finding], *, not_listed: Mapping[tuple[str, Severity], int] | None = None
) -> list[Group]:
    """Fold findings of one cause: notices always, others from the fourth voice on.

    Args:
        not_listed: How many more findings of a risk and severity there are than are listed.
    """
    groups: list[Group] = []
    causes: dict[tuple[str, Severity], list[Risk]] = {}
    for finding in listed:
        if not finding.accepted:
            causes.setdefault((finding.risk.risk, finding.risk.severity), []).append(finding.risk)
    for cause, risks in causes.items():
        severity, more = cause[1], (not_listed or {}).get(cause, 0)
        voices = tuple(dict.fromkeys(risk.voice for risk in risks))
        if more or (len(voices) > 1 and (severity is Severity.NOTICE or len(voices) > 3)):
            groups.append(_folded(severity, risks, voices, more))
            continue
        groups += [Group(severity, r.voice or "this machine", r.message, r.next, (r.voice,)) for r in risks]
    return groups


def _folded(severity: Severity, risks: Sequence[Risk], voices: tuple[str, ...], more: int) -> Group:
    messages = {risk.message for risk in risks}
    message = risks[0].message if len(messages) == 1 else f"{risks[0].message}, and others"
    return Group(severity, f"{len(voices) + more} voices", message, risks[0].next, voices)
