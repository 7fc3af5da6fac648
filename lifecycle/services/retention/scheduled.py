"""A policy applied by a timer: nobody can be asked, so what needs a person is refused, and the report says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lifecycle.domain.errors import Busy, Refused
from lifecycle.services.retention.apply import OLDEST, Permission, apply
from lifecycle.services.retention.outcome import Applied
from lifecycle.services.retention.plan import PolicyPlan, load_named, make_plan
from lifecycle.watch.snapshot import CLOCK_AHEAD

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.domain.policies import Policy
    from lifecycle.registry.queries.plans import PlanRow


@dataclass(frozen=True, slots=True)
class AppliedSummary:
    """What a timer's run of a policy came to.

    Attributes:
        plan: What it would do; None where it was refused before, or finished an earlier one.
        applied: What it did; None where it did nothing.
        refused: Why it did nothing although something may be due, as one sentence.
        hint: What a person does about it.
    """

    policy: str
    plan: PolicyPlan | None = None
    applied: Applied | None = None
    refused: str | None = None
    hint: str | None = None

    @property
    def exit_code(self) -> int:
        """0, 9 where something is PENDING or UNVERIFIABLE; a refusal is for the report, not a failure."""
        return 0 if self.applied is None else self.applied.exit_code

    def to_json(self) -> Mapping[str, object]:
        """Return the summary for programs."""
        done = self.applied
        return {
            "policy": self.policy,
            "plan": self.plan.uid if self.plan is not None else done.plan if done is not None else None,
            "due": 0 if self.plan is None else len(self.plan.survey.acts),
            "waiting": 0 if self.plan is None else len(self.plan.survey.waits),
            "noticed": 0 if self.plan is None else len(self.plan.noticed),
            "done": 0 if done is None else len(done.done),
            "retained": 0 if done is None else len(done.retained),
            "outcomes": [] if done is None else [each.to_json() for each in done.outcomes],
            "not_covered": [] if done is None else done.not_covered(),
            "refused": self.refused,
            "hint": self.hint,
            "exit_code": self.exit_code,
        }

    def lines(self) -> list[str]:
        """Return the summary for people."""
        if self.refused is not None:
            return [
                f'policy "{self.policy}" was not applied: {self.refused}',
                *([self.hint] if self.hint else []),
            ]
        if self.applied is not None:
            return self.applied.lines()
        return [] if self.plan is None else self.plan.lines()[:1]


def apply_scheduled(policy_name: str, rooms: Rooms) -> AppliedSummary:
    """Apply a policy as a timer does: notice first, the limits hold, and a version must have been planned by a person.

    A plan that a timer began and did not finish is finished. Never raises for what only a person can decide.

    Raises:
        NotFound: There is no such policy.
        UsageError: It is wrong, with file and line.
    """
    policy = load_named(policy_name, rooms)
    plan: PolicyPlan | None = None
    try:
        begun = _begun(policy, rooms)
        if begun is not None:
            return AppliedSummary(policy.name, applied=_apply(begun.uid, rooms))
        _require_person(policy, rooms)
        plan = make_plan(rooms, policy.name, scheduled=True)
        if not plan.survey.acts:
            return AppliedSummary(policy.name, plan)
        return AppliedSummary(policy.name, plan, _apply(plan.uid, rooms))
    except (Refused, Busy) as error:
        return AppliedSummary(policy.name, plan, refused=error.message, hint=error.hint)


def _apply(uid: str, rooms: Rooms) -> Applied:
    return apply(uid, rooms=rooms, permission=Permission(scheduled=True))


def _begun(policy: Policy, rooms: Rooms) -> PlanRow | None:
    now = rooms.clock()
    with rooms.registry.read() as uow:
        rows = uow.plans.of_policy(policy.name)
    for row in rows:
        if row.body.get("begun_at") and row.applied_at is None and now - row.made_at <= OLDEST:
            return row
    return None


def _require_person(policy: Policy, rooms: Rooms) -> None:
    """Refuse a version that no person has looked at, and a time that no person has looked at since it leapt.

    A wrong clock moves the anchor on as soon as anything is written by it, so that one night later it looks right.
    Whoever plans by hand sees the date.
    """
    with rooms.registry.read() as uow:
        rows = uow.plans.of_policy(policy.name, by_hand=True)
        mine = [row for row in rows if row.body["policy"]["digest"] == policy.digest()]
        leap = uow.plans.leap_since(mine[0].made_at if mine else None, CLOCK_AHEAD)
    hint = f"vlm policy plan --policy {policy.name}"
    if policy.dry_run_first and not mine:
        raise Refused(
            f'nobody has planned version {policy.version} of policy "{policy.name}" yet, so a timer does not '
            "apply it",
            hint=hint,
        )
    if leap is not None:
        raise Refused(
            f"the time went from {leap[0]:%Y-%m-%d} to {leap[1]:%Y-%m-%d} at once, and nobody has planned since, "
            f'so a timer does not apply policy "{policy.name}"',
            hint=f"if the time is right now: {hint}",
        )
