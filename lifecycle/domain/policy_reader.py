"""Policies in YAML, read strictly: a misspelt rule is an error with its line, never a rule that never acts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import yaml

from lifecycle.domain.errors import UsageError
from lifecycle.domain.policies import (
    NEVER_MISSING,
    STATES,
    Action,
    AppliesTo,
    IfMissing,
    Limits,
    Period,
    Policy,
    Rule,
    TimeBase,
)
from lifecycle.domain.subjects import SCOPES
from lifecycle.domain.voices import DataClass, State

API_VERSION = "vlm/1"
KIND = "RetentionPolicy"
_MAX_BYTES = 100_000
_MAX_RULES = 100
_MAX_LIST = 100
_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
_Reader = Callable[[yaml.Node, str], Any]
_E = TypeVar("_E", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Draft:
    """One file as it was read, before what it extends was added.

    Attributes:
        values: What stands in it, by key.
        lines: The line of each key, from 1.
        source: What errors call the file.
    """

    name: str
    source: str
    values: Mapping[str, Any]
    lines: Mapping[str, int] = field(default_factory=dict)

    @property
    def extends(self) -> str | None:
        """The policy that it builds on, if any."""
        return self.values.get("extends")

    def wrong(self, key: str, what: str) -> UsageError:
        """Return the error that something about a key is wrong."""
        line = self.lines.get(key, 1)
        return UsageError(f'policy "{self.source}", line {line}: {what}')


def read_draft(text: str, *, name: str, source: str) -> Draft:
    """Read one file; every key must be known, and of the right kind.

    Args:
        text: YAML.
        name: The name that the file goes by; `id` must say the same.
        source: What errors call the file.

    Raises:
        UsageError: With file and line: not YAML, an unknown or doubled key, a value of the wrong kind.
    """
    if len(text) > _MAX_BYTES:
        raise UsageError(f'policy "{source}" is larger than {_MAX_BYTES} bytes')
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "unreadable characters"
        raise _wrong(source, mark, f"it is not YAML: {problem}") from None
    except RecursionError:
        raise UsageError(f'policy "{source}" is nested too deeply') from None
    if root is None:
        raise UsageError(f'policy "{source}" is empty', hint="vlm policy explain default")
    values, lines = _mapping(root, _KEYS, source)
    draft = Draft(name, source, values, lines)
    for key in ("apiVersion", "kind", "id", "version", *(() if draft.extends else _REQUIRED)):
        if key not in values:
            raise _wrong(source, root.start_mark, f'"{key}" is missing')
    if values["id"] != name:
        raise draft.wrong("id", f'the id is "{values["id"]}", but the file is called "{name}"')
    return draft


def policy_of(drafts: list[Draft]) -> Policy:
    """Put a policy together from its file and those that it extends, the nearest first.

    A key of a nearer file takes the place of the farther one's; rules are joined by their ids.
    """
    merged: dict[str, Any] = {}
    rules: dict[str, Rule] = {}
    for draft in reversed(drafts):
        merged |= draft.values
        rules |= {rule.id: rule for rule in draft.values.get("rules", ())}
    return Policy(
        name=drafts[0].name,
        version=merged["version"],
        owner=merged["owner"],
        legal_basis=merged["legal_basis"],
        timezone=merged["timezone"],
        rules=tuple(rules.values()),
        consent_due_days=merged["audit"]["consent_due_days"],
        verify_every_days=merged["audit"]["verify_every_days"],
        notices=merged["notice"]["before"],
        limits=Limits(**merged["limits"]),
        needed_above=merged.get("approval", {}).get("needed_above"),
        enabled_from=merged.get("enabled_from"),
        dry_run_first=merged["dry_run_first"],
        lineage=tuple(f"{draft.name}:{draft.values['version']}" for draft in drafts),
    )


def _mapping(
    node: yaml.Node, keys: Mapping[str, _Reader], source: str
) -> tuple[dict[str, Any], dict[str, int]]:
    if not isinstance(node, yaml.MappingNode):
        raise _wrong(source, node.start_mark, "a table of keys is expected here")
    values: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for key_node, value_node in node.value:
        key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
        if key not in keys:
            near = ", ".join(keys)
            raise _wrong(source, key_node.start_mark, f'"{key}" is not a key here; there are: {near}')
        if key in values:
            raise _wrong(source, key_node.start_mark, f'"{key}" stands twice')
        lines[key] = key_node.start_mark.line + 1
        values[key] = keys[key](value_node, source)
    return values, lines


def _table(keys: Mapping[str, _Reader], required: tuple[str, ...] | None = None) -> _Reader:
    """Return a reader of a table in which every key must stand, unless `required` names those that must."""

    def read(node: yaml.Node, source: str) -> dict[str, Any]:
        values, _ = _mapping(node, keys, source)
        for key in keys if required is None else required:
            if key not in values:
                raise _wrong(source, node.start_mark, f'"{key}" is missing')
        return values

    return read


def _scalar(node: yaml.Node) -> str:
    """Return the text of a plain value; a list, a table, nothing, or a tag of another language is none."""
    kind = str(node.tag).removeprefix("tag:yaml.org,2002:")
    plain = isinstance(node, yaml.ScalarNode) and kind in {"str", "int", "float", "bool", "timestamp"}
    return str(node.value).strip() if plain else ""


def _period(node: yaml.Node, source: str) -> Period:
    try:
        return Period.parse(_scalar(node))
    except ValueError as error:
        raise _wrong(source, node.start_mark, str(error)) from None


def _whole(low: int, high: int) -> _Reader:
    def read(node: yaml.Node, source: str) -> int:
        text = _scalar(node)
        if re.fullmatch(r"[0-9]{1,16}", text) is None or not low <= int(text) <= high:
            raise _wrong(source, node.start_mark, f"a whole number from {low} to {high} is expected here")
        return int(text)

    return read


def _fraction(node: yaml.Node, source: str) -> Decimal:
    text = _scalar(node)
    if re.fullmatch(r"[01](?:\.[0-9]{1,6})?", text) is None or not 0 < Decimal(text) <= 1:
        raise _wrong(
            source, node.start_mark, "a fraction such as 0.25, above 0 and at most 1, is expected here"
        )
    return Decimal(text)


def _words(node: yaml.Node, source: str) -> str:
    text = _scalar(node)
    if not text or len(text) > 500 or not text.isprintable():
        raise _wrong(source, node.start_mark, "a line of at most 500 characters is expected here")
    return text


def _shaped(pattern: re.Pattern[str], what: str) -> _Reader:
    def read(node: yaml.Node, source: str) -> str:
        text = _scalar(node)
        if pattern.fullmatch(text) is None:
            raise _wrong(source, node.start_mark, f"{what} is expected here")
        return text

    return read


def _only(value: str) -> _Reader:
    def read(node: yaml.Node, source: str) -> str:
        if _scalar(node) != value:
            raise _wrong(source, node.start_mark, f'only "{value}" is known here')
        return value

    return read


def _one_of(words: type[_E], allowed: tuple[_E, ...] | None = None) -> _Reader:
    choices = tuple(words) if allowed is None else allowed

    def read(node: yaml.Node, source: str) -> _E:
        text = _scalar(node)
        if text not in {each.value for each in choices}:
            known = ", ".join(each.value for each in choices)
            raise _wrong(source, node.start_mark, f"one of these words is expected here: {known}")
        return words(text)

    return read


def _list(read_one: _Reader, *, most: int = _MAX_LIST, least: int = 1) -> _Reader:
    def read(node: yaml.Node, source: str) -> tuple[Any, ...]:
        if not isinstance(node, yaml.SequenceNode) or not least <= len(node.value) <= most:
            raise _wrong(source, node.start_mark, f"a list of {least} to {most} entries is expected here")
        found: list[Any] = []
        for child in node.value:
            value = read_one(child, source)
            if value in found:
                raise _wrong(source, child.start_mark, f'"{_scalar(child)}" stands twice')
            found.append(value)
        return tuple(found)

    return read


def _zone(node: yaml.Node, source: str) -> str:
    name = _scalar(node)
    try:
        # The name comes from a file: nothing that could leave the folder of zones reaches it.
        if re.fullmatch(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,3}", name) is None:
            raise ValueError
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise _wrong(
            source, node.start_mark, "a time zone such as UTC or Europe/Berlin is expected here"
        ) from None
    return name


def _truth(node: yaml.Node, source: str) -> bool:
    text = _scalar(node)
    if text not in {"true", "false"} or not str(node.tag).endswith(":bool"):
        raise _wrong(source, node.start_mark, "true or false is expected here")
    return text == "true"


def _day(node: yaml.Node, source: str) -> date:
    text = _scalar(node)
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text) is None:
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise _wrong(source, node.start_mark, "a day such as 2026-12-01 is expected here") from None


def _rules(node: yaml.Node, source: str) -> tuple[Rule, ...]:
    if not isinstance(node, yaml.SequenceNode) or not 1 <= len(node.value) <= _MAX_RULES:
        raise _wrong(source, node.start_mark, f"a list of 1 to {_MAX_RULES} rules is expected here")
    found: dict[str, Rule] = {}
    for child in node.value:
        rule = _rule(child, source)
        if rule.id in found:
            raise _wrong(source, child.start_mark, f'the rule "{rule.id}" stands twice')
        found[rule.id] = rule
    return tuple(found.values())


def _rule(node: yaml.Node, source: str) -> Rule:
    values, lines = _mapping(node, _RULE_KEYS, source)
    base = values.get("time_base")
    needed = ("id", "applies_to", "time_base", *(() if base in NEVER_MISSING else ("if_time_base_missing",)))
    for key in needed:
        if key not in values:
            raise _wrong(source, node.start_mark, f'"{key}" is missing')

    def refuse(key: str, what: str) -> UsageError:
        line = lines.get(key, node.start_mark.line + 1)
        return UsageError(f'policy "{source}", line {line}: rule "{values["id"]}": {what}')

    if base in NEVER_MISSING and "if_time_base_missing" in values:
        raise refuse("if_time_base_missing", f'"{base}" is never missing, so this would never act')
    action, about = values.get("action"), values["applies_to"]
    if ("delete_after" in values) != (action is not None):
        raise refuse(
            "delete_after", '"delete_after" and "action" belong together: one says when, one says what'
        )
    if "delete_after" not in values and "retain_min" not in values:
        raise refuse("id", 'it says neither "retain_min" nor "delete_after", so it would do nothing')
    classes, states = about["classes"], about.get("states", STATES[action])
    if action not in {None, Action.REVIEW} and DataClass.EVIDENCE in classes:
        raise refuse("action", "evidence is only retained: its key has an end of its own")
    possible = STATES[action]
    if impossible := [each.value for each in states if each not in possible]:
        word = None if action is None else action.value
        raise refuse("applies_to", f'"{word}" never happens to a voice that is {impossible[0]}')
    if "grace" in values and (action not in _DESTROYING or State.RETIRED not in states):
        raise refuse(
            "grace", "grace needs an action that destroys, and the state retired, in which it passes"
        )
    return Rule(
        id=values["id"],
        applies_to=AppliesTo(classes, states, about.get("owners", ()), about.get("consent_scope", ())),
        time_base=values["time_base"],
        if_time_base_missing=values.get("if_time_base_missing", IfMissing.REFUSE),
        retain_min=values.get("retain_min"),
        delete_after=values.get("delete_after"),
        grace=values.get("grace", Period()),
        action=action,
    )


_DESTROYING = frozenset({Action.PURGE_AUDIO, Action.ERASE})
_CLASSES = (DataClass.SOURCE, DataClass.TEMPLATE, DataClass.EVIDENCE, DataClass.MODEL)
_ABOUT_KEYS: Mapping[str, _Reader] = {
    "classes": _list(_one_of(DataClass, _CLASSES)),
    "states": _list(_one_of(State, (State.ACTIVE, State.DEPRECATED, State.RETIRED))),
    "owners": _list(_words),
    "consent_scope": _list(_shaped(re.compile("|".join(SCOPES)), f"one of {', '.join(SCOPES)}")),
}
_RULE_KEYS: Mapping[str, _Reader] = {
    "id": _shaped(_ID, "an id of small letters, digits and dashes"),
    "applies_to": _table(_ABOUT_KEYS, ("classes",)),
    "time_base": _one_of(TimeBase),
    "if_time_base_missing": _one_of(IfMissing),
    "retain_min": _period,
    "delete_after": _period,
    "grace": _period,
    "action": _one_of(Action),
}
_LIMIT_KEYS: Mapping[str, _Reader] = {
    "max_items_per_run": _whole(1, 1_000_000),
    "max_bytes_per_run": _whole(1, 2**53 - 1),
    "max_fraction_of_store": _fraction,
    "verify_seconds": _whole(10, 86_400),
    "verify_memory_mb": _whole(2048, 1_000_000),
}
_KEYS: Mapping[str, _Reader] = {
    "apiVersion": _only(API_VERSION),
    "kind": _only(KIND),
    "id": _shaped(_NAME, "a name"),
    "version": _whole(1, 1_000_000),
    "extends": _shaped(_NAME, "the name of a policy"),
    "owner": _words,
    "legal_basis": _words,
    "timezone": _zone,
    "enabled_from": _day,
    "dry_run_first": _truth,
    "notice": _table({"before": _list(_period, most=10, least=0)}),
    "limits": _table(_LIMIT_KEYS),
    "approval": _table({"needed_above": _whole(0, 1_000_000)}),
    "audit": _table({"consent_due_days": _whole(0, 3650), "verify_every_days": _whole(1, 3650)}),
    "rules": _rules,
}
_REQUIRED = ("owner", "legal_basis", "timezone", "dry_run_first", "notice", "limits", "audit", "rules")


def _wrong(source: str, mark: Any, what: str) -> UsageError:
    line = f", line {mark.line + 1}" if mark is not None else ""
    return UsageError(f'policy "{source}"{line}: {what}')
