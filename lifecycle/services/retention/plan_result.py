"""A plan of a policy, as programs and people are told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from lifecycle.domain.policies import Policy
from lifecycle.domain.retention import last_day
from lifecycle.services.retention.survey import Finding, Survey, finding_json, waits_for

SHORT = 8


@dataclass(frozen=True, slots=True)
class PolicyPlan:
    """What applying a policy would do.

    Attributes:
        uid: Empty with `dry_run`: then nothing was stored, and nothing can be applied.
        voices, stored_bytes: Of the whole registry, for the policy's limits.
        noticed: Findings whose notice this plan gave.
        over: What of the policy's limits it exceeds, each as a clause.
        others: How many voices are kept by other policies.
        envelope: The signed plan, as bytes.
    """

    uid: str
    policy: Policy
    made_at: datetime
    scheduled: bool
    survey: Survey
    voices: int
    stored_bytes: int
    noticed: tuple[Finding, ...] = ()
    over: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    all_matched: bool = False
    envelope: bytes = b""

    @property
    def short(self) -> str:
        """The first digits of its id, enough to name it."""
        return self.uid[:SHORT]

    @property
    def destroyed_bytes(self) -> int:
        """How much goes."""
        return sum(each.destroyed_bytes for each in self.survey.acts)

    @property
    def needs_approval(self) -> bool:
        """Whether somebody's name is needed to apply it."""
        most = self.policy.needed_above
        return most is not None and len(self.survey.acts) > most

    def to_json(self) -> dict[str, object]:
        """Return the plan for programs."""
        found = self.survey
        return {
            "plan": self.uid or None,
            "policy": self.policy.name,
            "version": self.policy.version,
            "made_at": self.made_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "matched": found.matched,
            "voices": self.voices,
            "actions": [finding_json(each, self.policy) for each in found.acts],
            "waiting": [finding_json(each, self.policy) for each in found.waits],
            "size": self.destroyed_bytes,
            "noticed": [each.voice for each in self.noticed],
            "over_limits": list(self.over),
            "needs_approval": self.needs_approval,
            "other_policies": list(self.others),
            "inventory": found.digest,
            "dry_run": not self.uid,
        }

    def lines(self) -> list[str]:
        """Return the plan for people, the answer first."""
        from lifecycle.render.output import columns, megabytes, printable

        found, policy = self.survey, self.policy
        lines = [self._answer()]
        rows = [
            [
                f"  {each.does.value}",
                each.voice,
                f"{_files(each.decision.count)}, {megabytes(each.destroyed_bytes)}"
                if each.destroyed_bytes
                else "nothing goes",
                f"due since the end of {last_day(each.decision.delete_due, policy.timezone)}",
                f'rule "{each.decision.rule.id}": {each.decision.because}',
            ]
            for each in found.acts
        ]
        lines += columns(rows)
        if found.waits:
            lines.append(f"{len(found.waits)} not now:")
            lines += columns(
                [
                    [
                        f"  {each.decision.action.value}",
                        each.voice,
                        printable(waits_for(each, policy)),
                        f'rule "{each.decision.rule.id}": {each.decision.because}',
                    ]
                    for each in found.waits
                ]
            )
        if self.noticed:
            lines.append(
                f"notice was given of {_voices(len(self.noticed))}; nothing of it is done before that is old enough"
            )
        lines += [f"over the limits: {each}" for each in self.over]
        if self.others:
            named = ", ".join(self.others[:5])
            lines.append(
                f"voices of other policies ({named}) were not looked at    vlm policy plan --policy NAME"
            )
        return [*lines, *self._next()]

    def _answer(self) -> str:
        found = self.survey
        name = f'policy "{self.policy.name}" version {self.policy.version}'
        looked = f"{_voices(found.matched)} looked at"
        if not found.matched:
            return f"{name} is about no voice that is meant here; nothing to do"
        if not found.acts:
            return f"{name}: {looked}, nothing to do now"
        return f"{name}: {looked}, {len(found.acts)} to act on"

    def _next(self) -> list[str]:
        if not self.uid:
            return ["nothing was stored (--dry-run)"]
        if not self.survey.acts:
            return []
        over = f" --over-limit {self.short}" if self.over or self.all_matched else ""
        approved = " --approved-by NAME" if self.needs_approval else ""
        return [f"plan {self.short}; within 24 hours: vlm policy apply {self.short}{over}{approved}"]


def _voices(number: int) -> str:
    return f"{number} voice" if number == 1 else f"{number} voices"


def _files(number: int) -> str:
    return f"{number} file" if number == 1 else f"{number} files"
