"""Policies as values: how long which class of things lives, counted from which moment, and what happens then.

The YAML form is read by `lifecycle/domain/policy_reader.py`; what a policy makes of one voice is
`lifecycle/domain/retention.py`. Every key is described in docs/reference/policy.md.
"""

from __future__ import annotations

import calendar
import hashlib
import re
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from lifecycle.domain.canonical import Json, canonical_json
from lifecycle.domain.voices import DataClass, State

_PERIOD = re.compile(r"P(?=\d)(?:(\d{1,3})Y)?(?:(\d{1,4})M)?(?:(\d{1,4})W)?(?:(\d{1,5})D)?")


@dataclass(frozen=True, slots=True)
class Period:
    """A span of the calendar. Source: ISO 8601 durations without a time of day."""

    years: int = 0
    months: int = 0
    days: int = 0

    @classmethod
    def parse(cls, text: str) -> Period:
        """Read `P5Y`, `P18M`, `P2W`, `P90D` or a combination in that order.

        Raises:
            ValueError: Any other form.
        """
        match = _PERIOD.fullmatch(text)
        if match is None:
            raise ValueError(f'"{text[:40]}" is not a period such as P90D, P18M or P5Y')
        years, months, weeks, days = (int(part or 0) for part in match.groups())
        return cls(years, months, weeks * 7 + days)

    def after(self, moment: datetime) -> datetime:
        """Return the moment that lies this far later; a day that a month lacks becomes its last.

        Raises:
            OverflowError: The year would be past 9999.
        """
        return datetime.combine(self.after_date(moment.date()), moment.timetz())

    def after_date(self, day: date) -> date:
        """Return the day that lies this far later: P1Y after a 29 February is a 28 February.

        Raises:
            OverflowError: The year would be past 9999.
        """
        year, month = self._shifted(day, 1)
        if year > 9999:
            raise OverflowError("the period ends after the year 9999")
        last = calendar.monthrange(year, month)[1]
        return date(year, month, min(day.day, last)) + timedelta(days=self.days)

    def before_date(self, day: date) -> date:
        """Return the day that lies this far earlier, by the same rules.

        Raises:
            OverflowError: The year would be before 1.
        """
        year, month = self._shifted(day, -1)
        if year < 1:
            raise OverflowError("the period begins before the year 1")
        last = calendar.monthrange(year, month)[1]
        return date(year, month, min(day.day, last)) - timedelta(days=self.days)

    def _shifted(self, day: date, sign: int) -> tuple[int, int]:
        months = day.year * 12 + day.month - 1 + sign * (self.years * 12 + self.months)
        return months // 12, months % 12 + 1

    @property
    def least_days(self) -> int:
        """The fewest days that it can be, wherever it begins."""
        return self.years * 365 + self.months * 28 + self.days

    def words(self) -> str:
        """Return it in words: "5 years", "1 year 6 months"."""
        parts = ((self.years, "year"), (self.months, "month"), (self.days, "day"))
        return " ".join(f"{n} {unit}{'s' if n != 1 else ''}" for n, unit in parts if n) or "0 days"

    def __str__(self) -> str:
        parts = ((self.years, "Y"), (self.months, "M"), (self.days, "D"))
        return "P" + ("".join(f"{n}{unit}" for n, unit in parts if n) or "0D")


class TimeBase(StrEnum):
    """From which moment a rule counts. Times of files are never one: a copy or a backup changes them."""

    RECORDED = "recorded_at"
    REGISTERED = "registered_at"
    CONSENT_GIVEN = "consent_given_at"
    CONSENT_ENDED = "consent_ended_at"
    CONSENT_WITHDRAWN = "consent_withdrawn_at"
    LAST_USED = "last_used_at"
    CONTRACT_ENDED = "contract_ended_at"
    RETIRED = "retired_at"


class IfMissing(StrEnum):
    """What a rule does with a thing whose moment nobody knows."""

    REFUSE = "refuse"
    OLDEST = "treat_as_oldest_known"


class Action(StrEnum):
    """What is done with what is due; the later in this list, the more is gone."""

    REVIEW = "review"
    RETIRE = "retire"
    PURGE_AUDIO = "purge_audio"
    ERASE = "erase"


#: The classes that an action destroys; see docs/explanation/classes.md.
DESTROYS: dict[Action, frozenset[DataClass]] = {
    Action.REVIEW: frozenset(),
    Action.RETIRE: frozenset(),
    Action.PURGE_AUDIO: frozenset({DataClass.SOURCE, DataClass.TEMPLATE}),
    Action.ERASE: frozenset({DataClass.SOURCE, DataClass.TEMPLATE, DataClass.MODEL}),
}

_LIVING = (State.ACTIVE, State.DEPRECATED, State.RETIRED)
#: The states in which a voice can be for an action, or for a rule that only retains (None).
STATES: dict[Action | None, tuple[State, ...]] = {
    None: _LIVING,
    Action.REVIEW: _LIVING,
    Action.RETIRE: (State.ACTIVE, State.DEPRECATED),
    Action.PURGE_AUDIO: _LIVING,
    Action.ERASE: (State.RETIRED,),
}


#: Moments that are always known: each file has a registration, and what nobody withdrew was not withdrawn.
NEVER_MISSING = frozenset({TimeBase.REGISTERED, TimeBase.CONSENT_WITHDRAWN})


@dataclass(frozen=True, slots=True)
class AppliesTo:
    """Which things a rule is about.

    Attributes:
        classes: Classes of data; a voice without any of them is not touched by the rule.
        states: States of the voice.
        owners: Only voices of these owners; empty means any.
        consent_scope: Only voices whose consents name one of these purposes; empty means any.
    """

    classes: tuple[DataClass, ...]
    states: tuple[State, ...]
    owners: tuple[str, ...] = ()
    consent_scope: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: keep at least, keep at most, and what happens then.

    Attributes:
        retain_min: Nothing of the classes is destroyed before this; it outranks every `delete_after`.
        delete_after: When the action is due; None for a rule that only retains.
        grace: A destruction waits this long after the voice was retired for it.
        action: None for a rule that only retains.
    """

    id: str
    applies_to: AppliesTo
    time_base: TimeBase
    if_time_base_missing: IfMissing
    retain_min: Period | None = None
    delete_after: Period | None = None
    grace: Period = Period()
    action: Action | None = None


@dataclass(frozen=True, slots=True)
class Earlier:
    """What a rule said in an earlier version.

    Attributes:
        until: When that version was no longer in force.
    """

    rule: str
    time_base: TimeBase
    delete_after: Period
    version: int
    until: datetime


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run, and one verification, may cost at most; a plan that would do more is refused whole."""

    max_items_per_run: int = 20
    max_bytes_per_run: int = 50_000_000_000
    max_fraction_of_store: Decimal = Decimal("0.25")
    verify_seconds: int = 600
    verify_memory_mb: int = 8192


@dataclass(frozen=True, slots=True)
class Policy:
    """What applies to the voices that name it.

    Attributes:
        name: Its id, which is also the name of its file.
        lineage: Its own version and those of the policies that it extends: "strict:2", "default:1".
        notices: How long before something is due it is said; the shortest must have passed before anything is done.
        needed_above: With more voices than this to act on, somebody must approve; None: never asked.
        earlier: What its rules said before, where that is known; no part of what it says.
        enabled_from: The first day on which anything is done.
        consent_due_days: How early an ending consent is reported.
        verify_every_days: After how many days without a verdict a voice is at risk.
    """

    name: str
    version: int
    owner: str
    legal_basis: str
    timezone: str
    rules: tuple[Rule, ...]
    consent_due_days: int
    verify_every_days: int
    notices: tuple[Period, ...] = ()
    limits: Limits = field(default_factory=Limits)
    needed_above: int | None = None
    enabled_from: date | None = None
    dry_run_first: bool = True
    lineage: tuple[str, ...] = ()
    earlier: tuple[Earlier, ...] = ()

    @property
    def keep_evidence(self) -> Period | None:
        """How long consent documents stay after the consent's end; None: without an end."""
        kept = [
            rule.retain_min
            for rule in self.rules
            if DataClass.EVIDENCE in rule.applies_to.classes and rule.time_base is TimeBase.CONSENT_ENDED
        ]
        # The longest, in days: what must be kept is kept, however many rules there are.
        return max(
            (each for each in kept if each is not None), key=lambda each: each.least_days, default=None
        )

    def digest(self) -> str:
        """Return `sha256:` of all that it says; comments and the order of keys do not count."""
        return "sha256:" + hashlib.sha256(canonical_json(_json(self))).hexdigest()


def _json(policy: Policy) -> dict[str, Json]:
    limits = policy.limits
    return {
        "id": policy.name,
        "lineage": list(policy.lineage),
        "owner": policy.owner,
        "legal_basis": policy.legal_basis,
        "timezone": policy.timezone,
        "rules": [rule_json(rule) for rule in policy.rules],
        "audit": [policy.consent_due_days, policy.verify_every_days],
        "notice": [str(each) for each in policy.notices],
        "limits": [
            limits.max_items_per_run,
            limits.max_bytes_per_run,
            str(limits.max_fraction_of_store.normalize()),
            limits.verify_seconds,
            limits.verify_memory_mb,
        ],
        "approval": policy.needed_above,
        "enabled_from": None if policy.enabled_from is None else policy.enabled_from.isoformat(),
        "dry_run_first": policy.dry_run_first,
    }


def rule_json(rule: Rule) -> dict[str, Json]:
    """Return a rule for programs."""
    about = rule.applies_to
    return {
        "id": rule.id,
        "classes": [each.value for each in about.classes],
        "states": [each.value for each in about.states],
        "owners": list(about.owners),
        "consent_scope": list(about.consent_scope),
        "time_base": rule.time_base.value,
        "if_time_base_missing": rule.if_time_base_missing.value,
        "retain_min": None if rule.retain_min is None else str(rule.retain_min),
        "delete_after": None if rule.delete_after is None else str(rule.delete_after),
        "grace": str(rule.grace),
        "action": None if rule.action is None else rule.action.value,
    }
