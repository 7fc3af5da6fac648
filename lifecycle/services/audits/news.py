"""What a night has to tell, in words that name no voice unless that was asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from lifecycle.domain.risks import Severity
from lifecycle.registry.queries.alerts import DueNotice
from lifecycle.watch.report import Finding

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.registry.queries.cases import CaseRow
    from lifecycle.services.audits.audit import AuditReport
    from lifecycle.services.audits.notify import Delivery
    from lifecycle.services.retention.scheduled import AppliedSummary

#: How many ids stand in a message for each risk, and how many findings in the JSON of a command.
MAX_IDS = 5
MAX_FINDINGS = 1_000
#: WeCom takes 2,048 bytes; title and end of the message come on top.
MAX_BYTES = 1_600
#: A case is told of so many days before it is due, and each night once it is overdue.
REMIND_DAYS = (7, 3, 1, 0)
ID_DIGITS = 12
_CASES_TOLD = "cases_told_on"
_REFUSAL_TOLD = "refusal_told"


@dataclass(frozen=True, slots=True)
class News:
    """What nobody was told yet.

    Attributes:
        audit: The random id of the audit, as its files carry it.
        findings: Findings of which nobody was told, worst first, none accepted.
        counts: How many there are of each severity and risk, those beyond `findings` included.
        ids: Name of a voice -> its random id.
        cases: Requests of people that come due.
        applied: Lines about a policy that a timer applied, or could not.
        names: Messages may carry names of voices, and the sentences that hold them.
    """

    audit: str
    at: datetime
    voices: int
    findings: Sequence[Finding]
    counts: Mapping[tuple[Severity, str], int]
    ids: Mapping[str, str]
    notices: Sequence[DueNotice]
    cases: Sequence[CaseRow]
    applied: Sequence[str] = ()
    names: bool = False

    @property
    def any(self) -> bool:
        """Whether it is worth a message: notices of severity alone are not."""
        urgent = any(finding.risk.severity is not Severity.NOTICE for finding in self.findings)
        return urgent or bool(self.notices) or bool(self.cases) or bool(self.applied)

    @property
    def clock(self) -> bool:
        """Whether the time of day is not plausible, so that dates in the news may be wrong."""
        return any(finding.risk.risk == "clock" for finding in self.findings)

    def count(self, severity: Severity) -> int:
        """Return how many findings of a severity nobody was told of."""
        return sum(number for (word, _), number in self.counts.items() if word is severity)

    def title(self) -> str:
        """Return one line for a message's subject."""
        critical, warning = self.count(Severity.CRITICAL), self.count(Severity.WARNING)
        parts = [f"{critical} new critical"] if critical else []
        if warning:
            parts.append(f"{warning} new warning{_s(warning)}")
        if self.notices:
            things = sum(notice.items for notice in self.notices)
            parts.append(f"{things} thing{_s(things)} about to go by policy")
        if self.cases:
            parts.append(f"{len(self.cases)} request{_s(len(self.cases))} due")
        if self.applied:
            parts.append("news of a policy")
        return f"vlm: {', '.join(parts) or 'nothing new'}"

    def text(self) -> str:
        """Return the message, short enough for every chat."""
        lines = [self.title().removeprefix("vlm: "), ""]
        if self.clock:
            lines += ["The clock of the machine is not plausible, so dates may be wrong.", ""]
        lines += [
            *self._risks(),
            *self.applied,
            *map(_notice, self.notices),
            *(_case(case, self.at) for case in self.cases),
        ]
        where = f"{self.voices} voice{_s(self.voices)}, audit {self.audit[:ID_DIGITS]}"
        end = ["", f"{where}, {self.at:%Y-%m-%d %H:%M} UTC", "look: vlm audit"]
        return "\n".join([*_short(lines, MAX_BYTES), *end])

    def _risks(self) -> Iterator[str]:
        by_cause: dict[tuple[Severity, str], list[Finding]] = {}
        for finding in self.findings:
            by_cause.setdefault((finding.risk.severity, finding.risk.risk), []).append(finding)
        for (severity, risk), found in by_cause.items():
            shown = [self._who(finding) for finding in found[:MAX_IDS]]
            number = self.counts[severity, risk]
            rest = f" and {number - len(shown)} more" if number > len(shown) else ""
            yield f"{severity}  {risk}  {number}: {', '.join(shown)}{rest}"

    def _who(self, finding: Finding) -> str:
        name = finding.risk.voice
        if not name:
            return "this installation"
        return name if self.names else self.ids.get(name, "")[:ID_DIGITS]

    def to_json(self) -> dict[str, object]:
        """Return the news for a command's standard input."""
        return {
            "kind": "vlm.audit",
            "audit": self.audit,
            "at": _stamp(self.at),
            "title": self.title(),
            "text": self.text(),
            "voices": self.voices,
            "counts": {severity.value: self.count(severity) for severity in Severity},
            "clock_plausible": not self.clock,
            "risks": [self._finding(finding) for finding in self.findings[:MAX_FINDINGS]],
            "left_out": sum(self.counts.values()) - len(self.findings[:MAX_FINDINGS]),
            "applied": list(self.applied),
            "notices": [
                {
                    "policy": notice.policy,
                    "rule": notice.rule,
                    "due_at": _stamp(notice.due_at),
                    "items": notice.items,
                    "voices": notice.voices,
                }
                for notice in self.notices
            ],
            "cases": [
                {"id": row.case.uid[:ID_DIGITS], "kind": row.case.kind, "due_on": row.case.due_on.isoformat()}
                for row in self.cases
            ],
        }

    def _finding(self, finding: Finding) -> dict[str, object]:
        risk = finding.risk
        told: dict[str, object] = {
            "id": self.ids.get(risk.voice, "")[:ID_DIGITS] or None,
            "risk": risk.risk,
            "severity": risk.severity.value,
            "since": None if finding.since is None else _stamp(finding.since),
        }
        if self.names:
            told |= {
                "voice": risk.voice or None,
                "owner": finding.owner,
                "message": risk.message,
                "next": risk.next,
            }
        return told


def gather(
    report: AuditReport, *, audit: str, rooms: Rooms, names: bool, applied: AppliedSummary | None = None
) -> News:
    """Collect what nobody was told yet: findings, notices of policies, cases that come due, what a policy did."""
    untold = [f for f in report.findings if not f.accepted and f.notified_at is None]
    today = report.at.date()
    with rooms.registry.read() as uow:
        facts = uow.facts.all()
        due = uow.cases.page(open_only=True, due_by=today + timedelta(days=max(REMIND_DAYS)))
        return News(
            audit=audit,
            at=report.at,
            voices=report.voices,
            findings=untold,
            counts=_counts(untold, report),
            ids=uow.alerts.ids(f.risk.voice for f in untold[: MAX_FINDINGS * 2] if f.risk.voice),
            notices=uow.alerts.untold_notices(),
            cases=[row for row in due if reminds(row.case.due_on, today, told_on=facts.get(_CASES_TOLD))],
            applied=_applied(applied, facts.get(_REFUSAL_TOLD)),
            names=names,
        )


def _counts(untold: Sequence[Finding], report: AuditReport) -> dict[tuple[Severity, str], int]:
    """Count exactly: what is new was never told, though very many of it are not listed one by one."""
    counts: dict[tuple[Severity, str], int] = {}
    for finding in untold:
        key = (finding.risk.severity, finding.risk.risk)
        counts[key] = counts.get(key, 0) + 1
    new = {(tally.severity, tally.risk): tally.new for tally in report.tallies}
    return {key: max(number, new.get(key, 0)) for key, number in counts.items()}


def reminds(due_on: date, today: date, *, told_on: str | None) -> bool:
    """Whether a case is told of today, when people were last told of cases on `told_on`."""
    last = date.min if told_on is None else date.fromisoformat(told_on)
    if today <= last:
        return False
    return today > due_on or any(last < due_on - timedelta(days=n) <= today for n in REMIND_DAYS)


def told(news: News, deliveries: Iterable[Delivery], *, rooms: Rooms) -> None:
    """Note that somebody was told of everything in the news."""
    from lifecycle.services.audits.audit import mark_notified

    mark_notified(news.findings, rooms=rooms)
    arrived = [delivery.target for delivery in deliveries if delivery.ok]
    with rooms.registry.write() as uow:
        uow.alerts.tell_notices(until=news.at, at=rooms.clock())
        uow.facts.put(_CASES_TOLD, news.at.date().isoformat())
        uow.facts.put(_REFUSAL_TOLD, next(iter(news.applied), ""))
        uow.trail.append(
            "audit.notified",
            ids={"audit": news.audit},
            details={
                "targets": arrived,
                "findings": len(news.findings),
                "notices": sum(notice.items for notice in news.notices),
                "cases": len(news.cases),
            },
        )
        uow.commit()


def _applied(summary: AppliedSummary | None, before: str | None) -> list[str]:
    """Return a line about what a policy did, or about a refusal that is another than the last one told."""
    if summary is None:
        return []
    look = f"look: vlm policy plan {summary.policy}"
    if summary.refused is not None:
        line = f'policy "{summary.policy}" was not applied, it needs a person; {look}'
        return [] if line == before else [line]
    if summary.applied is None or not (summary.applied.done or summary.applied.retained):
        return []
    done, kept = len(summary.applied.done), len(summary.applied.retained)
    return [f'policy "{summary.policy}": {done} done, {kept} kept though due']


def _short(lines: Sequence[str], limit: int) -> list[str]:
    """Return as many lines as fit into so many bytes, and how many do not."""
    kept: list[str] = []
    for number, line in enumerate(lines):
        limit -= len(line.encode()) + 1
        if limit < 0:
            return [*kept, f"and {len(lines) - number} more lines"]
        kept.append(line)
    return kept


def _notice(notice: DueNotice) -> str:
    things = f"{notice.items} thing{_s(notice.items)} of {notice.voices} voice{_s(notice.voices)}"
    return f'due  policy "{notice.policy}", {notice.rule}: {things} from {notice.due_at:%Y-%m-%d} on'


def _s(number: int) -> str:
    return "" if number == 1 else "s"


def _case(row: CaseRow, now: datetime) -> str:
    left = (row.case.due_on - now.date()).days
    days = f"{abs(left)} day{_s(abs(left))}"
    when = "today" if left == 0 else f"in {days}" if left > 0 else f"{days} ago"
    return f"case  {row.case.kind} {row.case.uid[:ID_DIGITS]} is due {row.case.due_on}, {when}"


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
