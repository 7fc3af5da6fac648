"""What a policy said before: a version means one thing for ever, and a longer one gives nothing back that was due."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lifecycle.domain.errors import Refused
from lifecycle.domain.policies import Earlier, Period, Policy, TimeBase
from lifecycle.registry.times import from_text, to_text

if TYPE_CHECKING:
    from lifecycle.registry.unit_of_work import UnitOfWork


def refuse_changed(policy: Policy, *, uow: UnitOfWork) -> None:
    """Require that a version still says what it said when it was first planned.

    Raises:
        Refused: It says something else, or a higher version was planned before.
    """
    for known in _history(policy.name, uow):
        if known["version"] > policy.version:
            raise Refused(
                f'policy "{policy.name}" is version {policy.version}, but version {known["version"]} was '
                "planned before; raise its version",
                hint=f"vlm policy explain {policy.name}",
            )
        if known["lineage"] == list(policy.lineage) and known["digest"] != policy.digest():
            raise Refused(
                f'policy "{policy.name}" changed since its version {policy.version} was planned; '
                "raise its version",
                hint=f"vlm policy explain {policy.name}",
            )


def with_history(policy: Policy, *, uow: UnitOfWork, now: datetime) -> Policy:
    """Return the policy with what its rules said before, and until when each of that was in force."""
    told = _history(policy.name, uow)
    earlier: list[Earlier] = []
    for index, known in enumerate(told):
        if known["digest"] == policy.digest():
            continue
        until = from_text(told[index + 1]["since"]) if index + 1 < len(told) else now
        earlier += [
            Earlier(rule, TimeBase(base), Period.parse(period), known["version"], until)
            for rule, base, period in known["rules"]
        ]
    return replace(policy, earlier=tuple(earlier))


def remember(policy: Policy, *, uow: UnitOfWork, now: datetime) -> None:
    """Note a version when it is planned for the first time."""
    told = _history(policy.name, uow)
    if any(known["digest"] == policy.digest() for known in told):
        return
    told.append(
        {
            "version": policy.version,
            "lineage": list(policy.lineage),
            "digest": policy.digest(),
            "since": to_text(now),
            "rules": [
                [rule.id, rule.time_base.value, str(rule.delete_after)]
                for rule in policy.rules
                if rule.delete_after is not None
            ],
        }
    )
    uow.facts.put(_key(policy.name), json.dumps(told))


def _history(name: str, uow: UnitOfWork) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = json.loads(uow.facts.all().get(_key(name), "[]"))
    return told


def _key(name: str) -> str:
    # Names of facts are short, names of policies need not be.
    return "policy:" + hashlib.sha256(name.encode()).hexdigest()[:24]
