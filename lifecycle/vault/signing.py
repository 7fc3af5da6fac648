"""Ed25519 keys, one per purpose, that lie with the other keys; a key's id is the SHA-256 of its public half."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from lifecycle.domain.canonical import Json, canonical_json
from lifecycle.domain.dsse import (
    PAYLOAD_TYPE,
    Envelope,
    Signature,
    Statement,
    decode_envelope,
    encode_envelope,
    pae,
    read_statement,
)
from lifecycle.domain.errors import IntegrityError
from lifecycle.vault.files import make_private, read_small, write_durably

PURPOSES = ("checkpoint", "receipt", "anchor", "ledger", "backup")
_PUBLIC = re.compile(r"([a-z]+)-([0-9a-f]{64})\.pub")


def key_id_of(public: bytes) -> str:
    """Return the id of a raw public key: its SHA-256, hexadecimal."""
    return hashlib.sha256(public).hexdigest()


class Signing:
    """The signing keys of an installation: `PURPOSE.key` (seed, 0600) and `PURPOSE-KEYID.pub` (raw, hexadecimal)."""

    def __init__(self, folder: Path, *, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self.folder = folder
        self._random_bytes = random_bytes

    def create(self) -> None:
        """Make the keys that are not there yet."""
        make_private(self.folder)
        for purpose in PURPOSES:
            if not (self.folder / f"{purpose}.key").exists():
                self._make(purpose)
            elif not self._public_path(purpose).exists():
                write_durably(self._public_path(purpose), self.public(purpose).hex().encode() + b"\n")

    def key_id(self, purpose: str) -> str:
        """Return the id of the key that signs for a purpose now."""
        return key_id_of(self.public(purpose))

    def public(self, purpose: str) -> bytes:
        """Return the raw public key (32 bytes) that belongs to a purpose now."""
        return self._private(purpose).public_key().public_bytes_raw()

    def trusted(self, purpose: str | None = None) -> dict[str, bytes]:
        """Return the public keys of this installation, those that no longer sign included, by id."""
        found: dict[str, bytes] = {}
        for path in sorted(self.folder.iterdir()) if self.folder.is_dir() else []:
            match = _PUBLIC.fullmatch(path.name)
            if match is None or purpose not in (None, match[1]):
                continue
            public = _hexadecimal(read_small(path, limit=4096), path.name)
            if key_id_of(public) != match[2]:
                raise IntegrityError(f'the public key "{path.name}" is damaged', hint="vlm doctor")
            found[match[2]] = public
        return found

    def sign(self, purpose: str, message: bytes) -> bytes:
        """Return the signature (64 bytes) of a message that says itself what it is."""
        return self._private(purpose).sign(message)

    def sign_record(self, purpose: str, body: Mapping[str, Json]) -> dict[str, Json]:
        """Return `{"body", "key", "signature"}`; the purpose is part of what is signed."""
        signature = self.sign(purpose, pae(_record_type(purpose), canonical_json(body)))
        return {
            "body": dict(body),
            "key": self.key_id(purpose),
            "signature": base64.b64encode(signature).decode("ascii"),
        }

    def verify_record(self, purpose: str, record: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the body of a record that a key of this installation and purpose signed.

        Raises:
            IntegrityError: It was changed, or signed by someone else or for another purpose.
        """
        return verify_record(purpose, record, self.trusted(purpose))

    def sign_statement(self, purpose: str, body: Mapping[str, Json]) -> bytes:
        """Return an in-toto statement in a DSSE envelope."""
        payload = canonical_json(body)
        public = self.public(purpose)
        signature = Signature(key_id_of(public), self.sign(purpose, pae(PAYLOAD_TYPE, payload)), public)
        return encode_envelope(Envelope(payload, (signature,)))

    def rotate(self, purpose: str, *, at: str, tree_size: int) -> bytes:
        """Make a new key for a purpose; return the statement of it, signed by the old key and the new one.

        Args:
            at: Time, RFC 3339.
            tree_size: Size of the trail from which on only the new key counts.
        """
        old = self._private(purpose)
        old_public = old.public_key().public_bytes_raw()
        new = Ed25519PrivateKey.from_private_bytes(self._random_bytes(32))
        new_public = new.public_key().public_bytes_raw()
        payload = canonical_json(
            {
                "_type": "https://in-toto.io/Statement/v1",
                "subject": [{"name": purpose, "digest": {"sha256": key_id_of(new_public)}}],
                "predicateType": "urn:voice-lifecycle:key-rotation:v1",
                "predicate": {
                    "at": at,
                    "tree_size": tree_size,
                    "old": key_id_of(old_public),
                    "new": key_id_of(new_public),
                },
            }
        )
        message = pae(PAYLOAD_TYPE, payload)
        envelope = Envelope(
            payload,
            (
                Signature(key_id_of(old_public), old.sign(message), old_public),
                Signature(key_id_of(new_public), new.sign(message), new_public),
            ),
        )
        self._store(purpose, new)
        return encode_envelope(envelope)

    def _make(self, purpose: str) -> None:
        self._store(purpose, Ed25519PrivateKey.from_private_bytes(self._random_bytes(32)))

    def _store(self, purpose: str, key: Ed25519PrivateKey) -> None:
        # The public half first: a signature that nobody can check must not be possible.
        public = key.public_key().public_bytes_raw()
        write_durably(self.folder / f"{purpose}-{key_id_of(public)}.pub", public.hex().encode() + b"\n")
        write_durably(self.folder / f"{purpose}.key", key.private_bytes_raw().hex().encode() + b"\n")

    def _public_path(self, purpose: str) -> Path:
        return self.folder / f"{purpose}-{self.key_id(purpose)}.pub"

    def _private(self, purpose: str) -> Ed25519PrivateKey:
        path = self.folder / f"{purpose}.key"
        try:
            content = read_small(path, limit=4096)
        except FileNotFoundError:
            raise IntegrityError(f'the signing key "{path.name}" is missing', hint="vlm doctor") from None
        return Ed25519PrivateKey.from_private_bytes(_hexadecimal(content, path.name))


def verify_record(purpose: str, record: Mapping[str, Any], trusted: Mapping[str, bytes]) -> Mapping[str, Any]:
    """Return the body of a record signed for `purpose` by one of the trusted keys.

    Raises:
        IntegrityError: It was changed, or signed by another key or for another purpose.
    """
    try:
        body, key_id = record["body"], str(record["key"])
        signature = base64.b64decode(record["signature"], validate=True)
        message = pae(_record_type(purpose), canonical_json(body))
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error):
        raise IntegrityError(f"this is not a signed {purpose}") from None
    public = trusted.get(key_id)
    if public is None:
        raise IntegrityError(f'the {purpose} is signed by a key that is not known here: "{key_id[:12]}"')
    if not isinstance(body, dict) or not _right(public, signature, message):
        raise IntegrityError(f"the signature of the {purpose} is wrong")
    return body


def verify_envelope(envelope: bytes, trusted: Mapping[str, bytes] | None) -> Statement:
    """Check an envelope and read its statement.

    Args:
        trusted: Raw public keys by id. None: only that the envelope was not changed since the key that it
            carries signed it; whose key that is remains to be compared, and `Statement.trusted` is False.

    Raises:
        IntegrityError: A signature is wrong, no key is trusted, or it is no in-toto statement.
    """
    read = decode_envelope(envelope)
    message = pae(read.payload_type, read.payload)
    signed_by: list[str] = []
    known = False
    for one in read.signatures:
        public = one.public if trusted is None else trusted.get(one.key_id, one.public)
        if key_id_of(public) != one.key_id or not _right(public, one.signature, message):
            raise IntegrityError(f'the signature of key "{one.key_id[:12]}" is wrong')
        signed_by.append(one.key_id)
        known = known or (trusted is not None and one.key_id in trusted)
    if trusted is not None and not known:
        raise IntegrityError(f'the signature is right, but key "{signed_by[0][:12]}" is not trusted here')
    return read_statement(read.payload, signed_by=tuple(signed_by), trusted=known)


def _right(public: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _record_type(purpose: str) -> str:
    return f"application/vnd.voice-lifecycle.{purpose}+json"


def _hexadecimal(content: bytes, name: str) -> bytes:
    try:
        value = bytes.fromhex(content.decode("ascii"))
    except ValueError:
        value = b""
    if len(value) != 32:
        raise IntegrityError(f'the key file "{name}" is damaged', hint="vlm doctor")
    return value
