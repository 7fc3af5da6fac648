"""What an outsider reads in a receipt."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

import pytest

from lifecycle.erasure.graph import Node, NodeState
from lifecycle.erasure.plan import PurgeVerb
from lifecycle.erasure.receipt import (
    Receipt,
    does_not_prove,
    proves,
    read_statement,
    rfc3339,
    statement,
    wording,
)
from lifecycle.erasure.receipt_page import receipt_page
from lifecycle.erasure.uncovered import file_system_of, uncovered

BLOB = Node(uid="1" * 32, kind="blob", what="audio", state=NodeState.VERIFIED, method="removed", check="gone")
KEPT = Node(uid="2" * 32, kind="weights", what="model", state=NodeState.RETAINED, basis="policy")
AWAY = Node(uid="3" * 32, kind="place", what="freed blocks of this disk", state=NodeState.NOT_COVERED)


def receipt(*nodes: Node) -> Receipt:
    return Receipt(
        purge_uid="a" * 32,
        verb=PurgeVerb.PURGE_AUDIO,
        voice_uid="b" * 32,
        subject_uids=("c" * 32,),
        plan_digest="sha256:" + "d" * 64,
        basis="withdrawal",
        nodes=nodes or (BLOB, KEPT, AWAY),
        committed_at="2026-11-22T14:00:00Z",
        destroyed_at="2026-11-22T14:02:00Z",
        verified_at="2026-11-22T14:03:00Z",
        ledger_entry={"sequence": 1},
        checkpoint={"size": 4},
        tool="vlm 0.1.0",
    )


def test_a_receipt_survives_the_way_to_an_outsider() -> None:
    sent = receipt()

    assert read_statement(json.loads(json.dumps(statement(sent)))) == sent


def test_the_statement_is_in_toto_version_1_about_the_plan() -> None:
    made: Any = statement(receipt())

    assert made["_type"] == "https://in-toto.io/Statement/v1"
    assert made["subject"][0]["digest"] == {"sha256": "d" * 64}
    assert made["predicateType"].startswith("urn:voice-lifecycle:erasure-receipt")


def test_the_wording_says_until_when_a_copy_of_the_keys_would_matter() -> None:
    text = wording(receipt())

    assert "destroyed, provided no copy of VLM_KEYS from before 2026-11-22T14:02:00Z exists" in text
    assert "freed blocks of this disk are not read" in text


def test_one_place_that_nobody_could_look_at_is_never_called_destroyed() -> None:
    unseen = replace(BLOB, uid="4" * 32, state=NodeState.UNVERIFIABLE)

    bad = receipt(BLOB, unseen)

    assert bad.result is NodeState.UNVERIFIABLE
    assert ": destroyed" not in wording(bad)


@pytest.mark.parametrize("word", ["unrecoverable", "legal", "guarantee"])
def test_nothing_is_promised_that_cannot_be_kept(word: str) -> None:
    page = receipt_page(receipt(), key_id="sha256:" + "0" * 64, file_name="r.dsse.json")

    assert word not in page.lower()
    assert word not in " ".join([*proves(receipt()), *does_not_prove(receipt(), key_known=False)])


def test_a_stranger_is_told_that_the_signer_is_unknown() -> None:
    assert any("who signed it" in line for line in does_not_prove(receipt(), key_known=False))
    assert not any("who signed it" in line for line in does_not_prove(receipt(), key_known=True))


def _changed(path: str, value: object) -> dict[str, Any]:
    made: Any = deepcopy(statement(receipt()))
    *way, last = path.split(".")
    at = made
    for key in way:
        at = at[int(key) if key.isdigit() else key]
    at[last] = value
    return dict(made)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("_type", "https://in-toto.io/Statement/v0.1"),
        ("predicateType", "urn:other"),
        ("predicate.result", "CRYPTO-ERASED"),
        ("predicate.nodes.0.state", "GONE"),
        ("predicate.nodes.0.state", "PENDING"),
        ("predicate.nodes.0.id", "../../etc"),
        ("predicate.nodes", 3),
        ("predicate.verb", "keep"),
        ("predicate.basis", "because"),
        ("predicate.verified_at", "yesterday"),
        ("predicate.verified_at", "2026-11-22T13:00:00Z"),
        ("subject", []),
        ("predicate", None),
    ],
)
def test_a_statement_that_contradicts_itself_is_refused(path: str, value: object) -> None:
    with pytest.raises(ValueError):
        read_statement(_changed(path, value))


def test_a_page_needs_nothing_from_outside_and_escapes_what_it_shows() -> None:
    strange = replace(AWAY, what="<script>alert(1)</script>")

    page = receipt_page(receipt(BLOB, strange), key_id="k", file_name="r.dsse.json")

    assert "<script>" not in page
    assert "http://" not in page
    assert "https://" not in page


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        rfc3339(datetime(2026, 1, 1))


MOUNTS = r"""
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 21 0:40 / /home rw - btrfs /dev/sdb rw
31 30 0:41 / /home/ann/my\040disk rw - nfs4 server:/x rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/var/vlm", "ext4"), ("/home/ann/vlm", "btrfs"), ("/home/ann/my disk/vlm", "nfs4"), ("/homes", "ext4")],
)
def test_the_file_system_of_a_folder_is_the_one_mounted_nearest(path: str, kind: str) -> None:
    assert file_system_of(PurePosixPath(path), MOUNTS) == kind


def test_places_that_keep_copies_are_named() -> None:
    home = PurePosixPath("/home/ann/Dropbox/vlm")

    found = uncovered(
        [("the registry", home)],
        mountinfo=MOUNTS,
        exists=lambda path: str(path) == "/home/ann/Dropbox/.git",
        new_uid=lambda: "0" * 32,
    )

    named = " | ".join(node.what for node in found)
    assert all(node.state is NodeState.NOT_COVERED for node in found)
    assert "btrfs" in named
    assert "Dropbox" in named
    assert "git working tree" in named
    assert "copies of the key folder" in named
