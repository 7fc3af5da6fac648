from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import pytest

from lifecycle.domain.errors import IntegrityError
from lifecycle.vault.anchor import (
    Anchor,
    AnchorFile,
    Standing,
    compare,
    timestamp,
)
from lifecycle.vault.ledger import EMPTY_HEAD, EntryKind, Ledger, read_entry
from lifecycle.vault.signing import Signing
from tests.unit.vault.conftest import NOW

HEAD, OTHER = "1" * 64, "2" * 64
ANCHOR = Anchor(
    trail_size=5,
    trail_head=HEAD,
    ledger_size=0,
    ledger_head=EMPTY_HEAD,
    epoch=2,
    highest_clock=timestamp(NOW),
    generation=9,
)
PURGE, VOICE = "c" * 32, "d" * 32


@pytest.fixture
def signing(tmp_path):
    signing = Signing(tmp_path / "signing")
    signing.create()
    return signing


@pytest.fixture
def anchor(tmp_path, signing):
    return AnchorFile(tmp_path / "anchor.json", signing)


@pytest.fixture
def ledger(tmp_path, signing):
    return Ledger(tmp_path / "ledger.jsonl", signing, clock=lambda: NOW)


# --- anchor ---


def test_there_is_no_anchor_at_first(anchor):
    assert anchor.read() is None
    assert anchor.highest_time is None
    assert compare(None, trail_size=0, head_at_anchor=None, epoch=1) is Standing.UNKNOWN


def test_an_anchor_is_read_back(anchor, tmp_path):
    anchor.advance(ANCHOR)

    assert anchor.read() == ANCHOR
    assert anchor.highest_time == NOW
    assert stat.S_IMODE((tmp_path / "anchor.json").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "back",
    [{"trail_size": 4}, {"epoch": 1}, {"generation": 8}, {"trail_head": OTHER}, {"ledger_head": OTHER}],
)
def test_nothing_of_an_anchor_goes_back(anchor, back):
    anchor.advance(ANCHOR)

    with pytest.raises(IntegrityError):
        anchor.advance(replace(ANCHOR, **back))

    assert anchor.read() == ANCHOR


def test_the_highest_clock_stays_when_the_time_of_day_went_back(anchor):
    anchor.advance(ANCHOR)

    anchor.advance(replace(ANCHOR, trail_size=6, highest_clock=timestamp(NOW - timedelta(days=400))))

    assert anchor.highest_time == NOW


def test_a_changed_anchor_is_refused(anchor, tmp_path):
    anchor.advance(ANCHOR)
    path = tmp_path / "anchor.json"
    good = path.read_bytes()

    for index in range(len(good) - 1):
        path.write_bytes(good[:index] + bytes([good[index] ^ 1]) + good[index + 1 :])
        with pytest.raises(IntegrityError):
            anchor.read()


@pytest.mark.parametrize(
    ("registry", "standing"),
    [
        ({}, Standing.OK),
        ({"trail_size": 8}, Standing.AHEAD),
        ({"epoch": 3}, Standing.AHEAD),
        ({"trail_size": 4, "head_at_anchor": None}, Standing.OLDER),
        ({"epoch": 1}, Standing.OLDER),
        ({"head_at_anchor": OTHER}, Standing.FORKED),
        ({"trail_size": 8, "head_at_anchor": OTHER}, Standing.FORKED),
    ],
)
def test_a_registry_is_compared_with_its_anchor(registry, standing):
    facts = {"trail_size": 5, "head_at_anchor": HEAD, "epoch": 2, **registry}

    assert compare(ANCHOR, **facts) is standing


def test_a_ledger_that_was_cut_is_older():
    assert compare(
        replace(ANCHOR, ledger_size=3), trail_size=5, head_at_anchor=HEAD, epoch=2, ledger_size=2
    ) is (Standing.OLDER)


# --- ledger ---


def test_entries_are_read_back_in_order_and_chained(ledger):
    first = ledger.append(
        EntryKind.PLANNED, PURGE, ids={"voice": VOICE, "keys": ["e" * 32], "verb": "purge-audio"}
    )
    second = ledger.append(EntryKind.COMMITTED, PURGE, ids={"voice": VOICE})

    assert ledger.read() == [first, second]
    assert second.record["body"]["previous"] == first.head
    assert ledger.head() == (2, second.head)


def test_an_entry_is_made_once_however_often_a_crash_asks_for_it(ledger):
    assert ledger.append(EntryKind.COMMITTED, PURGE, ids={}) == ledger.append(
        EntryKind.COMMITTED, PURGE, ids={}
    )
    assert ledger.head()[0] == 1


def test_only_what_was_committed_and_not_aborted_is_replayed(ledger):
    for purge, kinds in {"1" * 32: "pc", "2" * 32: "p", "3" * 32: "pa"}.items():
        for kind in kinds:
            ledger.append(
                {"p": EntryKind.PLANNED, "c": EntryKind.COMMITTED, "a": EntryKind.ABORTED}[kind],
                purge,
                ids={},
            )

    assert [entry.purge_uid for entry in ledger.to_replay()] == ["1" * 32]


@pytest.mark.parametrize(
    "value", ["Anna", "anna@example.org", "/home/anna/a.wav", "a b", "", ["e" * 32, "Anna K"]]
)
def test_a_name_never_enters_the_ledger(ledger, value):
    with pytest.raises(ValueError, match="neither a random id"):
        ledger.append(EntryKind.PLANNED, PURGE, ids={"voice": value})

    assert ledger.read() == []


def test_a_changed_removed_or_moved_line_is_found(ledger, tmp_path):
    for purge in ("1" * 32, "2" * 32, "3" * 32):
        ledger.append(EntryKind.COMMITTED, purge, ids={"voice": VOICE})
    path = tmp_path / "ledger.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)

    for bad in (
        [lines[0].replace(b"1" * 32, b"9" * 32), *lines[1:]],
        lines[1:],
        [lines[0], lines[2]],
        [lines[1], lines[0], lines[2]],
        [*lines, lines[2]],
        [*lines, b"{}\n"],
    ):
        path.write_bytes(b"".join(bad))
        with pytest.raises(IntegrityError):
            ledger.read()


def test_a_line_that_a_crash_cut_is_no_entry_and_is_written_over(ledger, tmp_path):
    first = ledger.append(EntryKind.PLANNED, PURGE, ids={})
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(path.read_bytes() + path.read_bytes()[:50])

    assert ledger.read() == [first]
    second = ledger.append(EntryKind.COMMITTED, PURGE, ids={})
    assert ledger.read() == [first, second]


def test_an_entry_taken_out_of_a_certificate_can_be_checked_alone(ledger, signing):
    entry = ledger.append(EntryKind.COMMITTED, PURGE, ids={"voice": VOICE})
    line = json.dumps(entry.record).encode()

    assert read_entry(line, signing.trusted("ledger")).ids == {"voice": VOICE}
    with pytest.raises(IntegrityError):
        read_entry(line.replace(VOICE.encode(), b"9" * 32), signing.trusted("ledger"))
    with pytest.raises(IntegrityError):
        read_entry(line, {})


KILLED = """
import os, sys
from datetime import datetime, timezone
from pathlib import Path
from lifecycle.vault.failpoints import arm_from
from lifecycle.vault.anchor import Anchor, AnchorFile
from lifecycle.vault.ledger import EntryKind, Ledger
from lifecycle.vault.signing import Signing
folder = Path(sys.argv[1])
signing = Signing(folder / "signing")
arm_from(os.environ)
Ledger(folder / "ledger.jsonl", signing, clock=lambda: datetime.now(timezone.utc)).append(
    EntryKind.COMMITTED, "c" * 32, ids={})
AnchorFile(folder / "anchor.json", signing).advance(Anchor(1, "1" * 64, 0, "0" * 64, 1, "2026-11-24T12:00:00Z", 1))
"""


@pytest.mark.parametrize(
    ("point", "entries", "anchored"),
    [
        ("ledger.before_append", 0, False),
        ("ledger.after_append", 1, False),
        ("anchor.before_advance", 1, False),
        ("anchor.after_advance", 1, True),
    ],
)
def test_a_kill_leaves_the_old_state_or_the_new_one(ledger, anchor, tmp_path, point, entries, anchored):
    environment = {**os.environ, "VLM_FAILPOINTS_ENABLED": "1", "VLM_FAILPOINT": point}
    run = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env=environment, check=False)

    assert run.returncode == -signal.SIGKILL
    assert len(ledger.read()) == entries
    assert (anchor.read() is not None) is anchored
