"""`vlm policy plan`: what applying a policy now would do, frozen, signed, and stored with the notices it gives."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lifecycle.domain.canonical import Json
from lifecycle.domain.dsse import statement
from lifecycle.domain.errors import IntegrityError, NotFound, Refused
from lifecycle.domain.failpoints import hit
from lifecycle.domain.filters import ALL, VoiceFilter
from lifecycle.domain.policies import Policy
from lifecycle.domain.retention import Status
from lifecycle.formats import shown
from lifecycle.registry.queries.notices import Notice
from lifecycle.registry.queries.plans import PlanRow
from lifecycle.registry.times import to_text
from lifecycle.services.retention.files import load_policy, policy_home
from lifecycle.services.retention.history import refuse_changed, remember, with_history
from lifecycle.services.retention.plan_result import PolicyPlan
from lifecycle.services.retention.survey import Finding, Survey, renewed, survey
from lifecycle.watch.snapshot import CLOCK_AHEAD

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.registry.unit_of_work import UnitOfWork

PREDICATE_TYPE = "urn:voice-lifecycle:policy-plan:v1"

__all__ = ["PolicyPlan", "find_plan", "make_plan", "plan_id_of", "refuse_clock"]


def make_plan(
    rooms: Rooms,
    policy: str | None = None,
    wanted: VoiceFilter = ALL,
    *,
    scheduled: bool = False,
    dry_run: bool = False,
) -> PolicyPlan:
    """Say what is due by a policy, give the notices that should have been given, and store the signed plan.

    Args:
        policy: Its name; the default policy without one.
        wanted: Which of its voices.
        scheduled: A timer asks, nobody looks at it.
        dry_run: Store nothing and give no notice.

    Raises:
        NotFound: There is no such policy, or no such voice.
        UsageError: It is wrong, with file and line.
        Refused: The clock is not plausible, or the policy was changed without a new version.
    """
    rules = load_named(policy, rooms)
    wanted = VoiceFilter(
        wanted.names, wanted.owner, wanted.subject_uid, wanted.states, wanted.upstream, rules.name
    )
    refuse_clock(rooms)
    with rooms.registry.read() as uow:
        for name in wanted.names:
            uow.voices.get(name)
    now = rooms.clock()
    with rooms.registry.read() as uow:
        refuse_changed(rules, uow=uow)
        rules = with_history(rules, uow=uow, now=now)
        found = survey(rules, wanted, uow=uow, now=now)
        if dry_run:
            return _plan(rules, wanted, found, uow=uow, now=now)
    # Looking at every voice takes long where there are many; others may write meanwhile, and applying looks again.
    with rooms.registry.write() as uow:
        refuse_changed(rules, uow=uow)
        remember(rules, uow=uow, now=now)
        missing = found.missing
        for each in missing:
            _give_notice(each, rules, now, uow=uow, rooms=rooms)
        found = renewed(found, [each.voice for each in missing], rules, uow=uow, now=now)
        made = _signed(_plan(rules, wanted, found, uow=uow, now=now), missing, rooms, scheduled=scheduled)
        _store(made, wanted, uow=uow, rooms=rooms)
        hit("policy.before_plan_commit")
        uow.commit()
    return made


def load_named(name: str | None, rooms: Rooms) -> Policy:
    """Read a policy by its name; the default one without it."""
    return load_policy(name or rooms.settings.default_policy, own=policy_home(rooms))


def refuse_clock(rooms: Rooms) -> None:
    """Refuse where the time of day cannot be believed: a wrong clock must not empty a registry.

    Raises:
        Refused: It went back, or is more than 48 hours ahead of the latest time that was ever seen.
    """
    now, seen = rooms.clock(), rooms.vault.anchor.highest_time
    if seen is None:
        return
    if now < seen:
        raise Refused(
            f"the clock says {now:%Y-%m-%d %H:%M}, but {seen:%Y-%m-%d %H:%M} was already seen; "
            "nothing is planned or deleted by such a clock",
            hint="vlm doctor",
        )
    if now - seen > CLOCK_AHEAD:
        raise Refused(
            f"the clock is {(now - seen).days} days ahead of the last use; nothing is planned or deleted "
            "before somebody looked at it",
            hint=f"if {now:%Y-%m-%d} is right, run: vlm audit",
        )


def _give_notice(finding: Finding, policy: Policy, now: datetime, *, uow: UnitOfWork, rooms: Rooms) -> None:
    decision = finding.decision
    known = {(each.rule, each.stage, each.due_at) for each in uow.notices.of_voice(finding.voice_uid)}
    for stage in finding.missing:
        if (decision.rule.id, stage, decision.delete_due) in known:
            continue
        notice = Notice(
            uid=rooms.new_uid(),
            voice_uid=finding.voice_uid,
            policy=policy.name,
            rule=decision.rule.id,
            stage=stage,
            due_at=decision.delete_due,
            noticed_at=now,
        )
        uow.notices.add(notice)
        uow.trail.append(
            "policy.notice",
            voice_uid=finding.voice_uid,
            ids={"notice": notice.uid},
            details={
                "policy": policy.name,
                "rule": decision.rule.id,
                "action": decision.action.value,
                "stage": stage,
                "due_at": to_text(decision.delete_due),
            },
        )


def _plan(
    policy: Policy, wanted: VoiceFilter, found: Survey, *, uow: UnitOfWork, now: datetime
) -> PolicyPlan:
    states = uow.alerts.states()
    voices = sum(number for state, number in states.items() if state != "erased")
    plan = PolicyPlan(
        uid="",
        policy=policy,
        made_at=now,
        scheduled=False,
        survey=found,
        voices=voices,
        stored_bytes=uow.alerts.stored_bytes(),
        others=tuple(name for name in uow.plans.policies() if name != policy.name),
        all_matched=bool(found.acts) and len(found.acts) == found.matched and not wanted.names,
    )
    return replace(plan, over=tuple(_over(plan)))


def _over(plan: PolicyPlan) -> list[str]:
    limits, number = plan.policy.limits, len(plan.survey.acts)
    most, found = limits.max_fraction_of_store, []
    if number > limits.max_items_per_run:
        found.append(f"{number} voices are more than max_items_per_run {limits.max_items_per_run}")
    if plan.destroyed_bytes > limits.max_bytes_per_run:
        found.append(
            f"{plan.destroyed_bytes} bytes are more than max_bytes_per_run {limits.max_bytes_per_run}"
        )
    shares = (
        (number, plan.voices, "voices"),
        (plan.destroyed_bytes, plan.stored_bytes, "bytes"),
    )
    for part, whole, what in shares:
        if whole and Decimal(part) / whole > most:
            found.append(f"{part} of {whole} {what} are more than max_fraction_of_store {most}")
    return found


def _signed(plan: PolicyPlan, missing: tuple[Finding, ...], rooms: Rooms, *, scheduled: bool) -> PolicyPlan:
    uid, policy = rooms.new_uid(), plan.policy
    actions: list[Json] = [
        {
            "voice": each.voice_uid,
            "rule": each.decision.rule.id,
            "action": each.decision.action.value,
            "status": each.status.value,
            "files": each.decision.count,
            "size": each.destroyed_bytes,
            "due_at": to_text(each.decision.delete_due),
            "facts": each.digest,
        }
        for each in plan.survey.acts
    ]
    predicate: dict[str, Json] = {
        "plan": uid,
        "policy": policy.name,
        "version": policy.version,
        "policy_digest": policy.digest(),
        "made_at": to_text(plan.made_at),
        "scheduled": scheduled,
        "matched": plan.survey.matched,
        "actions": actions,
        "inventory": plan.survey.digest,
        "over_limits": list(plan.over),
        "all_matched": plan.all_matched,
    }
    digest = plan.survey.digest.removeprefix("sha256:")
    envelope = rooms.vault.signing.sign_statement(
        "receipt", statement({uid: {"sha256": digest}}, PREDICATE_TYPE, predicate)
    )
    given = tuple(each for each in missing if each.status is not Status.UNDATED)
    return replace(plan, uid=uid, scheduled=scheduled, noticed=given, envelope=envelope)


def _store(plan: PolicyPlan, wanted: VoiceFilter, *, uow: UnitOfWork, rooms: Rooms) -> None:
    policy = plan.policy
    # Names and owners are labels: they lie sealed, so that the row outlives the erasure of a voice.
    told = json.dumps([wanted.names, wanted.owner, wanted.subject_uid, wanted.states, wanted.upstream])
    body: Mapping[str, Any] = {
        "envelope": plan.envelope.decode("ascii"),
        "policy": {"version": policy.version, "digest": policy.digest(), "lineage": list(policy.lineage)},
        "filter_sealed": rooms.vault.keys.seal_text(None, told).hex(),
        "begun_at": None,
    }
    uow.plans.add(PlanRow(plan.uid, policy.name, body, plan.survey.digest, plan.made_at, plan.scheduled))
    uow.trail.append(
        "policy.plan",
        ids={"plan": plan.uid},
        details={
            "policy": policy.name,
            "version": policy.version,
            "legal_basis": policy.legal_basis,
            "scheduled": plan.scheduled,
            "matched": plan.survey.matched,
            "actions": len(plan.survey.acts),
            "inventory": plan.survey.digest,
        },
    )


def find_plan(told: str, *, uow: UnitOfWork) -> PlanRow:
    """Return the stored plan of an id, or of its first digits.

    Raises:
        NotFound: There is none, or more than one.
    """
    found = uow.plans.find(told) if 4 <= len(told) <= 32 and told.isalnum() else []
    if len(found) != 1:
        what = "more than one plan begins" if found else "no plan begins"
        raise NotFound(f'{what} with "{told[:32]}"', hint="vlm policy plan")
    return found[0]


def plan_id_of(file: Path) -> str:
    """Return the id of a plan in a file; whether it is what was stored is checked where it is applied.

    Raises:
        NotFound: There is no such file.
        IntegrityError: It is no signed plan, or it was changed.
    """
    from lifecycle.vault.files import read_small
    from lifecycle.vault.signing import verify_envelope

    try:
        content = read_small(file, limit=64 << 20)
    except OSError:
        raise NotFound(
            f'"{shown(str(file))}" is neither a plan nor a file that can be read', hint="vlm policy plan"
        ) from None
    signed = verify_envelope(content, None)
    uid = signed.predicate.get("plan")
    if signed.predicate_type != PREDICATE_TYPE or not isinstance(uid, str):
        raise IntegrityError(f'"{file.name}" is signed, but it is no plan of a policy')
    return uid
