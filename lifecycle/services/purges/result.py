"""What a purge did, as programs and people are told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lifecycle.erasure.graph import NOTHING_LEFT_OPEN, Node, NodeState, exit_code
from lifecycle.erasure.plan import Plan, PurgeVerb
from lifecycle.erasure.receipt import Receipt, counts, wording


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge did, with its receipt."""

    voice: str
    plan: Plan
    receipt: Receipt
    certificate: Path
    page: Path

    @property
    def exit_code(self) -> int:
        """0, or 9 where something in scope is PENDING or UNVERIFIABLE."""
        return exit_code(self.receipt.nodes)

    def to_json(self) -> Mapping[str, object]:
        """Return the result for programs."""
        nodes = self.receipt.nodes
        return {
            "voice": self.voice,
            "state": "erased" if self.plan.verb is PurgeVerb.ERASE else "retired",
            "purged": True,
            "purge": self.receipt.purge_uid,
            "result": self.receipt.result.value,
            "wording": wording(self.receipt),
            "mute": self.plan.mutes,
            "destroyed": dict(self.plan.counts()),
            "places": counts(nodes),
            "open": [node.to_json() for node in _open_nodes(nodes)],
            "retained": [node.to_json() for node in nodes if node.state is NodeState.RETAINED],
            "not_covered": [node.what for node in nodes if node.state is NodeState.NOT_COVERED],
            "certificate": str(self.certificate),
            "page": str(self.page),
            "dry_run": False,
        }

    def lines(self, *, verbose: bool = False) -> list[str]:
        """Return the result for people, the answer first."""
        erased = self.plan.verb is PurgeVerb.ERASE
        says = wording(self.receipt)
        lines = [f"erased {self.voice}. {says}" if erased else f"retired {self.voice}. {says}"]
        lines += [
            f"  {node.state.value}: {node.kind} {node.what}: {node.check}"
            for node in _open_nodes(self.receipt.nodes)
        ]
        models = [n for n in self.receipt.nodes if n.state is NodeState.RETAINED and n.basis == "policy"]
        if models:
            until = f" until {models[0].until[:10]} (policy)" if models[0].until else ""
            speaks = "with another clip it speaks again" if self.plan.mutes else "it can still speak"
            lines.append(f"  model: KEPT{until}, and {speaks}; to remove it too: vlm erase {self.voice}")
        others = Counter(
            (node.kind, node.basis, node.until)
            for node in self.receipt.nodes
            if node.state is NodeState.RETAINED and node.basis != "policy"
        )
        for (kind, basis, end), number in others.items():
            until = f" until {end[:10]}" if end else ""
            lines.append(f"  {kind}: KEPT{until} ({number} {'file' if number == 1 else 'files'}, {basis})")
        missed = [node.what for node in self.receipt.nodes if node.state is NodeState.NOT_COVERED]
        lines.append(f"  not reached: {'; '.join(missed)}")
        if verbose:
            lines.append(f"  places: {counts(self.receipt.nodes)}; epochs: {dict(self.receipt.epochs)}")
        lines.append(f"certificate: {self.certificate}")
        lines.append(f"  check it anywhere: vlm certificate verify {self.certificate}")
        return lines


def _open_nodes(nodes: tuple[Node, ...]) -> list[Node]:
    return [node for node in nodes if node.state.in_scope and node.state not in NOTHING_LEFT_OPEN]
