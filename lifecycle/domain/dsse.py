"""Signed statements as bytes: DSSE envelopes and in-toto statements, read strictly; no keys here.

Sources: DSSE protocol 1.0.2 (https://github.com/secure-systems-lab/dsse), in-toto Statement v1.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lifecycle.domain.canonical import Json, canonical_json
from lifecycle.domain.errors import IntegrityError

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
MOST_BYTES = 64 << 20
_DIGESTS = {"sha256": re.compile(r"[0-9a-f]{64}"), "blake3": re.compile(r"[0-9a-f]{64}")}
_KEY_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature: the key's id (SHA-256 of the public key) and, so that it can be checked alone, that key."""

    key_id: str
    signature: bytes
    public: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload with the signatures over its pre-authentication encoding."""

    payload: bytes
    signatures: tuple[Signature, ...]
    payload_type: str = PAYLOAD_TYPE


@dataclass(frozen=True, slots=True)
class Statement:
    """An in-toto statement whose signatures were checked.

    Attributes:
        subjects: For each thing that it is about, name and digests.
        signed_by: Ids of the keys whose signatures are right.
        trusted: Whether one of those keys was among the trusted ones.
    """

    subjects: tuple[tuple[str, Mapping[str, str]], ...]
    predicate_type: str
    predicate: Mapping[str, Any]
    body: Mapping[str, Any]
    signed_by: tuple[str, ...]
    trusted: bool


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return what is signed: "DSSEv1" SP len SP type SP len SP payload."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def encode_envelope(envelope: Envelope) -> bytes:
    """Return an envelope as JSON, one line."""
    return (
        canonical_json(
            {
                "payloadType": envelope.payload_type,
                "payload": _text(envelope.payload),
                "signatures": [
                    {"keyid": one.key_id, "sig": _text(one.signature), "publicKey": _text(one.public)}
                    for one in envelope.signatures
                ],
            }
        )
        + b"\n"
    )


def decode_envelope(content: bytes) -> Envelope:
    """Read an envelope.

    Raises:
        IntegrityError: It is no envelope of one of our statements, or larger than 64 MiB.
    """
    if len(content) > MOST_BYTES:
        raise IntegrityError("the envelope is larger than 64 MiB")
    try:
        value = _strict(content)
        payload_type = value["payloadType"]
        signatures = tuple(
            Signature(
                key_id=str(one["keyid"]),
                signature=base64.b64decode(one["sig"], validate=True),
                public=base64.b64decode(one.get("publicKey", ""), validate=True),
            )
            for one in value["signatures"]
        )
        payload = base64.b64decode(value["payload"], validate=True)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error):
        raise IntegrityError("this is not a DSSE envelope") from None
    if payload_type != PAYLOAD_TYPE:
        raise IntegrityError("the envelope holds something else than an in-toto statement")
    if not signatures or len(signatures) > 16 or not all(_KEY_ID.fullmatch(one.key_id) for one in signatures):
        raise IntegrityError("the envelope is not signed, or its key ids are not SHA-256")
    return Envelope(payload, signatures, PAYLOAD_TYPE)


def statement(
    subjects: Mapping[str, Mapping[str, str]], predicate_type: str, predicate: Mapping[str, Json]
) -> dict[str, Json]:
    """Return an in-toto Statement v1; `subjects` are names (random ids) with their digests."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": dict(digests)} for name, digests in subjects.items()],
        "predicateType": predicate_type,
        "predicate": dict(predicate),
    }


def read_statement(payload: bytes, *, signed_by: tuple[str, ...], trusted: bool) -> Statement:
    """Read the payload of an envelope whose signatures were checked.

    Raises:
        IntegrityError: It is not an in-toto Statement v1, or a digest is not one.
    """
    try:
        body = _strict(payload)
        if body["_type"] != STATEMENT_TYPE or set(body) != {"_type", "subject", "predicateType", "predicate"}:
            raise ValueError
        subjects = tuple((str(one["name"]), dict(one["digest"])) for one in body["subject"])
        if not subjects or not all(_digests(digests) for _, digests in subjects):
            raise ValueError
        predicate_type, predicate = body["predicateType"], body["predicate"]
        if not isinstance(predicate_type, str) or not isinstance(predicate, dict):
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise IntegrityError("the signed payload is not an in-toto statement") from None
    return Statement(subjects, predicate_type, predicate, body, signed_by, trusted)


def _digests(digests: Mapping[str, Any]) -> bool:
    return bool(digests) and all(
        name in _DIGESTS and isinstance(value, str) and _DIGESTS[name].fullmatch(value) is not None
        for name, value in digests.items()
    )


def _strict(content: bytes) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a member appears twice")
        return found

    return json.loads(content.decode("utf-8"), object_pairs_hook=unique)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
