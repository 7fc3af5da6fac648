"""Policies: rules in YAML, read strictly, so that a misspelt rule is an error and not a rule that never acts."""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import yaml

from lifecycle.domain.errors import UsageError

_PERIOD = re.compile(r"P(?=\d)(?:(\d{1,3})Y)?(?:(\d{1,4})M)?(?:(\d{1,4})W)?(?:(\d{1,5})D)?")
_MAX_BYTES = 100_000


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
            raise ValueError(f'"{text}" is not a period such as P90D, P18M or P5Y')
        years, months, weeks, days = (int(part or 0) for part in match.groups())
        return cls(years, months, weeks * 7 + days)

    def after(self, moment: datetime) -> datetime:
        """Return the moment that lies this far later; a day that a month lacks becomes its last.

        Raises:
            OverflowError: The year would be past 9999.
        """
        month = moment.month - 1 + self.months
        year = moment.year + self.years + month // 12
        if year > 9999:
            raise OverflowError("the period ends after the year 9999")
        last = calendar.monthrange(year, month % 12 + 1)[1]
        shifted = moment.replace(year=year, month=month % 12 + 1, day=min(moment.day, last))
        return shifted + timedelta(days=self.days)

    def __str__(self) -> str:
        parts = ((self.years, "Y"), (self.months, "M"), (self.days, "D"))
        return "P" + ("".join(f"{n}{unit}" for n, unit in parts if n) or "0D")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one verification may cost."""

    verify_seconds: int = 600
    verify_memory_mb: int = 8192


@dataclass(frozen=True, slots=True)
class Policy:
    """What applies to the voices that name it.

    Attributes:
        keep_recordings: How long recordings may stay after they were registered.
        keep_weights: How long weights stay after retirement.
        keep_evidence: How long consent documents stay after the consent's end.
        consent_due_days: How early an ending consent is reported.
        verify_every_days: After how many days without a verdict a voice is at risk.
    """

    name: str
    keep_recordings: Period
    keep_weights: Period
    keep_evidence: Period
    consent_due_days: int
    verify_every_days: int
    limits: Limits = field(default_factory=Limits)


def parse_policy(text: str, *, name: str, source: str) -> Policy:
    """Read a policy; every key must be known and every key of `Policy` must be there.

    Args:
        text: YAML.
        name: The name that the file goes by.
        source: What errors call the file.

    Raises:
        UsageError: With file and line: not YAML, an unknown, missing or doubled key, or a value of the wrong kind.
    """
    if len(text) > _MAX_BYTES:
        raise UsageError(f'policy "{source}" is larger than {_MAX_BYTES} bytes')
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "unreadable characters"
        raise _wrong(source, mark, f"it is not YAML: {problem}") from None
    if root is None:
        raise UsageError(f'policy "{source}" is empty', hint="copy the keys of policies/default.yaml")
    values = _mapping(root, _KEYS, source)
    missing = [key for key in _KEYS if key not in values and key != "limits"]
    if missing:
        raise _wrong(source, root.start_mark, f'"{missing[0]}" is missing')
    return Policy(name=name, **values)


def _mapping(
    node: yaml.Node, keys: Mapping[str, Callable[[yaml.Node, str], Any]], source: str
) -> dict[str, Any]:
    if not isinstance(node, yaml.MappingNode):
        raise _wrong(source, node.start_mark, "a table of keys is expected here")
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(key_node.value)
        if key not in keys:
            near = ", ".join(keys)
            raise _wrong(source, key_node.start_mark, f'"{key}" is not a key here; there are: {near}')
        if key in values:
            raise _wrong(source, key_node.start_mark, f'"{key}" stands twice')
        values[key] = keys[key](value_node, source)
    return values


def _period(node: yaml.Node, source: str) -> Period:
    if not isinstance(node, yaml.ScalarNode):
        raise _wrong(source, node.start_mark, "a period such as P90D is expected here")
    try:
        return Period.parse(node.value)
    except ValueError as error:
        raise _wrong(source, node.start_mark, str(error)) from None


def _whole(low: int, high: int) -> Callable[[yaml.Node, str], int]:
    def read(node: yaml.Node, source: str) -> int:
        text = node.value if isinstance(node, yaml.ScalarNode) else ""
        if re.fullmatch(r"\d{1,7}", str(text)) is None or not low <= int(text) <= high:
            raise _wrong(source, node.start_mark, f"a whole number from {low} to {high} is expected here")
        return int(text)

    return read


def _limits(node: yaml.Node, source: str) -> Limits:
    return Limits(**_mapping(node, _LIMIT_KEYS, source))


_LIMIT_KEYS: Mapping[str, Callable[[yaml.Node, str], Any]] = {
    "verify_seconds": _whole(10, 86_400),
    "verify_memory_mb": _whole(2048, 1_000_000),
}
_KEYS: Mapping[str, Callable[[yaml.Node, str], Any]] = {
    "keep_recordings": _period,
    "keep_weights": _period,
    "keep_evidence": _period,
    "consent_due_days": _whole(0, 3650),
    "verify_every_days": _whole(1, 3650),
    "limits": _limits,
}


def _wrong(source: str, mark: Any, what: str) -> UsageError:
    line = f", line {mark.line + 1}" if mark is not None else ""
    return UsageError(f'policy "{source}"{line}: {what}')
