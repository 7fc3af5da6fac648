"""What derives from a recording, and what a purge may say about each thing it touched."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from lifecycle.domain.canonical import Json
from lifecycle.domain.digest import Digest
from lifecycle.domain.voices import Artifact, DataClass, Role


class NodeState(StrEnum):
    """What is known about one place after a purge. Source: docs/explanation/what-a-purge-does.md."""

    VERIFIED = "VERIFIED"
    CRYPTO_ERASED = "CRYPTO-ERASED"
    PENDING = "PENDING"
    UNVERIFIABLE = "UNVERIFIABLE"
    NOT_COVERED = "NOT-COVERED"
    RETAINED = "RETAINED"

    @property
    def in_scope(self) -> bool:
        """Whether the purge meant to destroy the thing; only those decide the result."""
        return self not in {NodeState.NOT_COVERED, NodeState.RETAINED}


_WORSE: Sequence[NodeState] = (
    NodeState.VERIFIED,
    NodeState.CRYPTO_ERASED,
    NodeState.PENDING,
    NodeState.UNVERIFIABLE,
)

NOTHING_LEFT_OPEN = frozenset({NodeState.VERIFIED, NodeState.CRYPTO_ERASED})


@dataclass(frozen=True, slots=True)
class Node:
    """One place that a purge destroyed, kept or could not reach.

    Attributes:
        uid: Random; says nothing about the thing.
        kind: "blob", "key", "original", "rows", "residue", "work", or what is kept: "weights", "consent", ...
        what: The role or class of the thing, or the name of what was not reached.
        method: How it was destroyed; empty for what was kept or not reached.
        check: How a fresh process looked at it again; empty where nobody could look.
        basis: Why it is kept; only with RETAINED.
        until: RFC 3339 UTC; the end of PENDING and RETAINED where one is known.
        derived_from: Nodes whose things it was made from.
    """

    uid: str
    kind: str
    what: str
    state: NodeState
    method: str = ""
    check: str = ""
    basis: str | None = None
    until: str | None = None
    derived_from: tuple[str, ...] = ()

    def seen(self, state: NodeState, check: str) -> Node:
        """Return the node with what a look at it gave."""
        return replace(self, state=state, check=check)

    def to_json(self) -> dict[str, Json]:
        """Return the node as it stands in a receipt; empty fields are left out."""
        fields: dict[str, Json] = {
            "id": self.uid,
            "kind": self.kind,
            "what": self.what,
            "state": self.state.value,
            "method": self.method,
            "check": self.check,
            "basis": self.basis,
            "until": self.until,
            "derived_from": list(self.derived_from),
        }
        return {key: value for key, value in fields.items() if value}


def worst(nodes: Iterable[Node]) -> NodeState:
    """Return the worst state in scope; a purge that had nothing to destroy is VERIFIED.

    NOT-COVERED and RETAINED are never folded in: they stand beside the result as lists.
    """
    found = [node.state for node in nodes if node.state.in_scope]
    return max(found, key=_WORSE.index, default=NodeState.VERIFIED)


def exit_code(nodes: Iterable[Node]) -> int:
    """Return 9 where something in scope is PENDING or UNVERIFIABLE, else 0."""
    return 0 if worst(nodes) in NOTHING_LEFT_OPEN else 9


# What each role is made from. Weights were trained on features, so they belong to the graph although a purge
# of recordings keeps them: a model may remember a voice, and the receipt has to name it.
MADE_FROM: Mapping[Role, frozenset[Role]] = {
    Role.REFERENCE: frozenset({Role.AUDIO}),
    Role.FEATURES: frozenset({Role.AUDIO}),
    Role.EMBEDDING: frozenset({Role.AUDIO, Role.REFERENCE}),
    Role.WEIGHTS: frozenset({Role.AUDIO, Role.FEATURES, Role.BASE}),
    Role.EXPORT: frozenset({Role.WEIGHTS}),
    Role.IMAGE: frozenset({Role.WEIGHTS, Role.LOCKFILE, Role.CODE}),
    Role.GOLDEN: frozenset({Role.WEIGHTS, Role.EMBEDDING, Role.REFERENCE}),
}


def parents(artifacts: Sequence[Artifact]) -> dict[str, tuple[str, ...]]:
    """Return, for each artifact of one voice, the artifacts that it was made from.

    Two artifacts of different versions do not derive from each other; one without a version (recordings)
    derives to every version.
    """
    found: dict[str, tuple[str, ...]] = {}
    for child in artifacts:
        roles = MADE_FROM.get(child.role, frozenset())
        found[child.uid] = tuple(
            other.uid
            for other in artifacts
            if other.role in roles and _same_version(other, child) and other.uid != child.uid
        )
    return found


def _same_version(one: Artifact, other: Artifact) -> bool:
    return None in {one.version_uid, other.version_uid} or one.version_uid == other.version_uid


def descendants(roots: Collection[str], made_from: Mapping[str, Collection[str]]) -> frozenset[str]:
    """Return everything that was made, directly or through others, from `roots`; the roots themselves not."""
    reached = set(roots)
    grows = True
    while grows:
        new = {child for child, of in made_from.items() if child not in reached and reached & set(of)}
        reached |= new
        grows = bool(new)
    return frozenset(reached - set(roots))


def erasable(owners: Mapping[Digest, Collection[str]], voice_uid: str) -> frozenset[Digest]:
    """Return the blobs that only this voice refers to.

    A blob shared with another voice stays: removing it would damage that voice. Touches no store.

    Args:
        owners: For each blob, the ids of all voices that refer to it.
        voice_uid: The voice that leaves.
    """
    return frozenset(digest for digest, voices in owners.items() if set(voices) == {voice_uid})


PERSONAL = frozenset({DataClass.SOURCE, DataClass.TEMPLATE})
