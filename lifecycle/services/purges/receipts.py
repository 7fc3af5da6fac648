"""Receipts of purges: signed, written, and checked by anyone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle.domain.errors import IntegrityError, NotFound, UnreadableFile
from lifecycle.erasure.receipt import (
    PREDICATE_TYPE,
    Receipt,
    counts,
    does_not_prove,
    proves,
    read_statement,
    statement,
)
from lifecycle.erasure.receipt_page import receipt_page
from lifecycle.vault.files import make_private, read_small, write_durably
from lifecycle.vault.signing import key_id_of, verify_envelope, verify_record

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms

_MAX_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Written:
    """A receipt and where it lies."""

    receipt: Receipt
    path: Path
    page: Path


@dataclass(frozen=True, slots=True)
class Checked:
    """What a stranger may believe of a receipt."""

    receipt: Receipt
    file: Path
    key_id: str
    key_known: bool

    def to_json(self) -> Mapping[str, object]:
        """Return the check for programs."""
        receipt = self.receipt
        return {
            "signature": "good",
            "key": self.key_id,
            "key_known": self.key_known,
            "purge": receipt.purge_uid,
            "verb": receipt.verb.value,
            "voice": receipt.voice_uid,
            "result": receipt.result.value,
            "places": counts(receipt.nodes),
            "committed_at": receipt.committed_at,
            "destroyed_at": receipt.destroyed_at,
            "verified_at": receipt.verified_at,
            "plan_digest": receipt.plan_digest,
            "checkpoint": dict(receipt.checkpoint),
            "proves": proves(receipt),
            "does_not_prove": does_not_prove(receipt, key_known=self.key_known),
        }

    def lines(self) -> list[str]:
        """Return the check for people, the answer first."""
        receipt = self.receipt
        whose = "a key that you gave" if self.key_known else "a key that you have to know from elsewhere"
        return [
            f"good: signed by {self.key_id[:23]}..., {whose}",
            f"result: {receipt.result.value}, {receipt.verb.value} of voice {receipt.voice_uid[:12]}",
            f"looked at again: {receipt.verified_at}",
            *(f"  {number} {state}" for state, number in counts(receipt.nodes).items()),
            "it shows:",
            *(f"  {line}" for line in proves(receipt)),
            "it does not show:",
            *(f"  {line}" for line in does_not_prove(receipt, key_known=self.key_known)),
        ]


def write_receipt(receipt: Receipt, *, rooms: Rooms) -> Written:
    """Sign a receipt and write it with its page; the same purge gives the same file."""
    folder = rooms.settings.home / "certificates"
    make_private(folder)
    path = folder / f"{receipt.committed_at[:10]}-{receipt.purge_uid[:6]}.dsse.json"
    page = path.with_name(path.name.removesuffix(".dsse.json") + ".html")
    signing = rooms.vault.signing
    shown = receipt_page(receipt, key_id=signing.key_id("receipt"), file_name=path.name)
    write_durably(page, shown.encode("utf-8"))
    write_durably(path, signing.sign_statement("receipt", statement(receipt)))
    return Written(receipt=receipt, path=path, page=page)


def check_receipt(file: Path, *, key: Path | None = None) -> Checked:
    """Check a receipt without the registry that made it.

    Args:
        key: A file with the public key that must have signed it, hexadecimal or PEM; without it the receipt
            is checked against the key that it carries, and whose key that is stays open.

    Raises:
        NotFound: There is no such file.
        UnreadableFile: It is no receipt at all.
        IntegrityError: It was changed, is signed by another key, or contradicts itself.
    """
    content = _content(file)
    trusted = None if key is None else _public_key(key)
    signed = verify_envelope(content, trusted)
    if signed.predicate_type != PREDICATE_TYPE:
        raise UnreadableFile(f'"{file.name}" is signed, but it is not a receipt of a purge')
    try:
        receipt = read_statement(signed.body)
    except ValueError as error:
        raise IntegrityError(f'"{file.name}" is signed, but {error}') from None
    _check_embedded(receipt)
    return Checked(receipt=receipt, file=file, key_id=signed.signed_by[0], key_known=signed.trusted)


def _check_embedded(receipt: Receipt) -> None:
    """Check the ledger entry and the checkpoint that a receipt carries, each with the key that it carries.

    Raises:
        IntegrityError: One of them is signed wrongly, or tells of another purge.
    """
    keys = {}
    for purpose, public in receipt.public_keys.items():
        keys[purpose] = _raw(public, purpose)
    entry = verify_record("ledger", receipt.ledger_entry, _by_id(keys, "ledger"))
    if entry.get("purge") != receipt.purge_uid or entry.get("kind") != "committed":
        raise IntegrityError("the ledger entry in the receipt is about another purge")
    verify_record("checkpoint", receipt.checkpoint, _by_id(keys, "checkpoint"))


def _by_id(keys: Mapping[str, bytes], purpose: str) -> dict[str, bytes]:
    public = keys.get(purpose)
    return {} if public is None else {key_id_of(public): public}


def _raw(text: str, name: str) -> bytes:
    try:
        public = bytes.fromhex(text)
    except ValueError:
        public = b""
    if len(public) != 32:
        raise IntegrityError(f"the {name} key in the receipt is damaged")
    return public


def _content(file: Path) -> bytes:
    try:
        content = read_small(file, limit=_MAX_BYTES)
    except FileNotFoundError:
        raise NotFound(f'"{file}" does not exist') from None
    except (OSError, IntegrityError) as error:
        raise UnreadableFile(f'"{file}" could not be read: {error}') from None
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or not isinstance(value.get("payload"), str) or "signatures" not in value:
        raise UnreadableFile(
            f'"{file.name}" is not a receipt', hint="a receipt is a file such as: 2026-11-22-9f2c41.dsse.json"
        )
    return content


def _public_key(path: Path) -> dict[str, bytes]:
    """Read a public key, hexadecimal (as it lies beside the keys) or PEM."""
    try:
        content = read_small(path, limit=1 << 16)
    except FileNotFoundError:
        raise NotFound(f'"{path}" does not exist') from None
    except (OSError, IntegrityError) as error:
        raise UnreadableFile(f'"{path}" could not be read: {error}') from None
    public = _from_text(content)
    if public is None:
        raise UnreadableFile(f'"{path.name}" is not an Ed25519 public key, hexadecimal or PEM')
    return {key_id_of(public): public}


def _from_text(content: bytes) -> bytes | None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        if b"-----BEGIN" not in content:
            public = bytes.fromhex(content.decode("ascii"))
            return public if len(public) == 32 else None
        loaded = load_pem_public_key(content)
    except (ValueError, UnicodeError):
        return None
    return loaded.public_bytes_raw() if isinstance(loaded, Ed25519PublicKey) else None
