"""Look at every voice that a policy is about, and say what is due, what waits, and why; changes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from lifecycle.domain.canonical import Json, canonical_json
from lifecycle.domain.filters import VoiceFilter
from lifecycle.domain.policies import Action, Period, Policy
from lifecycle.domain.retention import (
    Circumstances,
    Decision,
    Status,
    decisions,
    end_of,
    grace_over,
    last_day,
    notice_over,
    notices_due,
    status_of,
    strongest,
)
from lifecycle.domain.time_bases import NEVER
from lifecycle.registry.times import maybe_text, to_text

if TYPE_CHECKING:
    from lifecycle.registry.queries.plans import Inventoried
    from lifecycle.registry.unit_of_work import UnitOfWork

_SLICE = 500


@dataclass(frozen=True, slots=True)
class Finding:
    """What a policy says about one voice, by one rule.

    Attributes:
        missing: Notices that should have been given by now and were not.
        earliest: From when on a notice or a grace no longer stands in the way, where that is known.
        digest: Of all that the decision was made from.
    """

    voice_uid: str
    voice: str
    decision: Decision
    status: Status
    missing: tuple[str, ...] = ()
    earliest: datetime | None = None
    used_at: tuple[str, ...] = ()
    digest: str = ""

    @property
    def does(self) -> Action:
        """What applying the plan does now: a voice in quarantine is only retired."""
        return Action.RETIRE if self.status is Status.QUARANTINE else self.decision.action

    @property
    def destroyed_bytes(self) -> int:
        """How much goes now."""
        return 0 if self.does in {Action.RETIRE, Action.REVIEW} else self.decision.size_bytes


@dataclass(frozen=True, slots=True)
class Survey:
    """What a policy says now.

    Attributes:
        matched: Voices that were looked at.
        acts: What would be done, one for each voice, by name.
        waits: What is due and waits, and what is due soon.
        missing: Findings whose notice was not given.
    """

    matched: int
    acts: tuple[Finding, ...]
    waits: tuple[Finding, ...]
    missing: tuple[Finding, ...]
    digest: str


def survey(policy: Policy, wanted: VoiceFilter, *, uow: UnitOfWork, now: datetime) -> Survey:
    """Judge every voice that names the policy and is meant.

    Args:
        wanted: Which voices; those of other policies are never looked at.
        now: The moment to judge at; the same facts and the same moment give the same digest.
    """
    matched, found = 0, []
    longest = max(policy.notices, key=lambda each: each.least_days, default=Period())
    # Nothing that is due later has a notice to give; a few days more, because months differ in length.
    horizon = end_of(now, Period(longest.years, longest.months, longest.days + 4), policy.timezone)
    for voice in uow.plans.inventory(wanted, now=now):
        matched += 1
        found += _findings(policy, voice, now, horizon)
    return _survey(policy, found, matched)


def renewed(old: Survey, names: Sequence[str], policy: Policy, *, uow: UnitOfWork, now: datetime) -> Survey:
    """Judge some voices of a survey again, and leave the others as they were judged."""
    found = [each for each in (*old.acts, *old.waits) if each.voice not in set(names)]
    for start in range(0, len(names), _SLICE):
        wanted = VoiceFilter(names=tuple(names[start : start + _SLICE]), policy=policy.name)
        again = survey(policy, wanted, uow=uow, now=now)
        found += [*again.acts, *again.waits]
    return _survey(policy, found, old.matched)


def _survey(policy: Policy, found: list[Finding], matched: int) -> Survey:
    ordered = sorted(found, key=lambda each: (each.voice, each.decision.rule.id))
    return Survey(
        matched=matched,
        acts=tuple(each for each in ordered if each.status.acts),
        waits=tuple(each for each in ordered if not each.status.acts),
        missing=tuple(each for each in ordered if each.missing),
        digest=_digest(policy, ordered),
    )


def _findings(policy: Policy, voice: Inventoried, now: datetime, horizon: datetime) -> list[Finding]:
    """Return what is due or soon due; where a rule acts, weaker ones on the same voice say nothing."""
    found: list[Finding] = []
    for decision in strongest(decisions(policy, voice.facts, horizon=horizon)):
        noticed = voice.noticed.get((decision.rule.id, decision.delete_due), {})
        seen = Circumstances(voice.held, voice.used_at, voice.unfinished, noticed)
        status = status_of(decision, policy, voice.facts, now, seen)
        missing = tuple(notices_due(decision, policy, now, noticed))
        if status is Status.NOT_DUE and not missing and not noticed:
            continue
        if any(each.status.acts for each in found) and status is not Status.UNDATED:
            continue
        found.append(
            Finding(
                voice_uid=voice.facts.uid,
                voice=voice.name,
                decision=decision,
                status=status,
                missing=missing,
                earliest=_earliest(decision, policy, voice, status, noticed),
                used_at=voice.used_at,
                digest=_voice_digest(policy, voice, decision),
            )
        )
    return found


def _earliest(
    decision: Decision,
    policy: Policy,
    voice: Inventoried,
    status: Status,
    noticed: Mapping[str, datetime],
) -> datetime | None:
    if status is Status.NOTICE:
        return notice_over(policy, noticed)
    if status is Status.GRACE:
        return grace_over(decision, policy, voice.facts)
    return decision.delete_due if status is Status.NOT_DUE else None


def _voice_digest(policy: Policy, voice: Inventoried, decision: Decision) -> str:
    """Return the digest of what the decision was made from; when a voice last spoke counts by the decision only."""
    facts = voice.facts
    body: dict[str, Json] = {
        "policy": policy.digest(),
        "rule": decision.rule.id,
        "due_at": to_text(decision.delete_due),
        "retain_until": maybe_text(decision.retain_until),
        "voice": facts.uid,
        "state": facts.state.value,
        "retired_at": maybe_text(facts.retired_at),
        "kept": [
            [
                each.data_class.value,
                each.count,
                each.size_bytes,
                to_text(each.registered.first),
                to_text(each.registered.last),
                to_text(each.recorded.first),
                to_text(each.recorded.last),
            ]
            for each in facts.kept
        ],
        "consents": [
            [each.uid, maybe_text(each.valid_until), maybe_text(each.withdrawn_at)]
            for given in facts.consents.values()
            for each in given
        ],
        "held": voice.held,
        "used": len(voice.used_at),
        "unfinished": voice.unfinished,
    }
    return "sha256:" + hashlib.sha256(canonical_json(body)).hexdigest()


def _digest(policy: Policy, found: list[Finding]) -> str:
    """Return the digest of all that is due: who, what, why, and what stands in the way."""
    rows: list[Json] = [
        [each.voice_uid, each.decision.rule.id, each.does.value, each.status.value, each.digest]
        for each in sorted(found, key=lambda each: (each.voice_uid, each.decision.rule.id))
        if each.status is not Status.NOT_DUE
    ]
    body: list[Json] = [policy.digest(), rows]
    return "sha256:" + hashlib.sha256(canonical_json(body)).hexdigest()


_WAITS: Mapping[Status, str] = {
    Status.UNDATED: "its moment is not known",
    Status.HELD: "a hold forbids it",
    Status.UNFINISHED: "a purge was begun and not finished",
    Status.NOT_ENABLED: "the policy is not enabled yet",
    Status.REVIEW: "somebody has to decide",
}


def waits_for(finding: Finding, policy: Policy) -> str:
    """Return, in one clause, what stands between a finding and its action."""
    status = finding.status
    if status is Status.IN_USE:
        return f"in use at {', '.join(finding.used_at[:3])}"
    if status is Status.NOT_ENABLED and policy.enabled_from is not None:
        return f"the policy is enabled from {policy.enabled_from} on"
    if status is Status.NOT_DUE:
        return f"due at the end of {last_day(finding.decision.delete_due, policy.timezone)}"
    if status is Status.GRACE and finding.earliest is not None:
        return f"retired for it, its grace ends with {last_day(finding.earliest, policy.timezone)}"
    if status is Status.NOTICE:
        last = min(policy.notices, key=lambda each: each.least_days)
        when = f", so nothing before {finding.earliest:%Y-%m-%d %H:%M} UTC" if finding.earliest else ""
        return f"its notice has to be {last.words()} old{when}"
    return _WAITS.get(status, "")


def finding_json(finding: Finding, policy: Policy) -> dict[str, object]:
    """Return a finding for programs."""
    decision = finding.decision
    undated = decision.delete_due >= NEVER
    return {
        "voice": finding.voice,
        "action": finding.does.value,
        "rule": decision.rule.id,
        "status": finding.status.value,
        "files": decision.count,
        "size": finding.destroyed_bytes,
        "due_since": None if undated else _stamp(decision.delete_due),
        "due_on": None if undated else str(last_day(decision.delete_due, policy.timezone)),
        "retain_until": None if decision.retain_until in {None, NEVER} else _stamp(decision.retain_until),
        "because": decision.because,
        "waits_for": waits_for(finding, policy) or None,
        "earliest": None if finding.earliest is None else _stamp(finding.earliest),
    }


def _stamp(moment: datetime | None) -> str | None:
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")
