"""What a policy makes of one voice: until when it must be kept, since when it is due, and why; pure rules.

Days are days of the policy's time zone and count to their end; what is compared and stored is UTC. Two moments are
computed apart from each other, `retain_until` and `delete_due`, and the first always wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from lifecycle.domain.policies import DESTROYS, Action, Earlier, Period, Policy, Rule, TimeBase
from lifecycle.domain.time_bases import NEVER, Base, Facts, about, base_of, local_day, zone_of
from lifecycle.domain.voices import DataClass, State


@dataclass(frozen=True, slots=True)
class Decision:
    """What one rule says about one voice.

    Attributes:
        base: The moment it counts from; None where nobody knows it and the rule refuses to guess.
        substituted: That moment is the oldest known one, because the rule's own is not known.
        retain_until: Until when something that the action would destroy must be kept; None: nothing must.
        retain_rule: The rule that says so.
        delete_due: When the action is due; `NEVER` while it is retained without an end or undated.
        because: The reason, as one clause for people.
    """

    rule: Rule
    action: Action
    base: datetime | None
    substituted: bool
    retain_until: datetime | None
    retain_rule: str | None
    delete_due: datetime
    count: int
    size_bytes: int
    because: str


class Status(StrEnum):
    """What stands between a decision and its action."""

    NOT_DUE = "not_due"
    UNDATED = "undated"
    HELD = "held"
    IN_USE = "in_use"
    UNFINISHED = "unfinished_purge"
    NOT_ENABLED = "not_enabled"
    REVIEW = "review"
    NOTICE = "notice"
    GRACE = "grace"
    QUARANTINE = "quarantine"
    ACT = "act"

    @property
    def acts(self) -> bool:
        """Whether applying a plan does something."""
        return self in {Status.QUARANTINE, Status.ACT}


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What may stand in the way of an action.

    Attributes:
        held: A hold covers the voice.
        used_at: Places that claim to use it now.
        unfinished: A purge of it was begun and not finished.
        noticed: For each notice that was given about this rule and this due time, when.
    """

    held: bool = False
    used_at: tuple[str, ...] = ()
    unfinished: bool = False
    noticed: Mapping[str, datetime] = field(default_factory=dict)


def decisions(policy: Policy, facts: Facts, *, horizon: datetime | None = None) -> list[Decision]:
    """Return what each rule with an action says about a voice; nothing where a rule is not about it.

    Args:
        horizon: Leave out, cheaply, what cannot be due by then.
    """
    found = []
    for rule in policy.rules:
        if rule.action is None or rule.delete_after is None or not about(rule, facts):
            continue
        kept = [each for each in facts.kept if each.data_class in rule.applies_to.classes and each.count]
        bases = [base for each in kept if (base := base_of(rule, facts, each)) is not None]
        if not bases:
            continue
        if horizon is not None:
            fewest = min(
                [rule.delete_after.least_days, *(e.delete_after.least_days for e in _before(policy, rule))]
            )
            if all(_surely_later(base, fewest, horizon) for base in bases):
                continue
        found.append(_decision(policy, rule, facts, bases))
    return found


def retained(
    policy: Policy, facts: Facts, classes: Iterable[DataClass]
) -> tuple[datetime | None, str | None]:
    """Return until when anything of these classes must be kept, and the rule that says so."""
    wanted, latest, why = frozenset(classes), None, None
    for rule in policy.rules:
        if rule.retain_min is None or not about(rule, facts):
            continue
        for each in facts.kept:
            if (
                each.data_class not in wanted
                or each.data_class not in rule.applies_to.classes
                or not each.count
            ):
                continue
            base = base_of(rule, facts, each)
            # Where the moment is not known, or has not come, keeping has no end yet.
            known = base is not None and base.first is not None
            end = end_of(base.last, rule.retain_min, policy.timezone) if known and base is not None else NEVER
            if latest is None or end > latest:
                latest, why = end, rule.id
    return latest, why


def status_of(decision: Decision, policy: Policy, facts: Facts, now: datetime, seen: Circumstances) -> Status:
    """Say what stands between a decision and its action; a hold and a live use come before everything."""
    if decision.base is None:
        return Status.UNDATED
    if now < decision.delete_due:
        return Status.NOT_DUE
    for hindered, status in (
        (seen.held, Status.HELD),
        (bool(seen.used_at), Status.IN_USE),
        (seen.unfinished, Status.UNFINISHED),
        (policy.enabled_from is not None and now < _starts(policy), Status.NOT_ENABLED),
        (decision.action is Action.REVIEW, Status.REVIEW),
        (now < (notice_over(policy, seen.noticed) or NEVER), Status.NOTICE),
    ):
        if hindered:
            return status
    if decision.rule.grace == Period():
        return Status.ACT
    if facts.state is not State.RETIRED:
        return Status.QUARANTINE
    return Status.GRACE if now < grace_over(decision, policy, facts) else Status.ACT


def notice_over(policy: Policy, noticed: Mapping[str, datetime]) -> datetime | None:
    """Return from when on the notices no longer stand in the way; None while the last one was not given."""
    if not policy.notices:
        return datetime.min.replace(tzinfo=UTC)
    last = min(policy.notices, key=lambda each: each.least_days)
    given = noticed.get(str(last))
    return None if given is None else _safely_after(given, last)


def notices_due(
    decision: Decision, policy: Policy, now: datetime, noticed: Mapping[str, datetime]
) -> list[str]:
    """Return the notices that should have been given by now and were not, the earliest first."""
    if decision.base is None or decision.action is Action.REVIEW or decision.delete_due >= NEVER:
        return []
    zone = zone_of(policy.timezone)
    # What is due at the end of a day lies in that day.
    day = (decision.delete_due - timedelta(microseconds=1)).astimezone(zone).date()
    missing = []
    for period in sorted(policy.notices, key=lambda each: -each.least_days):
        begins = datetime.combine(_safely_before(day, period), time(), zone).astimezone(UTC)
        if begins <= now and str(period) not in noticed:
            missing.append(str(period))
    return missing


def grace_over(decision: Decision, policy: Policy, facts: Facts) -> datetime:
    """Return when the grace of a voice that was retired for this is over."""
    begun = max(facts.retired_at or facts.changed_at, decision.delete_due)
    return end_of(begun, decision.rule.grace, policy.timezone)


def end_of(moment: datetime, period: Period, timezone: str) -> datetime:
    """Return, in UTC, the end of the day on which a period is over that began on the day of `moment`.

    Days are those of the zone. The end of a day is the first instant of the next one, also where the clock jumps
    over midnight there.
    """
    zone = zone_of(timezone)
    try:
        last = period.after_date(moment.astimezone(zone).date())
        following = last + timedelta(days=1)
        return datetime.combine(following, time(), zone).astimezone(UTC)
    except OverflowError:
        return NEVER


def _surely_later(base: Base, fewest_days: int, horizon: datetime) -> bool:
    return base.first is not None and (horizon - base.first).days < fewest_days - 1


def _decision(policy: Policy, rule: Rule, facts: Facts, bases: Sequence[Base]) -> Decision:
    assert rule.action is not None
    assert rule.delete_after is not None
    gone = DESTROYS[rule.action] or frozenset(rule.applies_to.classes)
    doomed = [each for each in facts.kept if each.data_class in gone]
    until, why = retained(policy, facts, DESTROYS[rule.action])
    known = [base.first for base in bases if base.first is not None]
    undated = len(known) < len(bases)
    # The things of a voice go together, so the first that is due decides; what must be retained outranks it.
    first = min(known, default=None)
    due = end_of(first, rule.delete_after, policy.timezone) if first is not None and not undated else NEVER
    substituted = any(base.substituted for base in bases if base.first == first)
    because = _because(rule, first if not undated else None, policy.timezone, substituted=substituted)
    if first is not None and not undated:
        for each in _before(policy, rule):
            was = end_of(first, each.delete_after, policy.timezone)
            if was < due and (was <= each.until or _promised(rule, facts, each.until)):
                due = was
                words = each.delete_after.words()
                because = f"{because}; version {each.version} allowed {words}, and that still counts"
    return Decision(
        rule=rule,
        action=rule.action,
        base=None if undated else first,
        substituted=substituted,
        retain_until=until,
        retain_rule=why,
        delete_due=due if until is None else max(due, until),
        count=sum(each.count for each in doomed),
        size_bytes=sum(each.size_bytes for each in doomed),
        because=because,
    )


def _before(policy: Policy, rule: Rule) -> list[Earlier]:
    """Return what a rule said in earlier versions, counted from the same moment."""
    return [each for each in policy.earlier if each.rule == rule.id and each.time_base is rule.time_base]


def _promised(rule: Rule, facts: Facts, until: datetime) -> bool:
    """Whether a person agreed while an earlier version was in force: what it promised them stands."""
    bound = rule.time_base in {TimeBase.CONSENT_GIVEN, TimeBase.CONSENT_ENDED, TimeBase.CONSENT_WITHDRAWN}
    return bound and any(c.received_at <= until for given in facts.consents.values() for c in given)


_SAYS: Mapping[TimeBase, tuple[str, str]] = {
    TimeBase.RECORDED: ("the oldest was recorded {0}", "when it was recorded"),
    TimeBase.REGISTERED: ("the oldest was registered {0}", "when it was registered"),
    TimeBase.CONSENT_GIVEN: ("the consent was given {0}", "when a consent was given"),
    TimeBase.CONSENT_ENDED: ("the consent ends or ended {0}", "when a consent ended"),
    TimeBase.CONSENT_WITHDRAWN: ("the consent was withdrawn {0}", "when a consent was withdrawn"),
    TimeBase.LAST_USED: ("the voice was last used {0}", "when the voice was last used"),
    TimeBase.CONTRACT_ENDED: ("the contract ends or ended {0}", "when the contract ends"),
    TimeBase.RETIRED: ("the voice was retired {0}", "when the voice was retired"),
}


def _because(rule: Rule, base: datetime | None, timezone: str, *, substituted: bool) -> str:
    event, unknown = _SAYS[rule.time_base]
    if base is None:
        return f"nobody knows {unknown}, and the rule refuses to guess"
    day = local_day(base, timezone)
    said = (
        f"{unknown} is not known, so its oldest known moment counts, {day}"
        if substituted
        else event.format(day)
    )
    words = "" if rule.delete_after is None else rule.delete_after.words()
    one = words.startswith("1 ") and words.count(" ") == 1
    return f"{said}, and {words} is allowed" if one else f"{said}, and {words} are allowed"


def last_day(due: datetime, timezone: str) -> date:
    """Return the last day on which something may still be there, for a moment that is the end of a day."""
    return local_day(due - timedelta(microseconds=1), timezone)


def strongest(found: Iterable[Decision]) -> Iterator[Decision]:
    """Yield decisions, the one that destroys most first, then the one that is due first."""
    order = list(Action)
    yield from sorted(found, key=lambda each: (-order.index(each.action), each.delete_due, each.rule.id))


def _starts(policy: Policy) -> datetime:
    assert policy.enabled_from is not None
    return datetime.combine(policy.enabled_from, time(), zone_of(policy.timezone)).astimezone(UTC)


def _safely_after(moment: datetime, period: Period) -> datetime:
    try:
        return period.after(moment)
    except OverflowError:
        return NEVER


def _safely_before(day: date, period: Period) -> date:
    try:
        return period.before_date(day)
    except OverflowError:
        return date.min + timedelta(days=2)
