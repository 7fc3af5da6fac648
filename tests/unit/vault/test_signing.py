from __future__ import annotations

import base64
import json
import stat

import pytest

from lifecycle.domain.dsse import decode_envelope, pae, statement
from lifecycle.domain.errors import IntegrityError
from lifecycle.vault.signing import PURPOSES, Signing, key_id_of, verify_envelope, verify_record

SUBJECT = {"f" * 32: {"sha256": "0" * 64}}
BODY = statement(SUBJECT, "urn:voice-lifecycle:test:v1", {"state": "VERIFIED"})


@pytest.fixture
def signing(tmp_path):
    signing = Signing(tmp_path / "signing")
    signing.create()
    return signing


def changed(envelope: bytes, **members) -> bytes:
    return json.dumps({**json.loads(envelope), **members}).encode()


def test_each_purpose_has_a_key_of_its_own_and_its_id_is_the_hash_of_its_public_half(signing):
    ids = {purpose: signing.key_id(purpose) for purpose in PURPOSES}

    assert len(set(ids.values())) == len(PURPOSES)
    assert all(ids[purpose] == key_id_of(signing.public(purpose)) for purpose in PURPOSES)
    assert set(signing.trusted()) == set(ids.values())
    assert set(signing.trusted("receipt")) == {ids["receipt"]}


def test_keys_stay_when_they_are_made_again_and_are_the_owners_alone(signing):
    before = signing.trusted()
    signing.create()

    assert signing.trusted() == before
    assert {stat.S_IMODE(path.stat().st_mode) for path in signing.folder.iterdir()} == {0o600}


def test_pae_is_what_the_protocol_says():
    """The example of DSSE's protocol text."""
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_a_statement_is_read_back_by_who_knows_the_key(signing):
    read = verify_envelope(signing.sign_statement("receipt", BODY), signing.trusted("receipt"))

    assert read.trusted
    assert read.signed_by == (signing.key_id("receipt"),)
    assert read.predicate == {"state": "VERIFIED"}
    assert read.subjects == (("f" * 32, {"sha256": "0" * 64}),)


def test_who_knows_no_key_learns_that_it_was_not_changed_and_no_more(signing):
    read = verify_envelope(signing.sign_statement("receipt", BODY), None)

    assert not read.trusted
    assert read.signed_by == (signing.key_id("receipt"),)


def test_a_key_of_another_purpose_or_installation_is_not_trusted(signing, tmp_path):
    envelope = signing.sign_statement("receipt", BODY)
    other = Signing(tmp_path / "other")
    other.create()

    for trusted in (signing.trusted("checkpoint"), other.trusted(), {}):
        with pytest.raises(IntegrityError, match="not trusted"):
            verify_envelope(envelope, trusted)


def test_a_forger_can_not_put_a_key_of_their_own_under_a_trusted_id(signing, tmp_path):
    other = Signing(tmp_path / "other")
    other.create()
    forged = json.loads(other.sign_statement("receipt", BODY))
    forged["signatures"][0]["keyid"] = signing.key_id("receipt")

    for trusted in (signing.trusted("receipt"), None):
        with pytest.raises(IntegrityError, match="wrong"):
            verify_envelope(json.dumps(forged).encode(), trusted)


def test_any_changed_byte_of_the_payload_is_found(signing):
    envelope = signing.sign_statement("receipt", BODY)
    payload = base64.b64decode(json.loads(envelope)["payload"])

    for index in range(0, len(payload), 5):
        other = payload[:index] + bytes([payload[index] ^ 1]) + payload[index + 1 :]
        with pytest.raises(IntegrityError):
            verify_envelope(changed(envelope, payload=base64.b64encode(other).decode()), None)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"payload": "", "payload": ""}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_envelope_is_refused(content):
    with pytest.raises(IntegrityError):
        verify_envelope(content, None)


def test_an_envelope_without_a_signature_is_refused(signing):
    envelope = signing.sign_statement("receipt", BODY)

    with pytest.raises(IntegrityError, match="not signed"):
        verify_envelope(changed(envelope, signatures=[]), None)
    with pytest.raises(IntegrityError, match="something else"):
        verify_envelope(changed(envelope, payloadType="text/plain"), None)


@pytest.mark.parametrize(
    "body",
    [
        {**BODY, "_type": "https://in-toto.io/Statement/v0.1"},
        {**BODY, "subject": []},
        {**BODY, "subject": [{"name": "x", "digest": {"sha256": "zz"}}]},
        {**BODY, "subject": [{"name": "x", "digest": {"md5": "0" * 32}}]},
        {**BODY, "subject": [{"name": "x", "digest": {}}]},
        {**BODY, "predicate": "done"},
        {**BODY, "more": 1},
    ],
)
def test_a_signed_payload_that_is_no_statement_is_refused(signing, body):
    with pytest.raises(IntegrityError, match="not an in-toto statement"):
        verify_envelope(signing.sign_statement("receipt", body), None)


def test_a_record_is_for_one_purpose_only(signing):
    record = signing.sign_record("checkpoint", {"size": 3})

    assert signing.verify_record("checkpoint", record) == {"size": 3}
    with pytest.raises(IntegrityError):
        signing.verify_record("anchor", record)
    with pytest.raises(IntegrityError, match="wrong"):
        verify_record("anchor", record, signing.trusted())
    with pytest.raises(IntegrityError, match="wrong"):
        signing.verify_record("checkpoint", {**record, "body": {"size": 4}})
    with pytest.raises(IntegrityError):
        signing.verify_record("checkpoint", {"body": {"size": 3}})


def test_a_rotation_is_signed_by_the_old_key_and_the_new_one(signing):
    old, old_record = signing.key_id("receipt"), signing.sign_statement("receipt", BODY)

    envelope = signing.rotate("receipt", at="2026-11-24T12:00:00Z", tree_size=7)

    new = signing.key_id("receipt")
    read = verify_envelope(envelope, signing.trusted("receipt"))
    assert new != old
    assert read.signed_by == (old, new)
    assert (read.predicate["old"], read.predicate["new"], read.predicate["tree_size"]) == (old, new, 7)
    assert verify_envelope(old_record, signing.trusted("receipt")).trusted  # what it signed stays checkable
    assert len(decode_envelope(envelope).signatures) == 2


def test_a_damaged_key_file_is_named(signing):
    (signing.folder / "receipt.key").write_text("00")

    with pytest.raises(IntegrityError, match=r"receipt\.key"):
        signing.sign("receipt", b"")
