"""What release 0.1 wrote can be read for ever."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lifecycle.domain.digest import Digest
from lifecycle.vault.anchor import AnchorFile
from lifecycle.vault.blobs import BlobStore
from lifecycle.vault.holder import FileKeyHolder
from lifecycle.vault.keys import KeyDestroyed, KeyStore
from lifecycle.vault.ledger import Ledger
from lifecycle.vault.seal import DataKey, SealedReader, key_id_of
from lifecycle.vault.signing import Signing, verify_envelope

SAMPLES = Path(__file__).parent / "0.1" / "vault"
EXPECTED = json.loads((SAMPLES / "expected.json").read_text(encoding="utf-8"))
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
KEY = DataKey(EXPECTED["data_key"], bytes.fromhex(EXPECTED["data_key_material"]))


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(SAMPLES, tmp_path / "vault")
    return tmp_path / "vault"


def keys_of(folder: Path) -> KeyStore:
    return KeyStore(folder / "keys.db", FileKeyHolder(folder / "epochs"), clock=lambda: NOW)


def test_a_sealed_blob_opens(folder):
    assert key_id_of((folder / "sealed-blob").read_bytes()) == KEY.id
    with (folder / "sealed-blob").open("rb") as file:
        assert SealedReader(file, KEY).read() == bytes.fromhex(EXPECTED["content"])
    with (folder / "sealed-blob-empty").open("rb") as file:
        assert SealedReader(file, KEY).read() == b""


def test_a_sealed_blob_lies_under_the_hash_of_its_bytes(folder):
    blobs = BlobStore(folder / "blobs")
    with (folder / "sealed-blob").open("rb") as file:
        stored = blobs.put(file)

    assert blobs.read_bytes(stored.digest, key=KEY, limit=10_000) == bytes.fromhex(EXPECTED["content"])


@pytest.mark.parametrize("restored", [False, True], ids=["keys.db", "keybag"])
def test_the_keys_open_and_the_destroyed_one_does_not(folder, restored):
    keys = keys_of(folder)
    if restored:
        (folder / "keys.db").unlink()
        assert keys.restore_from_keybag() > 0

    assert keys.data_key(KEY.id) == KEY
    assert keys.expired_evidence(datetime(2031, 1, 1, tzinfo=UTC)) == [EXPECTED["evidence"]]
    assert keys.open_text((folder / "sealed-row").read_bytes()) == EXPECTED["row"]
    assert keys.fingerprint("a" * 32, Digest("blake3", "0" * 64)) == EXPECTED["fingerprint"]
    assert keys.lookup_tag("Anna") == EXPECTED["lookup_tag_of_anna"]
    with pytest.raises(KeyDestroyed):
        keys.data_key(EXPECTED["destroyed"])


def test_a_receipt_a_checkpoint_the_anchor_and_the_ledger_are_read(folder):
    signing = Signing(folder / "signing")
    read = verify_envelope((folder / "receipt.dsse.json").read_bytes(), signing.trusted("receipt"))
    ledger = Ledger(folder / "ledger.jsonl", signing, clock=lambda: NOW)
    anchor = AnchorFile(folder / "anchor.json", signing).read()

    assert read.trusted
    assert read.signed_by == (EXPECTED["receipt_key"],)
    assert (
        signing.verify_record("checkpoint", json.loads((folder / "checkpoint.json").read_text()))["size"] == 3
    )
    assert [entry.purge_uid for entry in ledger.to_replay()] == [EXPECTED["purge"]]
    assert anchor is not None
    assert (anchor.ledger_size, anchor.ledger_head) == ledger.head() == (2, EXPECTED["ledger_head"])
