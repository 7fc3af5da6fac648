"""`vlm policy list`, `validate`, `explain`: what policies there are, whether a file is one, and what it means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle.domain.errors import NotFound, UsageError, VlmError
from lifecycle.domain.filters import VoiceFilter
from lifecycle.domain.policies import DESTROYS, Action, IfMissing, Policy, Rule, TimeBase, rule_json
from lifecycle.domain.retention import (
    Circumstances,
    Decision,
    Status,
    decisions,
    last_day,
    retained,
    status_of,
    strongest,
)
from lifecycle.domain.time_bases import NEVER
from lifecycle.domain.voices import DataClass
from lifecycle.services.retention.files import known_policies, load_policy, policy_home, read_policy
from lifecycle.services.retention.history import with_history
from lifecycle.services.retention.survey import Finding, finding_json, waits_for

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.registry.queries.plans import Inventoried


@dataclass(frozen=True, slots=True)
class PolicyList:
    """Every policy that can be named; of a wrong one, what is wrong with it."""

    policies: tuple[tuple[str, Path, Policy | str, int], ...]

    def to_json(self) -> dict[str, object]:
        """Return the list for programs."""
        return {
            "policies": [
                {
                    "name": name,
                    "file": str(path),
                    "version": None if isinstance(policy, str) else policy.version,
                    "rules": None if isinstance(policy, str) else len(policy.rules),
                    "voices": voices,
                    "problem": policy if isinstance(policy, str) else None,
                }
                for name, path, policy, voices in self.policies
            ]
        }

    def lines(self) -> list[str]:
        """Return the list for people."""
        from lifecycle.render.output import columns

        rows = [["policy", "version", "rules", "voices", "file"]]
        for name, path, policy, voices in self.policies:
            if isinstance(policy, str):
                rows.append([name, "-", "-", str(voices), policy])
            else:
                rows.append([name, str(policy.version), str(len(policy.rules)), str(voices), str(path)])
        return columns(rows, titled=True)


def list_policies(*, rooms: Rooms) -> PolicyList:
    """Return the policies that ship and the user's own, with how many voices name each."""
    own = policy_home(rooms)
    with rooms.registry.read() as uow:
        counts = uow.plans.policies()
    found: list[tuple[str, Path, Policy | str, int]] = []
    for name, path in known_policies(own=own):
        try:
            policy: Policy | str = load_policy(name, own=own)
        except VlmError as error:
            policy = error.message
        found.append((name, path, policy, counts.get(name, 0)))
    return PolicyList(tuple(found))


@dataclass(frozen=True, slots=True)
class Validated:
    """What reading some files gave: for each, the policy or the sentence of what is wrong."""

    files: tuple[tuple[Path, Policy | str], ...]

    @property
    def exit_code(self) -> int:
        """0, or 2 where a file is no policy."""
        return UsageError.exit_code if any(isinstance(told, str) for _, told in self.files) else 0

    def to_json(self) -> dict[str, object]:
        """Return the verdicts for programs."""
        wrong = [told for _, told in self.files if isinstance(told, str)]
        body: dict[str, object] = {
            "files": [
                {
                    "file": str(path),
                    "valid": not isinstance(told, str),
                    "policy": None if isinstance(told, str) else told.name,
                    "version": None if isinstance(told, str) else told.version,
                    "problem": told if isinstance(told, str) else None,
                }
                for path, told in self.files
            ]
        }
        if wrong:
            body["error"] = {"code": UsageError.code, "message": wrong[0], "hint": None}
        return body

    def lines(self) -> list[str]:
        """Return the verdicts for people."""
        return [
            told if isinstance(told, str) else f'"{path}" is policy "{told.name}" version {told.version}'
            for path, told in self.files
        ]


def validate(files: Sequence[Path], *, own: Path | None) -> Validated:
    """Read files as policies, each with what it extends; no registry is needed.

    Args:
        own: The user's own policies, which may be extended too.

    Raises:
        NotFound: A file does not exist.
    """
    found: list[tuple[Path, Policy | str]] = []
    for path in files:
        if not path.is_file():
            raise NotFound(f'"{path}" does not exist', hint="vlm policy list")
        try:
            # A file beside the one that is read may be extended as well.
            found.append((path, read_policy(path, own=own)))
        except UsageError as error:
            found.append((path, error.message))
    return Validated(tuple(found))


@dataclass(frozen=True, slots=True)
class Explained:
    """What a policy means, in sentences."""

    policy: Policy

    def to_json(self) -> dict[str, object]:
        """Return the meaning for programs."""
        policy = self.policy
        return {
            "policy": policy.name,
            "version": policy.version,
            "extends": [each.partition(":")[0] for each in policy.lineage[1:]],
            "owner": policy.owner,
            "legal_basis": policy.legal_basis,
            "timezone": policy.timezone,
            "rules": [{**rule_json(rule), "says": rule_says(rule)} for rule in policy.rules],
            "voice": None,
            "findings": [],
            "says": list(policy_says(policy)),
        }

    def lines(self) -> list[str]:
        """Return the meaning for people."""
        policy = self.policy
        more = f", extends {', '.join(policy.lineage[1:])}" if policy.lineage[1:] else ""
        lines = [f'policy "{policy.name}" version {policy.version}{more}: {policy.owner} answers for it']
        lines += [f"  {rule.id}: {rule_says(rule)}" for rule in policy.rules]
        return [*lines, *policy_says(policy)]


@dataclass(frozen=True, slots=True)
class ExplainedVoice:
    """What a policy makes of one voice."""

    policy: Policy
    voice: str
    findings: tuple[Finding, ...]
    retained: tuple[tuple[str, datetime, str], ...]

    def to_json(self) -> dict[str, object]:
        """Return it for programs."""
        return {
            **Explained(self.policy).to_json(),
            "voice": self.voice,
            "findings": [finding_json(each, self.policy) for each in self.findings],
            "says": self.lines(),
        }

    def lines(self) -> list[str]:
        """Return it for people."""
        policy = self.policy
        lines = [f'{self.voice} is kept by policy "{policy.name}" version {policy.version}']
        for each in self.findings:
            decision = each.decision
            action, rule = decision.action.value, decision.rule.id
            if each.status is Status.UNDATED:
                lines.append(f'  {action} by rule "{rule}": never by itself, because {decision.because}')
                continue
            why = f"{decision.because}{_later(decision, policy)}"
            lines.append(f'  {action} by rule "{rule}": {_when(each, policy)}: {why}')
        for data_class, until, rule in self.retained:
            end = (
                "without a known end"
                if until >= NEVER
                else f"until the end of {last_day(until, policy.timezone)}"
            )
            lines.append(f'  {data_class} must be kept {end}, by rule "{rule}"')
        if len(lines) == 1:
            lines.append("  no rule is about it, so everything stays")
        return lines


def _when(finding: Finding, policy: Policy) -> str:
    day = last_day(finding.decision.delete_due, policy.timezone)
    if finding.status is Status.NOT_DUE:
        return f"due at the end of {day}"
    if finding.status.acts:
        return f"due since the end of {day}, and the next plan does it"
    return f"due since the end of {day}, but {waits_for(finding, policy)}"


def _later(decision: Decision, policy: Policy) -> str:
    """Say that retention moved the day, where it did."""
    until, why = decision.retain_until, decision.retain_rule
    if until is None or until != decision.delete_due:
        return ""
    return f'; rule "{why}" retains it until the end of {last_day(until, policy.timezone)}, and that wins'


def explain(name: str, *, own: Path | None) -> Explained:
    """Say what a policy means; no registry is needed.

    Args:
        own: The user's own policies.

    Raises:
        NotFound: There is no such policy.
        UsageError: It is wrong, with file and line.
    """
    return Explained(load_policy(name, own=own))


def explain_voice(voice: str, *, rooms: Rooms, policy: str | None = None) -> ExplainedVoice:
    """Say what a policy makes of a voice: until when it must be kept, when it is due, and why.

    Args:
        policy: Judge by another policy than the voice's own.

    Raises:
        NotFound: There is no such voice or policy.
    """
    now = rooms.clock()
    with rooms.registry.read() as uow:
        named = uow.voices.get(voice).policy
        (found,) = uow.plans.inventory(VoiceFilter(names=(voice,)), now=now)
        rules = load_policy(policy or named, own=policy_home(rooms))
        rules = with_history(rules, uow=uow, now=now)
    return ExplainedVoice(rules, voice, tuple(_judged(rules, found, now)), tuple(_retained(rules, found)))


def _judged(policy: Policy, voice: Inventoried, now: datetime) -> Iterator[Finding]:
    for decision in strongest(decisions(policy, voice.facts)):
        noticed = voice.noticed.get((decision.rule.id, decision.delete_due), {})
        seen = Circumstances(voice.held, voice.used_at, voice.unfinished, noticed)
        status = status_of(decision, policy, voice.facts, now, seen)
        yield Finding(voice.facts.uid, voice.name, decision, status, used_at=voice.used_at)


def _retained(policy: Policy, voice: Inventoried) -> Iterator[tuple[str, datetime, str]]:
    for data_class in DataClass:
        until, rule = retained(policy, voice.facts, [data_class])
        if until is not None and rule is not None:
            yield data_class.value, until, rule


def due_at_once(voice: str, *, rooms: Rooms) -> list[str]:
    """Return what a voice's policy makes due now, one sentence each; for whoever just changed it."""
    told = explain_voice(voice, rooms=rooms)
    return [
        f'by policy "{told.policy.name}" {each.decision.action.value} of {voice} is due since the end of '
        f"{last_day(each.decision.delete_due, told.policy.timezone)}: vlm policy explain --voice {voice}"
        for each in told.findings
        if each.status not in {Status.NOT_DUE, Status.UNDATED}
    ]


_DOES = {
    Action.PURGE_AUDIO: "their recordings and all that was made from them are destroyed; the model stays",
    Action.ERASE: "they are erased: the model, the name, everything but evidence and the trail",
    Action.RETIRE: "they are retired; every file stays",
    Action.REVIEW: "somebody has to decide; nothing is done by itself",
}
_FROM = {
    TimeBase.RECORDED: "after the oldest of it was recorded",
    TimeBase.REGISTERED: "after the oldest of it was registered",
    TimeBase.CONSENT_GIVEN: "after the last consent was given",
    TimeBase.CONSENT_ENDED: "after the consent ended",
    TimeBase.CONSENT_WITHDRAWN: "after the consent was withdrawn",
    TimeBase.LAST_USED: "after the voice was last used",
    TimeBase.CONTRACT_ENDED: "after the contract ended",
    TimeBase.RETIRED: "after the voice was retired",
}


def rule_says(rule: Rule) -> str:
    """Return a rule as a sentence."""
    about, since = rule.applies_to, _FROM[rule.time_base]
    who = f"{'/'.join(about.states)} voices with {' or '.join(about.classes)}"
    who += f" of {', '.join(about.owners)}" if about.owners else ""
    who += f" whose consent is for {', '.join(about.consent_scope)}" if about.consent_scope else ""
    parts = []
    if rule.retain_min is not None:
        parts.append(f"it is kept at least {rule.retain_min.words()} {since}")
    if rule.delete_after is not None and rule.action is not None:
        grace = f", retired first and then given {rule.grace.words()}" if rule.grace.least_days else ""
        parts.append(f"{rule.delete_after.words()} {since} {_DOES[rule.action]}{grace}")
    if rule.if_time_base_missing is IfMissing.OLDEST:
        parts.append("where that moment is not known, the oldest known one counts")
    return f"{who}: {'; '.join(parts)}"


def policy_says(policy: Policy) -> Iterator[str]:
    """Yield what a policy says besides its rules."""
    limits = policy.limits
    if policy.enabled_from is not None:
        yield f"  nothing is done before {policy.enabled_from}"
    if policy.notices:
        stages = ", ".join(each.words() for each in policy.notices)
        last = min(policy.notices, key=lambda each: each.least_days).words()
        yield f"  notice is given {stages} before; the last must be {last} old before anything is done"
    yield (
        f"  one run acts on at most {limits.max_items_per_run} voices, {limits.max_bytes_per_run} bytes and "
        f"{limits.max_fraction_of_store} of the store"
    )
    if policy.needed_above is not None:
        yield f"  more than {policy.needed_above} voices at once need somebody's approval"
    yield f"  days begin and end in {policy.timezone}; legal basis: {policy.legal_basis}"
    if any(DESTROYS[rule.action] for rule in policy.rules if rule.action is not None):
        yield f"  what is due now: vlm policy plan --policy {policy.name}"
