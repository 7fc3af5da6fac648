"""`vlm inspect` as people and programs call it."""

import os
import shutil
from pathlib import Path

import pytest

from tests.formats import build

NOT_READ = ("empty.pth", "cut.pth", "bomb.pth", "duplicate.pth", "parent.pth", "overlap.safetensors")


@pytest.fixture
def folder(bare_vlm):
    return bare_vlm.folder


def test_a_safe_voice_is_described(bare_vlm, folder):
    (folder / "a-e15.ckpt").write_bytes(build.torch_zip(build.gpt_half()))

    answer = bare_vlm.ok("inspect", "a-e15.ckpt")

    assert "GPT-SoVITS GPT half, v2, fp16, 295 tensors     pickle: safe to read, 0 calls" in answer.out
    assert "safe: read to its end" in answer.out
    assert answer.err == ""


def test_json_says_what_programs_need(bare_vlm, folder):
    (folder / "v.pth").write_bytes(build.torch_zip(build.sovits_half("v2Pro"), head=b"05"))

    found = bare_vlm.ok("inspect", "v.pth", "--json").json

    assert found["ok"] is True
    assert (found["kind"], found["safe"], found["version"], found["head"]) == (
        "gpt-sovits-sovits",
        True,
        "v2Pro",
        "05",
    )
    assert found["findings"] == [
        {"severity": "info", "code": "class", "message": "holds one class, utils.HParams, not executed"}
    ]
    assert len(found["tensors"]) == found["n_tensors"] == 678


@pytest.mark.parametrize("head", [b"PK", b"03", b"04", b"05", b"06"], ids=lambda head: head.decode())
def test_a_payload_is_found_behind_each_head(bare_vlm, folder, head):
    (folder / "downloaded.pth").write_bytes(build.evil_checkpoint(head))

    answer = bare_vlm.run("inspect", "downloaded.pth", "--json")

    assert answer.code == 6
    assert (answer.json["ok"], answer.json["safe"]) == (True, False)
    assert answer.json["findings"][0]["message"] == "calls posix.system when loaded"
    assert not Path("/tmp/vlm-was-here").exists()


def test_an_unsafe_file_is_said_to_people(bare_vlm, folder):
    (folder / "downloaded.pth").write_bytes(build.evil_checkpoint())

    answer = bare_vlm.run("inspect", "downloaded.pth")

    assert answer.code == 6
    assert "danger" in answer.out
    assert "unsafe: " in answer.out


@pytest.mark.parametrize(
    "name", ["empty.pth", "cut.pth", "bomb.pth", "duplicate.pth", "parent.pth", "overlap.safetensors"]
)
def test_a_file_that_was_not_read_is_never_clean(bare_vlm, folder, name):
    (folder / name).write_bytes(build.unread_files()[name])

    spoken, told = bare_vlm.run("inspect", name), bare_vlm.run("inspect", name, "--json")

    assert (spoken.code, told.code) == (6, 6)
    assert (told.json["ok"], told.json["safe"]) == (False, None)
    assert set(told.json["error"]) == {"code", "message", "hint"}
    assert told.json["error"]["code"] == "unreadable"
    assert spoken.err.startswith(f'vlm: "{name}" ')
    assert spoken.out == ""
    assert len(spoken.err.splitlines()) == 1


def test_a_missing_file_is_not_found(bare_vlm):
    answer = bare_vlm.run("inspect", "nothing.pth", "--json")

    assert (answer.code, answer.json["ok"], answer.json["error"]["code"]) == (3, False, "not_found")


def test_a_folder_and_a_pipe_are_not_read_and_not_waited_for(bare_vlm, folder):
    os.mkfifo(folder / "pipe")

    assert bare_vlm.run("inspect", ".").code == 6
    assert bare_vlm.run("inspect", "pipe").code == 6
    assert bare_vlm.run("inspect", "/dev/zero").code == 6


def test_a_name_that_is_not_utf8_is_shown_and_read(bare_vlm, folder):
    raw = os.fsencode(folder) + b"/st\xfcck.pth"
    Path(os.fsdecode(raw)).write_bytes(build.torch_zip({"a": 1}))
    name = os.fsdecode(b"st\xfcck.pth")

    assert bare_vlm.run("inspect", name).code == 0
    assert bare_vlm.run("inspect", name, "--json").json["name"] == "st\\udcfcck.pth"


def test_inspect_needs_no_registry_and_makes_none(bare_vlm, folder):
    (folder / "x.wav").write_bytes(build.wav(2))

    bare_vlm.ok("inspect", "x.wav")

    assert not bare_vlm.home.exists()


def test_a_link_is_followed(bare_vlm, folder):
    (folder / "real.wav").write_bytes(build.wav(2))
    (folder / "link").symlink_to(folder / "real.wav")

    assert "WAV, 2.0 s, 24 kHz, mono" in bare_vlm.ok("inspect", "link").out


@pytest.mark.skipif(os.geteuid() == 0 or shutil.which("chmod") is None, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_said(bare_vlm, folder):
    (folder / "secret.pth").write_bytes(b"x")
    (folder / "secret.pth").chmod(0)

    assert bare_vlm.run("inspect", "secret.pth").code == 6


def test_tensors_are_listed_on_request(bare_vlm, folder):
    (folder / "a.pth").write_bytes(build.torch_zip({"weight": {"layer": build.Tensor((2, 3))}}))

    assert "  weight.layer  F16  2x3" in bare_vlm.ok("inspect", "a.pth", "--tensors").out.splitlines()
