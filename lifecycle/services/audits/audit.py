"""Look at every voice, find what is at risk, and remember what was found."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING

from lifecycle.bootstrap import Rooms
from lifecycle.domain.errors import UsageError
from lifecycle.domain.failpoints import hit
from lifecycle.domain.filters import ALL, GROUPS, VoiceFilter
from lifecycle.domain.risks import Severity
from lifecycle.registry.queries.risks import AcceptedRow
from lifecycle.services.audits.look import Answer, Question, look, note
from lifecycle.services.audits.report import AuditReport, Scrub, Scrubbed
from lifecycle.services.audits.scrub import SCRUBBED_ON, Damages
from lifecycle.services.audits.scrub import scrub as read_again
from lifecycle.services.backups.advice import advice
from lifecycle.services.retention.files import load_policies, policy_home
from lifecycle.services.retention.history import with_history
from lifecycle.watch.report import FAIL_ON, LISTED, Finding, exit_code
from lifecycle.watch.rules import RISKS
from lifecycle.watch.snapshot import Snapshot

__all__ = ["AcceptedRisk", "AuditReport", "Scrub", "Scrubbed", "accept", "audit", "mark_notified"]

if TYPE_CHECKING:
    from lifecycle.registry.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class AcceptedRisk:
    """A risk that somebody accepted."""

    risk: str
    voice: str | None
    until: datetime

    def to_json(self) -> Mapping[str, object]:
        """Return the acceptance for programs."""
        return {
            "risk": self.risk,
            "voice": self.voice,
            "until": self.until.isoformat().replace("+00:00", "Z"),
        }


def audit(
    *,
    rooms: Rooms,
    commands: Collection[str],
    fail_on: str = "warning",
    only_new: bool = False,
    scheduled: bool = False,
    filter: VoiceFilter = ALL,  # noqa: A002 - what it is called everywhere
    group_by: str | None = None,
    scrub: Scrub | str = Scrub.ALL,
) -> AuditReport:
    """Hash stored files again, apply every rule, and put the numbers on the trail.

    Args:
        commands: Every command that exists; a risk whose cure is none of them is not reported.
        fail_on: "critical", "warning" or "never": from which severity on the exit code is 10 or 11.
        only_new: List only what no audit found before.
        scheduled: Like `only_new`, and say nothing where nothing is new.
        filter: Look at these voices only.
        group_by: One of `lifecycle.domain.filters.GROUPS`: count by that as well.
        scrub: "all" reads every stored file again, "due" those whose turn it is, "none" none.

    Raises:
        UsageError: `fail_on`, `group_by` or `scrub` is another word.
    """
    if fail_on not in FAIL_ON:
        raise UsageError(f'--fail-on is "{fail_on}"; it can be {", ".join(FAIL_ON)}', hint="vlm audit --help")
    if group_by is not None and group_by not in GROUPS:
        raise UsageError(
            f'"{group_by}" is nothing to group by; {", ".join(GROUPS)} are', hint="vlm audit --help"
        )
    begun, mode = rooms.clock(), _mode(scrub)
    with rooms.registry.read() as uow:
        damages = read_again(mode, filter, uow=uow, rooms=rooms)
        question = _question(
            uow, rooms, damages, commands=commands, wanted=filter, only_new=only_new or scheduled, by=group_by
        )
        answer = look(question, uow=uow, progress=rooms.progress)
    if rooms.writable:
        _remember(question, answer, damages, rooms, scheduled=scheduled)
    listed, tallies = tuple(answer.reported()), tuple(answer.tallies())
    return AuditReport(
        findings=tuple(answer.findings()),
        listed=listed,
        tallies=tallies,
        voices=answer.voices,
        seconds=(rooms.clock() - begun).total_seconds(),
        at=begun,
        code=exit_code(tallies, fail_on=fail_on),
        accepted_until=min((row.until for row in question.accepted), default=None),
        quiet=scheduled and not any(t.reported for t in tallies if t.severity is not Severity.NOTICE),
        scrubbed=damages.scrubbed,
        filter=filter,
        group_by=group_by,
        sections=tuple(answer.sections()),
    )


def _mode(scrub: Scrub | str) -> Scrub:
    words = [mode.value for mode in Scrub]
    if scrub not in words:
        raise UsageError(f'--scrub is "{scrub}"; it can be {", ".join(words)}', hint="vlm audit --help")
    return Scrub(scrub)


def _question(
    uow: UnitOfWork,
    rooms: Rooms,
    damages: Damages,
    *,
    commands: Collection[str],
    wanted: VoiceFilter,
    only_new: bool,
    by: str | None,
) -> Question:
    now = rooms.clock()
    policies, lost = load_policies(uow.audits.policies(wanted), own=policy_home(rooms))
    snapshot = Snapshot(
        voices=(),
        now=now,
        default_torch=rooms.settings.default_torch,
        commands=commands,
        runtimes=[runtime.torch for runtime in rooms.runtimes.list()],
        highest_seen=rooms.vault.anchor.highest_time,
        copies=tuple(advice(rooms)),
    )
    return Question(
        snapshot=snapshot,
        policies={name: with_history(policy, uow=uow, now=now) for name, policy in policies.items()},
        policies_lost=lost,
        accepted=uow.risks.accepted(now=now),
        damaged=damages.by_digest,
        wanted=wanted,
        only_new=only_new,
        group_by=by,
        limit=LISTED,
    )


def _remember(question: Question, answer: Answer, damages: Damages, rooms: Rooms, *, scheduled: bool) -> None:
    """Note what was found, and put the numbers on the trail; no voice is named there."""
    with rooms.registry.write() as uow:
        note(question, answer, uow=uow)
        if damages.day is not None:
            uow.facts.put(SCRUBBED_ON, damages.day.isoformat())
        uow.trail.append(
            "audit",
            details={
                "voices": answer.voices,
                "found": {f"{tally.risk}/{tally.severity}": tally.found for tally in answer.tallies()},
                "scrub": damages.scrubbed.mode.value,
                "scheduled": scheduled,
            },
        )
        hit("audit.before_commit")
        uow.commit()


def mark_notified(findings: Iterable[Finding], *, rooms: Rooms) -> None:
    """Note that somebody was told of findings, so that no later audit calls them untold."""
    keys = [(f.risk.voice, f.risk.risk, f.risk.severity.value) for f in findings]
    with rooms.registry.write() as uow:
        uow.findings.told(keys, at=rooms.clock())
        uow.commit()


def accept(
    risk: str, name: str | None, *, until: date, reason: str, rooms: Rooms, dry_run: bool = False
) -> AcceptedRisk:
    """Accept a risk until the end of a day; it is counted from then on and not listed.

    Args:
        risk: A word of `RISKS`.
        name: The voice; None for every voice.
        until: The last day, in UTC.
        reason: Why; kept sealed.

    Raises:
        UsageError: The risk is unknown, the day is past, or there is no reason.
        NotFound: There is no such voice.
    """
    if risk not in RISKS:
        raise UsageError(f'"{risk}" is not a risk', hint=f"one of: {', '.join(RISKS)}")
    end = datetime.combine(until, time(23, 59, 59), UTC)
    if end <= rooms.clock():
        raise UsageError(f"{until} is past", hint=f"vlm audit accept {risk} --until DATE --reason TEXT")
    if not reason.strip():
        raise UsageError(
            "an acceptance needs a reason", hint=f"vlm audit accept {risk} --until DATE --reason TEXT"
        )
    accepted = AcceptedRisk(risk, name, end)
    with rooms.registry.read() as uow:
        uid = None if name is None else uow.voices.get(name).uid
    if dry_run:
        return accepted
    row = AcceptedRow(
        uid=rooms.new_uid(),
        risk=risk,
        voice_uid=uid,
        until=end,
        reason=rooms.vault.keys.seal_text(None, reason),
        at=rooms.clock(),
    )
    with rooms.registry.write() as uow:
        uow.risks.accept(row)
        uow.trail.append(
            "audit.accept",
            voice_uid=uid,
            ids={"acceptance": row.uid},
            details={"risk": risk, "until": until.isoformat(), "reason": reason},
        )
        uow.commit()
    return accepted
