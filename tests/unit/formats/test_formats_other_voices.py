"""Voices of RVC and so-vits-svc, their indexes and settings, and lists of clips: told by content."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from lifecycle.formats import Inspection, inspect
from lifecycle.formats.lists import read_list, read_names
from lifecycle.formats.model import Unread
from tests import trees
from tests.formats.build import Tensor, torch_zip


def look(path: Path, data: bytes | None = None) -> Inspection:
    data = path.read_bytes() if data is None else data
    return inspect(io.BytesIO(data), name=path.name, size=len(data))


def test_a_voice_of_rvc_is_told_with_its_version_rate_and_pitch(tmp_path):
    found = look(trees.rvc(tmp_path / "anything.bin"))
    assert (found.kind, found.safe) == ("rvc", True)
    assert found.summary.startswith("RVC voice, v2, fp16, 4 tensors")
    assert (found.facts["sample_rate"], found.facts["pitch"], found.facts["epoch"]) == (40_000, True, 200)


def test_a_training_checkpoint_of_rvc_says_so(tmp_path):
    data = trees.rvc(tmp_path / "G.pth", optimizer=None).read_bytes()
    assert look(tmp_path / "G.pth", data).facts["stage"] == "training"


def test_a_voice_of_so_vits_svc_is_told_by_its_tensors(tmp_path):
    found = look(trees.so_vits_svc(tmp_path / "x.pth", step=800))
    assert (found.kind, found.facts["version"], found.facts["iteration"]) == ("so-vits-svc", "4.1", 800)


def test_a_file_with_some_of_their_tensors_is_neither(tmp_path):
    data = torch_zip({"weight": {"enc_p.emb_phone.weight": Tensor.flat(192, 768)}})
    assert look(tmp_path / "x.pth", data).kind == "torch-checkpoint"


def test_settings_are_told_from_other_json(tmp_path):
    path = trees.settings(tmp_path / "config.json", "nana", "bo")
    assert look(path).kind == "so-vits-svc-config"
    assert look(path).facts["speakers"] == ["nana", "bo"]
    assert look(path, b'{"train": {}, "data": {}, "model": {}}').safe is None
    assert look(path, b'{"train": {}, "data": {}, "model": {}, "spk": {}, "spk": {}}').safe is None


def test_an_index_is_walked_to_its_end(tmp_path):
    path = trees.index(tmp_path / "added.index")
    found = look(path)
    assert (found.kind, found.safe) == ("faiss-index", True)
    assert found.facts == {"dimension": 8, "vectors": 5}
    data = path.read_bytes()
    for broken in (data[:-1], data + b"\0", data[:60], b"IwPQ" + data[4:], b"IwFl" + b"\xff" * 100):
        assert look(path, broken).safe is None


@pytest.mark.parametrize("length", range(0, 400, 7))
def test_an_index_that_is_cut_anywhere_is_not_read(tmp_path, length):
    data = trees.index(tmp_path / "added.index").read_bytes()
    assert look(tmp_path / "added.index", data[: min(length, len(data) - 1)]).safe is None


def test_a_list_of_clips_gives_the_ends_of_paths_languages_and_texts():
    data = "\ufeffD:\\a\\output\\slicer_opt\\x 1.wav|lin|ZH|你好|再见\r\n./out/y.wav|lin|jp|\n\n".encode()
    first, second = read_list(data)
    assert (first.parts[-2:], first.speaker, first.language) == (("slicer_opt", "x 1.wav"), "lin", "zh")
    assert first.text == "你好|再见"
    assert (second.parts, second.language, second.text) == (("out", "y.wav"), "ja", "")


@pytest.mark.parametrize(
    "data", [b"", b"one|two|three\n", b"\xff\xfe", b"|a|b|c\n", b"x" * 40_000 + b"|a|b|c"]
)
def test_what_is_no_list_of_clips_is_refused(data):
    with pytest.raises(Unread):
        read_list(data)


def test_the_names_a_voice_was_trained_on():
    assert read_names(b"a.wav\tp h\t[1]\ttext\nb.wav\tp\t[1]\tx\n") == {"a.wav", "b.wav"}
