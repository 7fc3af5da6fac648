"""A voice leaves: retire, purge, erase, and the receipt, through the command line."""

from __future__ import annotations

import json
import math
import os
import pty
import random
import shutil
import struct
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Vlm

PERSON = "patient-10042"


def recording(path: Path, *, seed: int, seconds: float = 1.0, rate: int = 16000) -> Path:
    """Write a WAV of its own content."""
    rng = random.Random(seed)
    pitch = 100 + rng.random() * 100
    samples = [
        round(8000 * math.sin(2 * math.pi * pitch * i / rate) + rng.gauss(0, 400))
        for i in range(int(rate * seconds))
    ]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return path


def weights(path: Path, *, seed: int) -> Path:
    """Write a small safetensors file."""
    data = random.Random(seed).randbytes(64)
    header = json.dumps({"w": {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)
    return path


def register(vlm: Vlm, name: str, *, seed: int, subject: str = PERSON, model: Path | None = None) -> Path:
    """Register a voice with two recordings, a consent and weights; return the folder of its recordings."""
    folder = vlm.folder / f"recordings-{name}"
    folder.mkdir()
    for i in range(2):
        recording(folder / f"{name}-take-{i}.wav", seed=seed * 10 + i)
    consent = vlm.folder / f"{name}-consent.pdf"
    consent.write_bytes(b"%PDF-1.4 consent of " + name.encode())
    model = model or weights(vlm.folder / f"{name}.safetensors", seed=seed)
    vlm.ok(
        "register", name, "--weights", model, "--audio", folder, "--subject", subject,
        "--consent", consent, "--consent-until", "2099-06-30",
    )  # fmt: skip
    return folder


def state_of(vlm: Vlm, name: str) -> str:
    voices: list[dict[str, Any]] = vlm.ok("list", "--json").json["voices"]
    (voice,) = [voice for voice in voices if voice["name"] == name]
    return str(voice["state"])


def every_byte_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Vlm:
    """A registry with the voice that leaves; each test works on a copy of it."""
    vlm = Vlm(tmp_path_factory.mktemp("template"))
    vlm.ok("init")
    register(vlm, "leaver", seed=1)
    return vlm


@pytest.fixture
def voice(template: Vlm, tmp_path: Path) -> Vlm:
    return copied(template, tmp_path)


def copied(template: Vlm, folder: Path) -> Vlm:
    """Copy a registry with its keys; the recordings stay where they were registered from."""
    for part in (template.home, template.keys):
        shutil.copytree(part, folder / part.name)
    return Vlm(folder)


@pytest.fixture
def voice_with_originals(vlm: Vlm) -> Vlm:
    register(vlm, "leaver", seed=1)
    return vlm


def test_plain_retire_deletes_nothing(voice: Vlm) -> None:
    before = {path for path in (voice.home / "blobs").rglob("*") if path.is_file()}

    done = voice.ok("retire", "leaver", "--json").json

    assert done["state"] == "retired"
    assert state_of(voice, "leaver") == "retired"
    assert {path for path in (voice.home / "blobs").rglob("*") if path.is_file()} == before


def test_a_dry_run_says_what_would_go_and_changes_nothing(voice: Vlm) -> None:
    before = every_byte_of(voice.home / "blobs")

    said = voice.ok("retire", "leaver", "--purge-audio", "--dry-run")

    assert "recordings" in said.out
    assert "2 files" in said.out
    assert "--originals" in said.out
    assert state_of(voice, "leaver") == "active"
    assert every_byte_of(voice.home / "blobs") == before


def test_a_purge_needs_the_voices_name_or_yes(voice: Vlm) -> None:
    assert voice.run("retire", "leaver", "--purge-audio").code == 4
    assert voice.run("retire", "leaver", "--purge-audio", "--confirm", "leave").code == 2
    assert state_of(voice, "leaver") == "active"
    assert voice.ok("retire", "leaver", "--purge-audio", "--confirm", "leaver")


@pytest.mark.parametrize(("typed", "code"), [("leavr", 4), ("leaver", 0)])
def test_at_a_terminal_the_name_must_be_typed(voice: Vlm, typed: str, code: int) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "lifecycle", "retire", "leaver", "--purge-audio"],
        cwd=voice.folder,
        env=voice.environment,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.write(ours, f"{typed}\n".encode())
    out, err = process.communicate(timeout=300)
    os.close(ours)
    os.close(theirs)

    assert process.returncode == code, err
    assert "Type leaver to go on" in err
    assert ("destroyed, provided" in out) == (code == 0)


def test_a_hold_refuses_it_whole(voice: Vlm) -> None:
    before = every_byte_of(voice.home / "blobs")
    voice.ok("hold", "leaver", "--reason", "case 7")

    refused = voice.run("retire", "leaver", "--purge-audio", "--yes", "--json")

    assert refused.code == 4
    assert "hold" in refused.json["error"]["message"]
    assert state_of(voice, "leaver") == "active"
    assert every_byte_of(voice.home / "blobs") == before
    voice.ok("release", "leaver")
    voice.ok("retire", "leaver", "--purge-audio", "--yes")


def test_a_purge_destroys_the_recordings_keeps_the_model_and_says_so(voice: Vlm) -> None:
    done = voice.ok("retire", "leaver", "--purge-audio", "--yes", "--json").json

    assert done["ok"]
    assert done["state"] == "retired"
    assert done["result"] == "VERIFIED"
    assert done["destroyed"]["audio"] == 2
    assert any(node["kind"] == "weights" and node["basis"] == "policy" for node in done["retained"])
    assert "provided no copy of VLM_KEYS from before" in done["wording"]
    assert any("freed blocks" in place for place in done["not_covered"])
    assert Path(done["certificate"]).is_file()
    assert state_of(voice, "leaver") == "retired"


def test_nothing_about_the_person_is_left_in_the_registry_or_the_receipt(voice: Vlm) -> None:
    done = voice.ok(
        "retire", "leaver", "--purge-audio", "--yes", "--json", "--request", "T-2231", "--basis", "withdrawal"
    ).json

    left = every_byte_of(voice.home) + every_byte_of(voice.keys)
    assert PERSON.encode() not in left
    assert b"leaver-take-0" not in left
    receipt = Path(done["certificate"]).read_text() + Path(done["page"]).read_text()
    for private in ("leaver", PERSON, "T-2231", str(voice.folder), "recordings-"):
        assert private not in receipt


def test_a_second_purge_has_nothing_to_do(voice: Vlm) -> None:
    voice.ok("retire", "leaver", "--purge-audio", "--yes")

    again = voice.ok("retire", "leaver", "--purge-audio", "--yes", "--json").json

    assert not again["purged"]
    assert again["would_destroy"] == {}


def test_originals_are_kept_unless_asked_for(voice_with_originals: Vlm) -> None:
    voice = voice_with_originals
    done = voice.ok("retire", "leaver", "--purge-audio", "--yes", "--json").json

    kept = [node for node in done["retained"] if node["kind"] == "original"]
    assert len(kept) == 2
    assert all(node["basis"] == "kept by the user" for node in kept)
    assert len(list((voice.folder / "recordings-leaver").iterdir())) == 2


def test_originals_go_when_asked_for_but_never_a_file_whose_content_changed(
    voice_with_originals: Vlm,
) -> None:
    voice = voice_with_originals
    folder = voice.folder / "recordings-leaver"
    other = recording(folder / "leaver-take-1.wav", seed=99)

    done = voice.ok("retire", "leaver", "--purge-audio", "--originals", "--yes", "--json").json

    assert done["result"] == "VERIFIED"
    assert list(folder.iterdir()) == [other]


def test_a_purged_voice_can_be_restored_without_its_recordings(voice: Vlm) -> None:
    voice.ok("retire", "leaver", "--purge-audio", "--yes")

    voice.ok("restore", "leaver")

    assert state_of(voice, "leaver") == "active"


def test_a_purged_voice_can_be_held_and_gets_new_recordings_with_a_new_consent(voice: Vlm) -> None:
    voice.ok("retire", "leaver", "--purge-audio", "--yes")
    voice.ok("hold", "leaver", "--reason", "case 9")
    voice.ok("release", "leaver")
    voice.ok("restore", "leaver")
    folder = voice.folder / "new"
    folder.mkdir()
    recording(folder / "again.wav", seed=7)
    consent = voice.folder / "again.pdf"
    consent.write_bytes(b"%PDF-1.4 once more")

    voice.ok("register", "leaver", "--audio", folder, "--consent", consent, "--consent-until", "2098-01-01")

    done = voice.ok("retire", "leaver", "--purge-audio", "--yes", "--json").json
    assert done["destroyed"] == {"audio": 1}
    assert done["result"] == "VERIFIED"


def test_erase_is_refused_before_retire_and_final_after_it(voice: Vlm) -> None:
    refused = voice.run("erase", "leaver", "--yes", "--json")
    assert refused.code == 4
    assert "vlm retire leaver" in refused.json["error"]["hint"]
    voice.ok("retire", "leaver")

    done = voice.ok("erase", "leaver", "--yes", "--json").json

    assert done["state"] == "erased"
    assert done["result"] == "VERIFIED"
    assert b"leaver" not in every_byte_of(voice.home)
    assert voice.run("show", "leaver").code == 3
    assert voice.run("restore", "leaver").code == 3


def test_erase_leaves_a_model_file_that_another_voice_needs(voice: Vlm, template: Vlm) -> None:
    shared = template.folder / "leaver.safetensors"
    register(voice, "sibling", seed=2, subject="someone-else", model=shared)
    voice.ok("retire", "leaver")

    done = voice.ok("erase", "leaver", "--yes", "--json").json

    assert any(node.get("basis") == "another voice refers to it" for node in done["retained"])
    shown = voice.ok("show", "sibling", "--json")
    assert shown.json["ok"]
    assert shared.read_bytes() in every_byte_of(voice.home / "blobs")


def test_an_outsider_checks_the_receipt_and_a_forged_one_is_found(voice: Vlm, tmp_path: Path) -> None:
    done = voice.ok("retire", "leaver", "--purge-audio", "--yes", "--json").json
    outsider = Vlm(tmp_path / "elsewhere")
    outsider.folder.mkdir()
    sent = Path(shutil.copy(done["certificate"], outsider.folder))

    checked = outsider.ok("certificate", "verify", sent, "--json").json

    assert checked["result"] == "VERIFIED"
    assert checked["purge"] == done["purge"]
    assert not checked["key_known"]
    assert any("no copy" in line for line in checked["does_not_prove"])
    (known,) = voice.keys.rglob("receipt-*.pub")
    assert outsider.ok("certificate", "verify", sent, "--key", known, "--json").json["key_known"]
    (other,) = voice.keys.rglob("ledger-*.pub")
    assert outsider.run("certificate", "verify", sent, "--key", other).code == 5
    for change in (_flip_payload, _flip_signature):
        forged = outsider.folder / "forged.dsse.json"
        forged.write_text(json.dumps(change(json.loads(sent.read_text()))))
        assert outsider.run("certificate", "verify", forged, "--json").code == 5


def _flip_payload(envelope: dict[str, Any]) -> dict[str, Any]:
    text = str(envelope["payload"])
    return {**envelope, "payload": text[:40] + ("A" if text[40] != "A" else "B") + text[41:]}


def _flip_signature(envelope: dict[str, Any]) -> dict[str, Any]:
    (signature,) = envelope["signatures"]
    text = str(signature["sig"])
    return {**envelope, "signatures": [{**signature, "sig": ("A" if text[0] != "A" else "B") + text[1:]}]}


def test_what_is_no_receipt_is_refused_in_one_sentence(bare_vlm: Vlm) -> None:
    for name, content in (
        ("empty", b""),
        ("text", b"hello"),
        ("list", b"[1]"),
        ("object", b'{"payload": 3}'),
    ):
        path = bare_vlm.folder / name
        path.write_bytes(content)
        answer = bare_vlm.run("certificate", "verify", path, "--json")
        assert answer.code == 6, answer.out
        assert not answer.json["ok"]
    assert bare_vlm.run("certificate", "verify", "nowhere").code == 3


def test_the_trail_still_verifies_after_its_details_were_deleted(voice: Vlm) -> None:
    voice.ok("retire", "leaver", "--purge-audio", "--yes")

    voice.ok("trail", "verify")
