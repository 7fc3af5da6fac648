"""The plan of a purge: frozen, hashed and shown before the question, then carried out as it stands."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from lifecycle.domain.canonical import Json, canonical_json
from lifecycle.domain.digest import Digest
from lifecycle.domain.voices import Artifact, DataClass, Role
from lifecycle.erasure.graph import PERSONAL, Node, NodeState, erasable, parents


class PurgeVerb(StrEnum):
    """Which of the two destructions it is."""

    PURGE_AUDIO = "purge-audio"
    ERASE = "erase"


#: What people may give as a reason, and what vlm gives itself.
BASES = ("withdrawal", "expiry", "contract", "order")
ALL_BASES = (*BASES, "policy")


@dataclass(frozen=True, slots=True)
class KeySet:
    """A data key and whose it is: one per voice, class and recording set."""

    uid: str
    key_id: str
    data_class: DataClass
    subject_uid: str | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """A document that is kept under a key of its own until a date."""

    artifact_uid: str
    until: str | None


@dataclass(frozen=True, slots=True)
class Scope:
    """Everything that a plan is made from; values, fetched by the service.

    Attributes:
        artifacts: All that are still there, of every class and version of the voice.
        owners: For each blob of class model, every voice that refers to it.
        leaving: Subjects of the voice of whom nothing else lives; their labels go too.
        model_until: When the policy ends what it keeps; RFC 3339 UTC.
    """

    voice_uid: str
    artifacts: Sequence[Artifact]
    sets: Sequence[KeySet]
    owners: Mapping[Digest, Collection[str]]
    subject_uids: Sequence[str] = ()
    leaving: Sequence[str] = ()
    evidence: Sequence[Evidence] = ()
    model_until: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """One stored blob that will be destroyed."""

    node_uid: str
    artifact_uid: str
    role: Role
    data_class: DataClass
    digest: Digest
    size_bytes: int
    key_id: str | None
    remove_blob: bool = True

    def to_json(self) -> dict[str, Json]:
        """Return the target with random ids and the digest of its ciphertext."""
        return {
            "node": self.node_uid,
            "artifact": self.artifact_uid,
            "role": self.role.value,
            "class": self.data_class.value,
            "digest": str(self.digest),
            "size_bytes": self.size_bytes,
            "key": self.key_id,
            "remove_blob": self.remove_blob,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Target:
        """Read a target back from a purge row."""
        key = data["key"]
        return cls(
            node_uid=str(data["node"]),
            artifact_uid=str(data["artifact"]),
            role=Role(str(data["role"])),
            data_class=DataClass(str(data["class"])),
            digest=Digest.parse(str(data["digest"])),
            size_bytes=int(str(data["size_bytes"])),
            key_id=None if key is None else str(key),
            remove_blob=bool(data["remove_blob"]),
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """What one purge will destroy and what it will keep; holds random ids only.

    Attributes:
        keys: Node id for each data key that dies.
        key_owners: The subject of each of those keys; None for a voice without one.
        kept: Nodes that are RETAINED, each with its basis.
        leaving: Subjects whose label rows go.
        remove_originals: Whether the files at the recorded paths were asked for too.
    """

    verb: PurgeVerb
    voice_uid: str
    subject_uids: tuple[str, ...]
    leaving: tuple[str, ...]
    targets: tuple[Target, ...]
    keys: Mapping[str, str]
    key_owners: Mapping[str, str | None]
    sets: tuple[str, ...]
    kept: tuple[Node, ...]
    made_from: Mapping[str, tuple[str, ...]]
    basis: str | None = None
    remove_originals: bool = False

    def key_groups(self) -> list[tuple[str | None, list[str]]]:
        """Return the dying keys by subject; a subject who leaves is named even without a key here."""
        whose = [*self.leaving, *(owner for owner in self.key_owners.values() if owner not in self.leaving)]
        return [
            (subject, sorted(key for key, owner in self.key_owners.items() if owner == subject))
            for subject in dict.fromkeys(whose)
        ]

    @property
    def mutes(self) -> bool:
        """Whether the voice loses what it is conditioned on."""
        return any(target.role in {Role.REFERENCE, Role.EMBEDDING} for target in self.targets)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to destroy."""
        nothing = not self.targets and not self.keys
        return nothing and self.verb is PurgeVerb.PURGE_AUDIO

    def counts(self) -> Mapping[str, int]:
        """Return how many of each role go, in the order in which people ask."""
        found = Counter(target.role.value for target in self.targets if target.remove_blob)
        return {role.value: found[role.value] for role in _ORDER if found[role.value]}

    def to_json(self) -> dict[str, Json]:
        """Return the plan as it is hashed and stored."""
        return {
            "verb": self.verb.value,
            "voice": self.voice_uid,
            "subjects": list(self.subject_uids),
            "leaving": list(self.leaving),
            "targets": [target.to_json() for target in self.targets],
            "keys": dict(self.keys),
            "key_owners": dict(self.key_owners),
            "sets": list(self.sets),
            "kept": [node.to_json() for node in self.kept],
            "made_from": {child: list(of) for child, of in self.made_from.items()},
            "basis": self.basis,
            "remove_originals": self.remove_originals,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Plan:
        """Read a plan back from a purge row.

        Raises:
            ValueError: The row does not hold a plan.
        """
        try:
            return _plan(data)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a plan of a purge: {error}") from None

    def digest(self) -> str:
        """Return `sha256:` of the canonical plan; the receipt names it."""
        return "sha256:" + hashlib.sha256(canonical_json(self.to_json())).hexdigest()


_ORDER = (Role.AUDIO, Role.FEATURES, Role.REFERENCE, Role.EMBEDDING, Role.GOLDEN, *Role)


def _plan(data: Mapping[str, object]) -> Plan:
    targets, kept, keys, made = data["targets"], data["kept"], data["keys"], data["made_from"]
    if not (isinstance(targets, list) and isinstance(kept, list)):
        raise TypeError("targets and kept must be lists")
    owners = data["key_owners"]
    if not (isinstance(keys, dict) and isinstance(made, dict) and isinstance(owners, dict)):
        raise TypeError("keys, key_owners and made_from must be objects")
    basis = data["basis"]
    return Plan(
        verb=PurgeVerb(str(data["verb"])),
        voice_uid=str(data["voice"]),
        subject_uids=_texts(data["subjects"]),
        leaving=_texts(data["leaving"]),
        targets=tuple(Target.from_json(item) for item in targets),
        keys={str(key): str(node) for key, node in keys.items()},
        key_owners={str(key): None if whose is None else str(whose) for key, whose in owners.items()},
        sets=_texts(data["sets"]),
        kept=tuple(node_from_json(item) for item in kept),
        made_from={str(child): _texts(of) for child, of in made.items()},
        basis=None if basis is None else str(basis),
        remove_originals=bool(data["remove_originals"]),
    )


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError("a list of ids is missing")
    return tuple(str(item) for item in value)


def node_from_json(data: Mapping[str, object]) -> Node:
    """Read a node back from a plan or a receipt.

    Raises:
        KeyError: A field is missing.
        ValueError: The state is unknown.
    """
    basis, until = data.get("basis"), data.get("until")
    return Node(
        uid=str(data["id"]),
        kind=str(data["kind"]),
        what=str(data["what"]),
        state=NodeState(str(data["state"])),
        method=str(data.get("method", "")),
        check=str(data.get("check", "")),
        basis=None if basis is None else str(basis),
        until=None if until is None else str(until),
        derived_from=_texts(data.get("derived_from", [])),
    )


def make_plan(
    scope: Scope,
    verb: PurgeVerb,
    *,
    new_uid: Callable[[], str],
    basis: str | None = None,
    remove_originals: bool = False,
) -> Plan:
    """Decide what goes and what stays.

    `purge-audio` takes classes source and template, `erase` also class model; a model blob that another voice
    refers to stays where it is, and only this voice's claim on it goes. Evidence always stays until its date.
    """
    nodes = {artifact.uid: new_uid() for artifact in scope.artifacts}
    alone = erasable(scope.owners, scope.voice_uid)
    dying = PERSONAL | ({DataClass.MODEL} if verb is PurgeVerb.ERASE else frozenset())
    targets = tuple(
        Target(
            node_uid=nodes[artifact.uid],
            artifact_uid=artifact.uid,
            role=artifact.role,
            data_class=artifact.data_class,
            digest=artifact.digest,
            size_bytes=artifact.size_bytes,
            key_id=artifact.key_id,
            remove_blob=artifact.data_class.sealed or artifact.digest in alone,
        )
        for artifact in scope.artifacts
        if artifact.data_class in dying
    )
    subject = scope.subject_uids[0] if len(scope.subject_uids) == 1 else None
    owners = {target.key_id: subject for target in targets if target.key_id is not None}
    dying_sets = [each for each in scope.sets if each.data_class in PERSONAL]
    owners |= {each.key_id: each.subject_uid for each in dying_sets}
    made_from = {
        nodes[child]: tuple(nodes[parent] for parent in of)
        for child, of in parents(scope.artifacts).items()
        if of
    }
    return Plan(
        verb=verb,
        voice_uid=scope.voice_uid,
        subject_uids=tuple(sorted(scope.subject_uids)),
        leaving=tuple(sorted(scope.leaving)),
        targets=targets,
        keys={key_id: new_uid() for key_id in owners},
        key_owners=owners,
        sets=tuple(each.uid for each in dying_sets),
        kept=_kept(scope, verb, nodes),
        made_from=made_from,
        basis=basis,
        remove_originals=remove_originals,
    )


def _kept(scope: Scope, verb: PurgeVerb, nodes: Mapping[str, str]) -> tuple[Node, ...]:
    until = {each.artifact_uid: each.until for each in scope.evidence}
    kept: list[Node] = []
    for artifact in scope.artifacts:
        shared = set(scope.owners.get(artifact.digest, ())) - {scope.voice_uid}
        if artifact.data_class is DataClass.EVIDENCE:
            basis, end = "evidence of consent", until.get(artifact.uid)
        elif artifact.data_class is not DataClass.MODEL:
            continue
        elif verb is PurgeVerb.PURGE_AUDIO:
            basis, end = "policy", scope.model_until
        elif shared:
            basis, end = "another voice refers to it", None
        else:
            continue
        kept.append(
            Node(
                uid=nodes[artifact.uid],
                kind=artifact.role.value,
                what=artifact.data_class.value,
                state=NodeState.RETAINED,
                basis=basis,
                until=end,
            )
        )
    return tuple(kept)
