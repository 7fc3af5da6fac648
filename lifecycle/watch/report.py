"""How findings become a report: accepted ones counted, notices folded, the exit code chosen."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from lifecycle.domain.risks import Risk, Severity
from lifecycle.watch.snapshot import Accepted, Snapshot

_EXIT = {Severity.CRITICAL: 11, Severity.WARNING: 10}
FAIL_ON = ("critical", "warning", "never")


@dataclass(frozen=True, slots=True)
class Finding:
    """A risk, and what the report does with it."""

    risk: Risk
    accepted: bool = False
    new: bool = True

    @property
    def key(self) -> str:
        """What makes it the same finding in the next audit."""
        return f"{self.risk.voice}/{self.risk.risk}/{self.risk.severity}"


def weigh(risks: Sequence[Risk], snapshot: Snapshot, *, known: Collection[str] = ()) -> list[Finding]:
    """Mark which risks somebody accepted, and which the previous audit already knew (by `Finding.key`)."""
    found = []
    for risk in risks:
        accepted = any(_covers(one, risk, snapshot) for one in snapshot.accepted)
        finding = Finding(risk, accepted=accepted)
        found.append(Finding(risk, accepted=accepted, new=finding.key not in known))
    return found


def _covers(accepted: Accepted, risk: Risk, snapshot: Snapshot) -> bool:
    return accepted.covers(risk=risk.risk, voice=risk.voice, now=snapshot.now)


def exit_code(listed: Sequence[Finding], *, fail_on: str = "warning") -> int:
    """Return 11 for a critical risk, 10 for a warning, else 0; `fail_on` says what counts.

    Args:
        fail_on: "critical", "warning" or "never".
    """
    if fail_on == "never":
        return 0
    severities = {finding.risk.severity for finding in listed if not finding.accepted}
    if Severity.CRITICAL in severities:
        return _EXIT[Severity.CRITICAL]
    return _EXIT[Severity.WARNING] if Severity.WARNING in severities and fail_on == "warning" else 0


@dataclass(frozen=True, slots=True)
class Group:
    """One cause for people: a voice, or how many, with one next command."""

    severity: Severity
    who: str
    message: str
    next: str
    voices: tuple[str, ...]


def grouped(listed: Sequence[Finding]) -> list[Group]:
    """Fold findings of one cause: notices always, others from the third voice on."""
    groups: list[Group] = []
    causes: dict[tuple[str, Severity], list[Risk]] = {}
    for finding in listed:
        if not finding.accepted:
            causes.setdefault((finding.risk.risk, finding.risk.severity), []).append(finding.risk)
    for (_, severity), risks in causes.items():
        voices = tuple(dict.fromkeys(risk.voice for risk in risks))
        if len(voices) > 1 and (severity is Severity.NOTICE or len(voices) > 3):
            groups.append(_folded(severity, risks, voices))
            continue
        groups += [Group(severity, r.voice or "this machine", r.message, r.next, (r.voice,)) for r in risks]
    return groups


def _folded(severity: Severity, risks: Sequence[Risk], voices: tuple[str, ...]) -> Group:
    messages = {risk.message for risk in risks}
    message = risks[0].message if len(messages) == 1 else f"{risks[0].message}, and others"
    return Group(severity, f"{len(voices)} voices", message, risks[0].next, voices)
