"""Merkle trees of the trail. Source: RFC 9162, section 2.1.1."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def leaf_hash(leaf: bytes) -> bytes:
    """Return SHA-256(0x00 || leaf)."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def root(leaf_hashes: Sequence[bytes]) -> bytes:
    """Return the tree's root over leaf hashes; of no leaves, SHA-256 of nothing."""
    if not leaf_hashes:
        return hashlib.sha256(b"").digest()
    if len(leaf_hashes) == 1:
        return leaf_hashes[0]
    split = 1 << ((len(leaf_hashes) - 1).bit_length() - 1)
    return hashlib.sha256(b"\x01" + root(leaf_hashes[:split]) + root(leaf_hashes[split:])).digest()
