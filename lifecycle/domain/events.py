"""What happened, as a leaf of the trail: times, verbs and random ids, never a name."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from lifecycle.domain.canonical import Json, canonical_json

SALT_BYTES = 32
_VERB = re.compile(r"[a-z][a-z._-]{0,31}")
_ID_NAME = re.compile(r"[a-z][a-z_]{0,31}")
_ID = re.compile(r"[0-9a-f]{32}|(?:blake3|sha256):[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of the trail.

    Attributes:
        sequence: Index of the leaf, from 0.
        details_digest: `sha256:` of the salt and the canonical details, which lie sealed in a row of their own.
        leaf_hash, chain_hash: 64 hexadecimal digits.
    """

    sequence: int
    uid: str
    at: datetime
    verb: str
    ids: Mapping[str, str]
    details_digest: str
    leaf_hash: str
    chain_hash: str


def leaf_of(
    sequence: int, *, uid: str, at: str, verb: str, ids: Mapping[str, str], details_digest: str
) -> bytes:
    """Return the bytes of a leaf: canonical JSON (RFC 8785) of its parts.

    Args:
        sequence: Index of the leaf, from 0.
        uid: Random id of the event, 32 hexadecimal digits.
        at: RFC 3339 UTC with microseconds.
        verb: What happened, such as `register` or `purge.committed`.
        ids: Random ids or digests of ciphertext by what they are, such as `{"voice": ...}`.
        details_digest: As `details_digest` returns it.

    Raises:
        ValueError: A verb or an id that could carry a name.
    """
    if _VERB.fullmatch(verb) is None:
        raise ValueError(f"{verb!r} is not a verb")
    for name, value in ids.items():
        if _ID_NAME.fullmatch(name) is None or _ID.fullmatch(value) is None:
            raise ValueError(f"the leaf's id {name!r} is not a random id or a digest")
    return canonical_json(
        {
            "v": 1,
            "sequence": sequence,
            "id": uid,
            "at": at,
            "verb": verb,
            "ids": dict(ids),
            "details": details_digest,
        }
    )


def details_digest(salt: bytes, details: Mapping[str, Json]) -> str:
    """Return `sha256:` of salt || canonical details: nobody can guess the details without the salt."""
    return "sha256:" + hashlib.sha256(salt + canonical_json(details)).hexdigest()


def chained(before: str, leaf_hash: str) -> str:
    """Return the chain hash of a leaf: SHA-256(0x02 || hash before || leaf hash), hexadecimal.

    The prefix differs from those of RFC 9162 leaves (0x00) and nodes (0x01). Before the first leaf
    stand 32 zero bytes.
    """
    return hashlib.sha256(b"\x02" + bytes.fromhex(before) + bytes.fromhex(leaf_hash)).hexdigest()


CHAIN_START = "00" * 32
