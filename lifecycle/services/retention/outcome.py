"""What applying a plan of a policy did, as programs and people are told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lifecycle.domain.policies import Action
from lifecycle.erasure.graph import NodeState
from lifecycle.erasure.receipt import wording
from lifecycle.services.purges.result import Purged

_PAST = {
    Action.PURGE_AUDIO: "purged the recordings of",
    Action.ERASE: "erased",
    Action.RETIRE: "retired",
    Action.REVIEW: "left",
}

_BARE = {
    Action.PURGE_AUDIO: "purge the recordings of",
    Action.ERASE: "erase",
    Action.RETIRE: "retire",
    Action.REVIEW: "leave",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened to one voice.

    Attributes:
        result: "done", "retained" where something came between, or "would" where nothing was asked for yet.
        open: Places that are PENDING or UNVERIFIABLE.
        kept: What is RETAINED, each with its reason.
        not_covered: What no purge here reaches.
    """

    voice: str
    action: Action
    rule: str
    result: str
    says: str
    certificate: Path | None = None
    open: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    not_covered: tuple[str, ...] = ()
    exit_code: int = 0

    @classmethod
    def of_purge(cls, done: Purged, *, name: str, action: Action, rule: str) -> Outcome:
        """Return the outcome of a purge or an erasure."""
        nodes = done.receipt.nodes
        kept: dict[str, None] = {}
        for node in nodes:
            if node.state is NodeState.RETAINED:
                until = f" until {node.until[:10]}" if node.until else ""
                kept[f"{node.kind}{until} ({node.basis})"] = None
        return cls(
            voice=name,
            action=action,
            rule=rule,
            result="done",
            says=wording(done.receipt),
            certificate=done.certificate,
            open=tuple(
                f"{node.kind} {node.what}: {node.check}"
                for node in nodes
                if node.state in {NodeState.PENDING, NodeState.UNVERIFIABLE}
            ),
            kept=tuple(kept),
            not_covered=tuple(node.what for node in nodes if node.state is NodeState.NOT_COVERED),
            exit_code=done.exit_code,
        )

    def to_json(self) -> dict[str, object]:
        """Return the outcome for programs."""
        return {
            "voice": self.voice,
            "action": self.action.value,
            "rule": self.rule,
            "result": self.result,
            "says": self.says,
            "certificate": None if self.certificate is None else str(self.certificate),
            "open": list(self.open),
            "retained": list(self.kept),
        }


@dataclass(frozen=True, slots=True)
class Applied:
    """What applying a plan did."""

    plan: str
    policy: str
    version: int
    outcomes: tuple[Outcome, ...]
    dry_run: bool = False

    @property
    def exit_code(self) -> int:
        """0, or 9 where something in scope is PENDING or UNVERIFIABLE."""
        return max((each.exit_code for each in self.outcomes), default=0)

    @property
    def done(self) -> list[Outcome]:
        """What was done."""
        return [each for each in self.outcomes if each.result == "done"]

    @property
    def retained(self) -> list[Outcome]:
        """What was due and stays."""
        return [each for each in self.outcomes if each.result == "retained"]

    def not_covered(self) -> list[str]:
        """What none of the purges reached, each named once."""
        return list(dict.fromkeys(what for each in self.outcomes for what in each.not_covered))

    def to_json(self) -> dict[str, object]:
        """Return the result for programs."""
        return {
            "plan": self.plan,
            "policy": self.policy,
            "version": self.version,
            "outcomes": [each.to_json() for each in self.outcomes],
            "done": len(self.done),
            "retained": len(self.retained),
            "not_covered": self.not_covered(),
            "dry_run": self.dry_run,
        }

    def lines(self) -> list[str]:
        """Return the result for people, the answer first."""
        if not self.outcomes:
            return [f'plan {self.plan[:8]} of policy "{self.policy}": there was nothing to do']
        if self.dry_run:
            lines = [f'plan {self.plan[:8]} of policy "{self.policy}" acts on {len(self.outcomes)}:']
            return [*lines, *(f"  {_BARE[each.action]} {each.voice}: {each.says}" for each in self.outcomes)]
        lines = [
            f'plan {self.plan[:8]} of policy "{self.policy}": {len(self.done)} done, {len(self.retained)} retained'
        ]
        for each in self.done:
            lines.append(f"  {_PAST[each.action]} {each.voice}: {each.says}")
            lines += [f"    PENDING {what}" for what in each.open]
            lines += [f"    kept: {what}" for what in each.kept]
            if each.certificate is not None:
                lines.append(f"    certificate: {each.certificate}")
        lines += [f"  RETAINED {each.voice}: {each.says}" for each in self.retained]
        if missed := self.not_covered():
            lines.append(f"not reached: {'; '.join(missed)}")
        return lines
