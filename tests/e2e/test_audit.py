"""`vlm audit` as a process: what is at risk, what is accepted, and what a timer sees."""

from __future__ import annotations

import shutil
import wave
from pathlib import Path

import pytest

from tests.conftest import Vlm
from tests.rooms import stored_bytes


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, debug_voice: tuple[Path, Path]) -> Path:
    """Two voices without a runtime: one of a person whose consent ended, one that nobody owns."""
    folder = tmp_path_factory.mktemp("audit")
    program = Vlm(folder, {"VLM_RUNTIMES": str(folder / "no-runtimes")})
    program.ok("init")
    with wave.open(str(folder / "take.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(b"\x10\x00\xf0\xff" * 8000)
    (folder / "consent.txt").write_text("I agree\n")
    weights, speaker = debug_voice
    files = ["--weights", weights, "--embedding", speaker]
    person = ["--audio", "take.wav", "--subject", "10042", "--consent", "consent.txt"]
    until = ["--consent-until", "2020-06-30"]
    program.ok("register", "voice-42", *files, *person, *until, "--owner", "video")
    program.ok("register", "old-radio", *files)
    return folder


@pytest.fixture
def home(template: Path, tmp_path: Path) -> Vlm:
    """A copy of the registry of this module, with its keys."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return Vlm(tmp_path, {"VLM_RUNTIMES": str(tmp_path / "no-runtimes")})


def risks(program: Vlm, *arguments: str) -> dict[str, set[str]]:
    """Return the risks by voice."""
    found: dict[str, set[str]] = {}
    for risk in program.run("audit", *arguments, "--json").json["risks"]:
        found.setdefault(risk["voice"], set()).add(risk["risk"])
    return found


def flip(program: Vlm, name: str, role: str = "weights") -> Path:
    shown = program.ok("show", name, "--json").json
    digest = next(a["digest"] for a in shown["artifacts"] if a["role"] == role).removeprefix("blake3:")
    path = program.home / "blobs" / digest[:2] / digest[2:]
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)
    return path


def test_recordings_after_the_end_of_their_consent_are_critical(home):
    answer = home.run("audit", "--json")

    assert answer.code == 11
    assert answer.json["ok"]
    (one,) = [risk for risk in answer.json["risks"] if risk["severity"] == "critical"]
    assert (one["voice"], one["risk"]) == ("voice-42", "consent-expired")
    assert one["next"] == "vlm retire voice-42 --purge-audio"
    assert "2020-06-30" in one["message"]


def test_a_flipped_byte_is_found_in_every_voice_that_shares_the_file(home):
    assert "hash-drift" not in risks(home).get("old-radio", set())

    flip(home, "old-radio")

    found = risks(home)
    assert "hash-drift" in found["old-radio"]
    assert "hash-drift" in found["voice-42"]


def test_a_file_that_is_gone_is_critical(home):
    flip(home, "old-radio").unlink()

    assert "missing-artifact" in risks(home)["old-radio"]


def test_people_read_the_worst_first_with_a_command_for_each_line(home):
    flip(home, "old-radio")

    answer = home.run("audit")

    lines = answer.out.splitlines()
    assert lines[0].startswith("critical")
    assert all("vlm " in line for line in lines[:-1])
    assert lines[-1].startswith("2 voices: ")
    assert answer.code == 11


@pytest.mark.parametrize(("fail_on", "code"), [("critical", 11), ("warning", 11), ("never", 0)])
def test_the_exit_code_follows_fail_on(home, fail_on, code):
    assert home.run("audit", "--fail-on", fail_on).code == code


def test_another_word_for_fail_on_is_a_usage_error(home):
    answer = home.run("audit", "--fail-on", "sometimes")

    assert answer.code == 2
    assert "sometimes" in answer.err


def test_a_risk_whose_cure_is_not_installed_is_not_reported(home):
    commands = home.ok("--help").out

    found = {risk for voice in risks(home).values() for risk in voice}
    assert "no-owner" in found
    if " image " not in commands:
        assert "no-image" not in found


def test_an_accepted_risk_is_counted_not_listed_and_kept_with_its_reason_sealed(home):
    accepted = home.ok(
        "audit", "accept", "consent-expired", "voice-42", "--until", "2999-01-31", "--reason", "asked again"
    )
    assert "2999-01-31" in accepted.out

    answer = home.run("audit", "--json")

    assert "consent-expired" not in {risk["risk"] for risk in answer.json["risks"]}
    assert answer.json["accepted"] == 1
    assert answer.code == 0
    assert b"asked again" not in stored_bytes(home.folder)


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["no-such-risk", "--until", "2999-01-31", "--reason", "x"], 2, "no-such-risk"),
        (["no-owner", "--until", "2020-01-31", "--reason", "x"], 2, "past"),
        (["no-owner", "--until", "2999-01-31", "--reason", " "], 2, "reason"),
        (["no-owner", "nobody", "--until", "2999-01-31", "--reason", "x"], 3, "nobody"),
    ],
)
def test_an_acceptance_that_makes_no_sense_is_refused(home, arguments, code, word):
    answer = home.run("audit", "accept", *arguments)

    assert answer.code == code
    assert word in answer.err


def test_a_dry_run_accepts_nothing(home):
    home.ok("audit", "accept", "no-owner", "--until", "2999-01-31", "--reason", "x", "--dry-run")

    assert home.run("audit", "--json").json["accepted"] == 0


def test_new_lists_only_what_the_last_audit_did_not_find(home):
    assert risks(home, "--new")
    assert risks(home, "--new") == {}

    flip(home, "old-radio")

    assert {risk for found in risks(home, "--new").values() for risk in found} == {"hash-drift"}


def test_a_timer_hears_nothing_where_nothing_is_new_and_the_trail_keeps_the_report(home):
    first = home.run("audit", "--scheduled")
    size = home.ok("trail", "verify", "--json").json["size"]

    second = home.run("audit", "--scheduled")

    assert first.code == 11
    assert "voice-42" in first.out
    assert (second.code, second.out, second.err) == (0, "", "")
    assert home.ok("trail", "verify", "--json").json["size"] == size + 1


def test_an_empty_registry_is_at_no_risk(vlm):
    answer = vlm.ok("audit")

    assert answer.out.startswith("0 voices: nothing at risk")
