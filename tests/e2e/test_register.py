"""A voice arrives, through the command line: what is said, stored and refused."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lifecycle.services.doctor import examine
from lifecycle.services.shelf import list_voices
from tests import trees
from tests.conftest import Vlm
from tests.files import recordings, safetensors, speaker, weights
from tests.formats import build
from tests.rooms import session


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Vlm:
    """An empty registry; each test works on a copy of it."""
    vlm = Vlm(tmp_path_factory.mktemp("template"))
    vlm.ok("init")
    return vlm


@pytest.fixture
def vlm(template: Vlm, tmp_path: Path) -> Vlm:
    for name in ("home", "keys"):
        shutil.copytree(template.folder / name, tmp_path / name)
    return Vlm(tmp_path)


def names(vlm: Vlm) -> list[str]:
    return [voice["name"] for voice in vlm.ok("list", "--json").json["voices"]]


def blobs(vlm: Vlm) -> list[Path]:
    return [path for path in (vlm.home / "blobs").rglob("*") if path.is_file()]


def assert_untouched(vlm: Vlm) -> None:
    """Nothing is left behind, and doctor has nothing to repair."""
    assert blobs(vlm) == []
    with session(vlm.folder) as rooms:
        assert list_voices(rooms=rooms, everything=True).voices == ()
        assert examine(rooms, repair=False).findings == ()


def test_a_voice_arrives(vlm: Vlm) -> None:
    folder = recordings(vlm.folder / "recordings")
    (folder / "notes.txt").write_text("not a recording")
    (vlm.folder / "consent.pdf").write_bytes(b"%PDF I agree")
    (vlm.folder / "requirements.txt").write_text("torch==2.13.0\nnumpy>=1\n")

    answer = vlm.ok(
        "register", "kol-lin",
        "--weights", weights(vlm.folder / "lin.safetensors"), "--embedding", speaker(vlm.folder / "lin.sp"),
        "--audio", folder, "--subject", "-", "--consent", "consent.pdf", "--consent-until", "2099-06-30",
        "--lockfile", "requirements.txt", "--owner", "video", "--contact", "tts@example.com",
        stdin="patient-10042\n",
    )  # fmt: skip

    assert answer.out.splitlines()[0].startswith("registered kol-lin version 1    ")
    assert (
        "2 originals still lie where they came from, unencrypted (register --move removes them)" in answer.out
    )
    assert "skipped 1: notes.txt (no recording)" in answer.out
    assert "requirements.txt pins 1 of 2 packages: not a lock" in answer.out
    assert "next: vlm verify kol-lin --torch 2.x" in answer.out
    assert "patient-10042" not in answer.out + answer.err
    told = vlm.ok("show", "kol-lin", "--json").json
    assert sorted({a["role"] for a in told["artifacts"]}) == [
        "audio", "consent", "embedding", "io-spec", "lockfile", "weights",
    ]  # fmt: skip
    assert told["owner"] == "video"
    assert vlm.ok("trail", "verify", "--json").json["problems"] == []


def test_arriving_again_says_so_and_stores_nothing(vlm: Vlm) -> None:
    arguments = ("register", "kol-lin", "--weights", weights(vlm.folder / "lin.safetensors"))
    vlm.ok(*arguments)
    before = sorted(blobs(vlm))

    again = vlm.ok(*arguments)

    assert again.out.startswith("kol-lin is already registered as version 1; nothing was stored")
    assert sorted(blobs(vlm)) == before


def test_rehearsing_stores_nothing(vlm: Vlm) -> None:
    answer = vlm.ok("register", "kol-lin", "--weights", weights(vlm.folder / "lin.st"), "--dry-run", "--json")

    assert (answer.json["dry_run"], answer.json["voice"]) == (True, "kol-lin")
    assert_untouched(vlm)


def test_a_life_of_states_and_holds(vlm: Vlm) -> None:
    vlm.ok("register", "kol-lin", "--weights", weights(vlm.folder / "lin.st"))

    vlm.ok("hold", "kol-lin", "--reason", "case 7")
    held = vlm.ok("list", "--json").json["voices"][0]["held"]
    vlm.ok("release", "kol-lin")
    vlm.ok("deprecate", "kol-lin")
    state = vlm.ok("list", "--json").json["voices"][0]["state"]
    vlm.ok("restore", "kol-lin")

    assert (held, state) == (True, "deprecated")
    refused = vlm.run("unhold", "kol-lin", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (4, "refused")


BAD = {
    "an empty file": (b"", "is empty"),
    "a truncated zip": (build.evil_checkpoint(b"PK")[:200], ""),
    "a lying header": (safetensors({"w": [4, 4]})[:-10], ""),
    "noise": (b"\x00\x01\x02" * 50, ""),
}


@pytest.mark.parametrize(("content", "words"), BAD.values(), ids=BAD)
def test_a_file_that_cannot_be_read_is_refused_with_one_sentence(
    vlm: Vlm, content: bytes, words: str
) -> None:
    (vlm.folder / "bad.pth").write_bytes(content)

    answer = vlm.run("register", "kol-lin", "--weights", "bad.pth")

    first = answer.err.strip().splitlines()[0]
    assert answer.code == 6
    assert first.startswith('vlm: "bad.pth" ')
    assert words in first
    assert "nothing was stored" in first
    assert_untouched(vlm)


@pytest.mark.parametrize("head", build.HEADS, ids=lambda head: head.decode())
def test_a_payload_behind_any_head_is_refused_and_never_run(vlm: Vlm, head: bytes) -> None:
    (vlm.folder / "bad.pth").write_bytes(build.evil_checkpoint(head))

    answer = vlm.run("register", "kol-lin", "--weights", "bad.pth", "--json")

    assert (answer.code, answer.json["ok"], answer.json["error"]["code"]) == (6, False, "unsafe")
    assert "posix.system" in answer.json["error"]["message"]
    assert blobs(vlm) == []


def test_a_second_bad_file_takes_the_first_back(vlm: Vlm) -> None:
    (vlm.folder / "bad.pth").write_bytes(b"")

    answer = vlm.run("register", "kol-lin", "--weights", weights(vlm.folder / "a.st"), "--weights", "bad.pth")

    assert answer.code == 6
    assert_untouched(vlm)


def test_a_missing_file_is_not_found(vlm: Vlm) -> None:
    answer = vlm.run("register", "kol-lin", "--weights", "nowhere.pth")

    assert (answer.code, answer.err) == (3, 'vlm: "nowhere.pth" does not exist\n')
    assert_untouched(vlm)


@pytest.mark.parametrize("name", ["../kol", "-kol", "kol\x1b[2J"])
def test_a_name_that_could_lead_elsewhere_is_refused(vlm: Vlm, name: str) -> None:
    answer = vlm.run("register", "--weights", weights(vlm.folder / "a.st"), "--", name)

    assert answer.code == 2
    assert "\x1b" not in answer.err
    assert_untouched(vlm)


def test_a_file_name_that_is_no_text_is_taken_and_shown_safely(vlm: Vlm) -> None:
    path = os.fsencode(vlm.folder) + b"/lin-\xff\xfe.st"
    weights(vlm.folder / "plain.st").rename(os.fsdecode(path))

    answer = vlm.ok("register", "kol-lin", "--weights", os.fsdecode(path))

    assert "registered kol-lin" in answer.out
    assert b"\xff" not in answer.err.encode("utf-8", "surrogateescape")


def test_recordings_need_somebody_they_belong_to(vlm: Vlm) -> None:
    answer = vlm.run(
        "register",
        "kol-lin",
        "--weights",
        weights(vlm.folder / "a.st"),
        "--audio",
        recordings(vlm.folder / "takes"),
    )

    assert answer.code == 2
    assert "say whose with --subject ID, or say --own-voice" in answer.err
    assert_untouched(vlm)


def test_two_registrations_at_once_make_one_voice(vlm: Vlm) -> None:
    folder = recordings(vlm.folder / "takes")
    arguments = (
        "register",
        "kol-lin",
        "--weights",
        weights(vlm.folder / "a.st"),
        "--audio",
        folder,
        "--own-voice",
        "--json",
    )

    running = [vlm.start(*arguments) for _ in range(2)]
    codes = [(process.communicate()[0], process.returncode) for process in running]

    assert [code for _, code in codes] == [0, 0]
    assert sorted(('"created": "voice"' in out, '"created": "nothing"' in out) for out, _ in codes) == [
        (False, True), (True, False),
    ]  # fmt: skip
    assert len(vlm.ok("show", "kol-lin", "--json").json["artifacts"]) == 4
    told = vlm.ok("doctor", "--json").json["findings"]
    assert [finding for finding in told if not finding["advice"]] == []
    assert vlm.ok("trail", "verify", "--json").json["problems"] == []


# tests/integration/test_registry_register.py crashes at every point; here the program itself is killed.
@pytest.mark.parametrize("point", ["blob.before_rename", "register.before_commit"])
def test_a_registration_that_is_killed_leaves_what_doctor_removes(vlm: Vlm, point: str) -> None:
    arguments = (
        "register", "kol-lin", "--weights", weights(vlm.folder / "a.st"),
        "--audio", recordings(vlm.folder / "takes"), "--own-voice",
    )  # fmt: skip
    dying = vlm.with_env(VLM_FAILPOINTS_ENABLED="1", VLM_FAILPOINT=point)

    killed = dying.run(*arguments)

    assert killed.code == -signal.SIGKILL
    assert names(vlm) == []
    assert vlm.ok("doctor", "--json").json["left"] == 0
    assert_untouched(vlm)
    assert vlm.ok(*arguments).out.startswith("registered kol-lin version 1")


def test_a_registration_that_is_killed_after_its_commit_is_whole(vlm: Vlm) -> None:
    dying = vlm.with_env(VLM_FAILPOINTS_ENABLED="1", VLM_FAILPOINT="register.after_commit")

    dying.run("register", "kol-lin", "--weights", weights(vlm.folder / "a.st"))

    assert names(vlm) == ["kol-lin"]
    assert vlm.ok("doctor", "--json").json["left"] == 0
    assert vlm.ok("trail", "verify", "--json").json["anchor"] == "ok"


@pytest.mark.parametrize("point", ["blob.before_write", "register.after_files"])
def test_a_write_that_fails_for_want_of_room_changes_nothing(vlm: Vlm, point: str) -> None:
    full = vlm.with_env(VLM_FAILPOINTS_ENABLED="1", VLM_FAILPOINT=f"{point}:enospc")

    answer = full.run("register", "kol-lin", "--weights", weights(vlm.folder / "a.st"))

    assert answer.code in {1, 7}
    assert_untouched(vlm)


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap to make a small disk")
def test_a_full_disk_is_one_sentence_and_nothing_is_left(vlm: Vlm) -> None:
    big = vlm.folder / "big.st"
    big.write_bytes(safetensors({"w": [1024, 2048]}))
    home = vlm.home
    script = (
        f'cp -r "{home}"/. /small/ && VLM_HOME=/small "$@"; code=$?; '
        'ls /small/blobs/tmp; find /small/blobs -type f; VLM_HOME=/small "$1" -m lifecycle doctor --json; exit $code'
    )
    ran = subprocess.run(
        [
            "bwrap", "--bind", "/", "/", "--dev-bind", "/dev", "/dev", "--size", str(3 << 20), "--tmpfs", "/small",
            "--", "sh", "-c", script, "sh", sys.executable, "-m", "lifecycle",
            "register", "kol-lin", "--weights", str(big),
        ],
        env=vlm.environment, cwd=vlm.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "bwrap:" in ran.stderr and ran.returncode == 1:
        pytest.skip(f"bubblewrap cannot make a small disk here: {ran.stderr.strip()}")

    assert ran.returncode == 7, ran.stderr
    assert ran.stderr.startswith('vlm: there is no room in "/small')
    assert '"findings": []' in ran.stdout
    assert "/small/blobs/" not in ran.stdout


def test_rights_the_contract_and_the_day_of_the_recordings_are_kept(vlm: Vlm) -> None:
    folder = recordings(vlm.folder / "takes")
    index = trees.index(vlm.folder / "added.index")
    arguments = (
        "register",
        "kol-lin",
        "--weights",
        weights(vlm.folder / "a.st"),
        "--audio",
        folder,
        "--own-voice",
    )

    vlm.ok(*arguments, "--features", index, "--recorded-on", "2024-05-06", "--contract-ends", "2099-06-30")
    vlm.ok("register", "kol-lin", "--rights", "adverts in Europe")

    with session(vlm.folder) as rooms, rooms.registry.read() as uow:
        voice = uow.voices.get("kol-lin")
        dated = {a.role.value for a in uow.voices.artifacts(voice.uid) if a.recorded_at is not None}
    assert (voice.rights, str(voice.contract_ends_at)) == (
        "adverts in Europe",
        "2099-06-30 12:00:00+00:00",
    )
    assert dated == {"audio", "features"}
    refused = vlm.run("register", "kol-lin", "--recorded-on", "2024-05-06")
    assert (refused.code, refused.err.splitlines()[0]) == (
        2,
        "vlm: --recorded-on belongs to --audio, --ref or --features",
    )
