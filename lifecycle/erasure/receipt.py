"""The receipt of a purge: an in-toto statement that an outsider can read and check without our registry.

It holds random ids, digests, states and times; never a name, a reason or a path. The envelope around it
(DSSE) is the vault's; here the statement is made, read strictly, and put into words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from lifecycle.domain.canonical import Json
from lifecycle.erasure.graph import NOTHING_LEFT_OPEN, Node, NodeState, worst
from lifecycle.erasure.plan import ALL_BASES, PurgeVerb, node_from_json

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:voice-lifecycle:erasure-receipt:v1"

_UID = re.compile(r"[0-9a-f]{32}")
_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")
_MAX_NODES = 1_000_000


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one purge did, as it can be shown to anyone.

    Attributes:
        plan_digest: `sha256:` of the plan that was shown before the question.
        ledger_entry: The erasure ledger's committed entry, so that this file alone can replay it.
        checkpoint: A signed checkpoint of the trail that covers the purge; two receipts can show a fork.
        epochs: "destroyed" and "current" key epochs, by number.
        public_keys: Raw public keys (hexadecimal) that signed the two, by purpose: "ledger", "checkpoint".
    """

    purge_uid: str
    verb: PurgeVerb
    voice_uid: str
    subject_uids: tuple[str, ...]
    plan_digest: str
    basis: str | None
    nodes: tuple[Node, ...]
    committed_at: str
    destroyed_at: str
    verified_at: str
    ledger_entry: Mapping[str, Json]
    checkpoint: Mapping[str, Json]
    epochs: Mapping[str, Json] = field(default_factory=dict)
    public_keys: Mapping[str, str] = field(default_factory=dict)
    tool: str = ""
    validator: str = "a fresh process of the same program on the same machine"

    @property
    def result(self) -> NodeState:
        """The worst state in scope."""
        return worst(self.nodes)


def statement(receipt: Receipt) -> dict[str, Json]:
    """Return the in-toto Statement v1 of a receipt. Source: github.com/in-toto/attestation, spec v1."""
    predicate: dict[str, Json] = {
        "purge": receipt.purge_uid,
        "verb": receipt.verb.value,
        "voice": receipt.voice_uid,
        "subjects": list(receipt.subject_uids),
        "result": receipt.result.value,
        "wording": wording(receipt),
        "basis": receipt.basis,
        "committed_at": receipt.committed_at,
        "destroyed_at": receipt.destroyed_at,
        "verified_at": receipt.verified_at,
        "validator": receipt.validator,
        "nodes": [node.to_json() for node in receipt.nodes],
        "epochs": dict(receipt.epochs),
        "ledger_entry": dict(receipt.ledger_entry),
        "checkpoint": dict(receipt.checkpoint),
        "public_keys": dict(receipt.public_keys),
        "tool": receipt.tool,
    }
    return {
        "_type": STATEMENT_TYPE,
        "subject": [
            {
                "name": f"purge-plan:{receipt.purge_uid}",
                "digest": {"sha256": receipt.plan_digest.removeprefix("sha256:")},
            }
        ],
        "predicateType": PREDICATE_TYPE,
        "predicate": predicate,
    }


def wording(receipt: Receipt) -> str:
    """Return the one sentence that the result is worth; it never promises more."""
    erased = receipt.verb is PurgeVerb.ERASE
    what = "the recordings and what was made from them"
    if erased:
        what = "the voice, its recordings and what was made from them"
    if receipt.result in NOTHING_LEFT_OPEN:
        plain = " (its model was not sealed: a copy of VLM_HOME from before still holds it)" if erased else ""
        return (
            f"{what}: destroyed, provided no copy of VLM_KEYS from before {receipt.destroyed_at[:19]}Z exists "
            f"and freed blocks of this disk are not read{plain}"
        )
    bad = sum(1 for node in receipt.nodes if node.state.in_scope and node.state not in NOTHING_LEFT_OPEN)
    return f"{what}: not all destroyed or not all looked at again; {bad} places are {receipt.result.value}"


def read_statement(data: Mapping[str, object]) -> Receipt:
    """Read a receipt from a statement, believing nothing about its form.

    Raises:
        ValueError: A field is missing, of the wrong kind, or contradicts another.
    """
    try:
        receipt = _read(data)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is not an erasure receipt: {error}") from None
    _check(receipt, data)
    return receipt


def _read(data: Mapping[str, object]) -> Receipt:
    if data["_type"] != STATEMENT_TYPE or data["predicateType"] != PREDICATE_TYPE:
        raise ValueError("it is not an in-toto statement of an erasure receipt, version 1")
    body, subjects = data["predicate"], data["subject"]
    if not isinstance(body, dict) or not isinstance(subjects, list) or len(subjects) != 1:
        raise TypeError("predicate or subject")
    nodes = body["nodes"]
    if not isinstance(nodes, list) or len(nodes) > _MAX_NODES:
        raise TypeError("nodes")
    basis = body["basis"]
    return Receipt(
        purge_uid=str(body["purge"]),
        verb=PurgeVerb(str(body["verb"])),
        voice_uid=str(body["voice"]),
        subject_uids=tuple(str(item) for item in body["subjects"]),
        plan_digest="sha256:" + str(subjects[0]["digest"]["sha256"]),
        basis=None if basis is None else str(basis),
        nodes=tuple(node_from_json(item) for item in nodes),
        committed_at=str(body["committed_at"]),
        destroyed_at=str(body["destroyed_at"]),
        verified_at=str(body["verified_at"]),
        ledger_entry=dict(body["ledger_entry"]),
        checkpoint=dict(body["checkpoint"]),
        epochs=dict(body["epochs"]),
        public_keys={str(purpose): str(key) for purpose, key in body["public_keys"].items()},
        tool=str(body["tool"]),
        validator=str(body["validator"]),
    )


def _check(receipt: Receipt, data: Mapping[str, object]) -> None:
    body = data["predicate"]
    stated = body["result"] if isinstance(body, dict) else None
    ids = (receipt.purge_uid, receipt.voice_uid, *receipt.subject_uids, *(n.uid for n in receipt.nodes))
    if not all(_UID.fullmatch(uid) for uid in ids):
        raise ValueError("an id in it is not 32 hexadecimal digits")
    if _SHA256.fullmatch(receipt.plan_digest) is None:
        raise ValueError("the digest of its plan is not a SHA-256")
    times = (receipt.committed_at, receipt.destroyed_at, receipt.verified_at)
    if not all(_TIME.fullmatch(at) for at in times) or not times[0] <= times[1] <= times[2]:
        raise ValueError("its times are not in order or not RFC 3339 UTC")
    if receipt.basis is not None and receipt.basis not in ALL_BASES:
        raise ValueError(f'its basis "{receipt.basis}" is unknown')
    if len({node.uid for node in receipt.nodes}) != len(receipt.nodes):
        raise ValueError("it names one place twice")
    if stated != receipt.result.value:
        raise ValueError(f"it states {stated}, but its places say {receipt.result.value}")


def proves(receipt: Receipt) -> list[str]:
    """Return what a receipt with a good signature shows, one sentence each."""
    gone = [node for node in receipt.nodes if node.state in NOTHING_LEFT_OPEN]
    lines = [
        f"{len(gone)} places were destroyed and looked at again ({receipt.validator}, {receipt.verified_at})",
        f"what was to be destroyed was fixed before: plan {receipt.plan_digest[:23]}...",
        "whoever holds the signing key said so, and the file was not changed since",
    ]
    kept = [node for node in receipt.nodes if node.state is NodeState.RETAINED]
    if kept:
        lines.append(f"{len(kept)} things were kept on purpose, each with its basis")
    return lines


def does_not_prove(receipt: Receipt, *, key_known: bool) -> list[str]:
    """Return what the receipt leaves open, one sentence each."""
    lines = [
        "that no copy was made before, by anyone",
        "that the machine told the truth about itself; a timestamp by others was not taken",
    ]
    if not key_known:
        lines.insert(0, "who signed it: compare the key with one that you got elsewhere, with --key")
    lines += [node.what for node in receipt.nodes if node.state is NodeState.NOT_COVERED]
    return lines


def counts(nodes: Sequence[Node]) -> dict[str, int]:
    """Return how many places ended in each state; states that no place has are left out."""
    found = {state.value: sum(1 for node in nodes if node.state is state) for state in NodeState}
    return {state: number for state, number in found.items() if number}


def rfc3339(at: datetime) -> str:
    """Return a time as receipts write it: UTC, microseconds, Z.

    Raises:
        ValueError: The time has no zone.
    """
    if at.tzinfo is None:
        raise ValueError("a receipt needs a time with a zone")
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
