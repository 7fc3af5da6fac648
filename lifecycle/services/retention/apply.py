"""`vlm policy apply`: do what a plan says, each voice by itself, and finish what a crash left."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from lifecycle.domain.errors import IntegrityError, Refused
from lifecycle.domain.failpoints import hit
from lifecycle.domain.filters import VoiceFilter
from lifecycle.domain.policies import Action, Policy
from lifecycle.domain.retention import Status
from lifecycle.domain.voices import State, Voice
from lifecycle.erasure.plan import PurgeVerb
from lifecycle.registry.queries.plans import PlanRow
from lifecycle.registry.times import from_text, to_text
from lifecycle.render.output import megabytes
from lifecycle.services.purges.purge import Purged, PurgeRequest, preview, purge, resume_all
from lifecycle.services.retention.files import load_policy, policy_home
from lifecycle.services.retention.history import with_history
from lifecycle.services.retention.outcome import Applied, Outcome
from lifecycle.services.retention.plan import find_plan, refuse_clock
from lifecycle.services.retention.survey import survey
from lifecycle.services.retire import retire
from lifecycle.vault.files import locked
from lifecycle.vault.signing import verify_envelope

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.registry.unit_of_work import UnitOfWork

OLDEST = timedelta(hours=24)
_VERBS = {Action.PURGE_AUDIO: PurgeVerb.PURGE_AUDIO, Action.ERASE: PurgeVerb.ERASE}


@dataclass(frozen=True, slots=True)
class Permission:
    """What somebody said besides yes.

    Attributes:
        over_limit: The plan's id or its first eight digits: do it although it exceeds the policy's limits, or acts on
            every voice that the policy is about.
        approved_by: Who approved it; kept sealed.
        empty: Applying a plan that is about no voice at all is meant.
        scheduled: A timer applies it: nobody can be asked, and nobody approves.
    """

    over_limit: str | None = None
    approved_by: str | None = None
    empty: bool = False
    scheduled: bool = False


@dataclass(frozen=True, slots=True)
class _Step:
    voice_uid: str
    rule: str
    action: Action
    status: Status
    files: int
    size_bytes: int
    facts: str

    @property
    def does(self) -> Action:
        return Action.RETIRE if self.status is Status.QUARANTINE else self.action


def apply(
    told: str, *, rooms: Rooms, permission: Permission = Permission(), dry_run: bool = False
) -> Applied:
    """Carry out a stored plan; one that was begun and not finished is finished.

    Args:
        told: Its id, or the first digits of it.
        dry_run: Refuse what would be refused, say what would be done, and change nothing.

    Raises:
        NotFound: There is no such plan.
        IntegrityError: The stored plan was changed.
        Refused: It was applied, is too old, the clock is not plausible, the inventory or the policy changed since, it
            exceeds the policy's limits, or somebody has to approve it; nothing was changed.
        Busy: Another process applies a plan.
    """
    with locked(rooms.settings.home / "policy.lock", what="applying policies", seconds=5.0):
        with rooms.registry.read() as uow:
            row = find_plan(told, uow=uow)
        predicate = _checked(row, rooms)
        steps = [_step(each) for each in predicate["actions"]]
        _refuse_late(row, rooms)
        policy = load_policy(row.policy, own=policy_home(rooms))
        begun_at = row.body.get("begun_at")
        if begun_at is None:
            _refuse_changed(row, policy, rooms)
            _refuse_over(row, policy, predicate, permission)
        if dry_run:
            return Applied(row.uid, policy.name, policy.version, tuple(_would(steps, rooms)), dry_run=True)
        if begun_at is None:
            since = rooms.clock()
            row = _begin(row, rooms, permission, len(steps))
        else:
            since = from_text(begun_at)
        outcomes = _carry_out(steps, policy, rooms, since=since, resumed=begun_at is not None)
        return _finish(row, policy, outcomes, rooms)


def _checked(row: PlanRow, rooms: Rooms) -> Mapping[str, Any]:
    """Return what was signed; the row beside it is only believed where both say the same."""
    envelope = str(row.body.get("envelope", "")).encode("ascii", "replace")
    signed = verify_envelope(envelope, rooms.vault.signing.trusted("receipt"))
    told = signed.predicate
    same = (row.uid, row.policy, row.inventory_digest, to_text(row.made_at))
    if (told.get("plan"), told.get("policy"), told.get("inventory"), told.get("made_at")) != same:
        raise IntegrityError(
            "the stored plan and what was signed differ; nothing was changed", hint="vlm doctor"
        )
    return told


def _step(told: Mapping[str, Any]) -> _Step:
    return _Step(
        voice_uid=told["voice"],
        rule=told["rule"],
        action=Action(told["action"]),
        status=Status(told["status"]),
        files=told["files"],
        size_bytes=told["size"],
        facts=told["facts"],
    )


def _refuse_late(row: PlanRow, rooms: Rooms) -> None:
    again = f"vlm policy plan --policy {row.policy}"
    if row.applied_at is not None:
        raise Refused(f"plan {row.uid[:8]} was applied on {row.applied_at:%Y-%m-%d %H:%M} UTC", hint=again)
    refuse_clock(rooms)
    age = rooms.clock() - row.made_at
    if age > OLDEST:
        hours = int(age.total_seconds() // 3600)
        raise Refused(
            f"plan {row.uid[:8]} is {hours} hours old, and only one of the last 24 hours is applied; "
            "nothing was changed",
            hint=again,
        )


def _refuse_changed(row: PlanRow, policy: Policy, rooms: Rooms) -> None:
    """Judge again at the plan's own moment: whatever decides what is due must be as it was."""
    names, owner, subject_uid, states, upstream = json.loads(
        rooms.vault.keys.open_text(bytes.fromhex(row.body["filter_sealed"]))
    )
    wanted = VoiceFilter(
        names=tuple(names),
        owner=owner,
        subject_uid=subject_uid,
        states=tuple(State(state) for state in states),
        upstream=upstream,
        policy=policy.name,
    )
    with rooms.registry.read() as uow:
        found = survey(with_history(policy, uow=uow, now=row.made_at), wanted, uow=uow, now=row.made_at)
    if row.body["policy"]["digest"] != policy.digest():
        what = f'policy "{policy.name}" changed'
    elif found.digest != row.inventory_digest:
        what = "something that decides what is due changed"
    else:
        return
    raise Refused(
        f"{what} since plan {row.uid[:8]} was made, so nothing was changed",
        hint=f"vlm policy plan --policy {policy.name}",
    )


def _refuse_over(row: PlanRow, policy: Policy, told: Mapping[str, Any], permission: Permission) -> None:
    acts, over, short = len(told["actions"]), list(told["over_limits"]), row.uid[:8]
    if not told["matched"] and not permission.empty:
        raise Refused(
            f"plan {short} is about no voice at all, which is rarely what is meant",
            hint=f"if it is: vlm policy apply {short} --yes",
        )
    if told["all_matched"]:
        over.append(f"all {acts} voices that it is about")
    typed = permission.over_limit is not None and permission.over_limit in {short, row.uid}
    if over and not typed:
        raise Refused(
            f"plan {short} is refused whole: {'; '.join(over)}",
            hint=f"if that is meant: vlm policy apply {short} --over-limit {short}",
        )
    most = policy.needed_above
    if most is not None and acts > most and not (permission.approved_by or "").strip():
        raise Refused(
            f"plan {short} acts on {acts} voices, and more than {most} need somebody's approval",
            hint=f"vlm policy apply {short} --approved-by NAME",
        )


def _would(steps: Sequence[_Step], rooms: Rooms) -> Iterator[Outcome]:
    with rooms.registry.read() as uow:
        for step in steps:
            voice = uow.voices.by_uid(step.voice_uid)
            name = voice.name if voice is not None and voice.name else step.voice_uid[:12]
            files = f"{step.files} file{'s' if step.files != 1 else ''}, {megabytes(step.size_bytes)}"
            says = files if step.size_bytes else "nothing is destroyed"
            yield Outcome(name, step.does, step.rule, "would", says)


def _begin(row: PlanRow, rooms: Rooms, permission: Permission, steps: int) -> PlanRow:
    body = {**row.body, "begun_at": to_text(rooms.clock())}
    with rooms.registry.write() as uow:
        uow.plans.note(row.uid, body=body)
        uow.trail.append(
            "policy.begun",
            ids={"plan": row.uid},
            details={
                "policy": row.policy,
                "actions": steps,
                "over_limit": permission.over_limit is not None,
                "approved_by": permission.approved_by,
                "scheduled": permission.scheduled,
            },
        )
        uow.commit()
    hit("policy.after_begun")
    return replace(row, body=body)


def _carry_out(
    steps: Sequence[_Step], policy: Policy, rooms: Rooms, *, since: datetime, resumed: bool
) -> list[Outcome]:
    finished = {each.plan.voice_uid: each for each in resume_all(rooms=rooms)} if resumed else {}
    progress = rooms.progress.step("policy", len(steps), "voices")
    outcomes = []
    for step in steps:
        outcomes.append(_one(step, policy, rooms, since=since, finished=finished if resumed else None))
        hit("policy.after_action")
        progress.advance(1)
    progress.done("")
    return outcomes


def _one(
    step: _Step,
    policy: Policy,
    rooms: Rooms,
    *,
    since: datetime,
    finished: Mapping[str, Purged] | None,
) -> Outcome:
    with rooms.registry.read() as uow:
        voice = uow.voices.by_uid(step.voice_uid)
        if voice is None:
            raise IntegrityError(f"voice {step.voice_uid[:12]} has no row", hint="vlm doctor")
        if finished is not None:
            done = _done_before(step, voice, finished, uow=uow, since=since, rooms=rooms)
            if done is not None:
                return done
            if not _unchanged(step, policy, voice, uow=uow, rooms=rooms):
                return Outcome(
                    voice.name, step.does, step.rule, "retained", "it changed while the plan was stopped"
                )
    try:
        return _act(step, voice, rooms)
    except Refused as error:
        return Outcome(voice.name, step.does, step.rule, "retained", error.message)


def _act(step: _Step, voice: Voice, rooms: Rooms) -> Outcome:
    if step.does is Action.RETIRE:
        retire(voice.name, rooms=rooms)
        return Outcome(voice.name, step.does, step.rule, "done", "retired; every file stays")
    request = PurgeRequest(voice.name, _VERBS[step.does], basis="policy")
    planned = preview(request, rooms=rooms)
    if planned.plan.empty:
        return Outcome(voice.name, step.does, step.rule, "done", "nothing of it was left to destroy")
    return _of_purge(step, voice.name, purge(planned, rooms=rooms))


def _of_purge(step: _Step, name: str, done: Purged) -> Outcome:
    return Outcome.of_purge(done, name=name, action=step.does, rule=step.rule)


def _done_before(
    step: _Step,
    voice: Voice,
    finished: Mapping[str, Purged],
    *,
    uow: UnitOfWork,
    since: datetime,
    rooms: Rooms,
) -> Outcome | None:
    """Recognise what an earlier run, or the resumption of its purge, has done."""
    if step.voice_uid in finished:
        resumed = finished[step.voice_uid]
        return _of_purge(step, resumed.voice, resumed)
    if step.does is Action.RETIRE:
        if voice.state is State.RETIRED and voice.retired_at is not None and voice.retired_at >= since:
            return Outcome(voice.name, step.does, step.rule, "done", "retired; every file stays")
        return None
    purges = uow.plans.purged_since([step.voice_uid], since).get(step.voice_uid, {})
    purge_uid = purges.get(_VERBS[step.does].value)
    if purge_uid is None:
        return None
    found = sorted((rooms.settings.home / "certificates").glob(f"*-{purge_uid[:6]}.dsse.json"))
    return Outcome(
        voice.name or voice.uid[:12],
        step.does,
        step.rule,
        "done",
        "done by the run that was stopped",
        certificate=found[0] if found else None,
    )


def _unchanged(step: _Step, policy: Policy, voice: Voice, *, uow: UnitOfWork, rooms: Rooms) -> bool:
    """Whether what the decision about one voice was made from is still so."""
    wanted = VoiceFilter(names=(voice.name,), policy=policy.name)
    now = rooms.clock()
    found = survey(with_history(policy, uow=uow, now=now), wanted, uow=uow, now=now)
    return any(each.decision.rule.id == step.rule and each.digest == step.facts for each in found.acts)


def _finish(row: PlanRow, policy: Policy, outcomes: Sequence[Outcome], rooms: Rooms) -> Applied:
    now = rooms.clock()
    with rooms.registry.write() as uow:
        uow.plans.note(row.uid, body=row.body, applied_at=now)
        uow.trail.append(
            "policy.applied",
            ids={"plan": row.uid},
            details={
                "policy": policy.name,
                "version": policy.version,
                "legal_basis": policy.legal_basis,
                "done": sum(each.result == "done" for each in outcomes),
                "retained": sum(each.result == "retained" for each in outcomes),
            },
        )
        hit("policy.before_done_commit")
        uow.commit()
    return Applied(plan=row.uid, policy=policy.name, version=policy.version, outcomes=tuple(outcomes))
