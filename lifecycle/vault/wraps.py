"""One key encrypted under another, bound to who, when and what for.

AES-256-GCM-SIV (RFC 8452): associated data bind the wrap to its place, which AES-KW cannot, and a nonce that
repeats gives away no more than that two wraps are equal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from lifecycle.domain.canonical import canonical_json
from lifecycle.domain.errors import IntegrityError

KEY_BYTES = 32
NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class Binding:
    """What a wrap is bound to; a wrap that is moved to any other place does not open.

    Attributes:
        wrapping: Id of the key that encrypts: a key of the store, or the store key of an epoch.
        wrapped: Id of the key that is encrypted.
        subject: Random id of the person, or None for keys of the installation.
    """

    wrapping: str
    wrapped: str
    subject: str | None
    epoch: int
    purpose: str

    def associated_data(self) -> bytes:
        """Return the bytes that are authenticated with the wrap."""
        return b"vlm wrap v1\x00" + canonical_json(
            {
                "wrapping": self.wrapping,
                "wrapped": self.wrapped,
                "subject": self.subject,
                "epoch": self.epoch,
                "purpose": self.purpose,
            }
        )


def wrap(wrapping_key: bytes, key: bytes, binding: Binding, *, random_bytes: Callable[[int], bytes]) -> bytes:
    """Return nonce || ciphertext || tag, 60 bytes for a 32-byte key."""
    return seal_small(wrapping_key, key, binding.associated_data(), random_bytes=random_bytes)


def unwrap(wrapping_key: bytes, wrapped: bytes, binding: Binding) -> bytes:
    """Open a wrap.

    Raises:
        IntegrityError: It was changed, or moved from another place.
    """
    key = open_small(wrapping_key, wrapped, binding.associated_data())
    if key is None or len(key) != KEY_BYTES:
        raise IntegrityError(
            f'the wrap of key "{binding.wrapped[:12]}" does not open: it was changed or moved',
            hint="vlm doctor",
        )
    return key


def seal_small(key: bytes, content: bytes, bound: bytes, *, random_bytes: Callable[[int], bytes]) -> bytes:
    """Encrypt a content that fits memory; return nonce || ciphertext || tag."""
    nonce = random_bytes(NONCE_BYTES)
    if len(nonce) != NONCE_BYTES:
        raise ValueError("the random source gave too few bytes")
    return nonce + AESGCMSIV(key).encrypt(nonce, content, bound)


def open_small(key: bytes, sealed: bytes, bound: bytes) -> bytes | None:
    """Decrypt what `seal_small` returned; None if it was changed or the key does not fit."""
    if len(sealed) < NONCE_BYTES + 16:
        return None
    try:
        return AESGCMSIV(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound)
    except (InvalidTag, ValueError):
        return None
