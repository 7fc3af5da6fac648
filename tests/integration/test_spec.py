"""A voice's specification is read from its stored files again each time, and held against what somebody wrote."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from lifecycle.bootstrap import Rooms
from lifecycle.domain.verdicts import Verdict
from lifecycle.services.registration.register import register
from lifecycle.services.registration.request import RegisterRequest
from lifecycle.services.shelf import show_voice
from lifecycle.services.specs.spec import Spec, spec_of
from tests.conftest import Vlm
from tests.files import weights
from tests.formats import build
from tests.rooms import session


@pytest.fixture
def rooms(tmp_path: Path) -> Iterator[Rooms]:
    with session(tmp_path / "registry") as opened:
        yield opened


def registered(rooms: Rooms, debug_voice: tuple[Path, Path], **more: object) -> Spec:
    request = RegisterRequest(name="kol", weights=(debug_voice[0],), own_voice=True, **more)  # type: ignore[arg-type]
    register(request, rooms=rooms)
    return spec_of("kol", rooms=rooms)


def test_a_voice_of_ours_agrees_with_its_own_weights(rooms, debug_voice):
    found = registered(rooms, debug_voice, embedding=debug_voice[1])

    shown = {f"{line.section}.{line.name}": line.said for line in found.sheet.lines}
    assert (found.verdict, found.given) == (Verdict.WORKS, False)
    assert shown["frames.mel_bands"] == "from the weights"
    assert shown["tokens.count"] == "from the weights"
    assert shown["dimensions.embedding"] == "from the speaker file"
    assert [need.present for need in found.sheet.needs] == [True, True]
    assert found.spec["tokens"]["count"] == len(found.spec["token_map"])


def test_a_part_that_is_missing_is_named_by_show_too(rooms, debug_voice):
    found = registered(rooms, debug_voice)

    assert [need.part for need in found.sheet.needs if not need.present] == ["speaker file"]
    told = show_voice("kol", rooms=rooms)
    assert told.to_json()["missing"] == ["speaker file"]
    assert any(line.startswith("not kept with it: speaker file") for line in told.lines())


@pytest.mark.parametrize(
    ("written", "contradicted"),
    [
        ({"output": {"sample_rate_hz": 16000}, "words": "of my own"}, set()),
        (
            {"output": {"sample_rate_hz": 48000}, "frames": {"mel_bands": 128}},
            {"sample_rate_hz", "mel_bands"},
        ),
        ({"token_map": ["a", "b"]}, {"count"}),
        ({"output": 7, "frames": {"mel_bands": "forty"}, "dimensions": [1]}, set()),
    ],
)
def test_what_somebody_wrote_is_held_against_the_files(rooms, debug_voice, tmp_path, written, contradicted):
    file = tmp_path / "spec.yaml"
    file.write_text(yaml.safe_dump(written), encoding="utf-8")

    found = registered(rooms, debug_voice, io_spec=file)

    assert found.given
    assert {clash.name for clash in found.sheet.clashes} == contradicted
    assert found.verdict is (Verdict.DIFFERS if contradicted else Verdict.WORKS)
    assert found.spec == written


def test_a_gpt_sovits_voice_is_read_from_both_of_its_files(rooms, tmp_path):
    gpt, sovits = tmp_path / "lin-e15.ckpt", tmp_path / "lin_e8_s1200.pth"
    gpt.write_bytes(build.torch_zip(build.gpt_half(732)))
    sovits.write_bytes(build.torch_zip(build.sovits_half("v2Pro", config_class=False), head=b"05"))
    register(RegisterRequest(name="lin", weights=(gpt, sovits), own_voice=True), rooms=rooms)

    found = spec_of("lin", rooms=rooms)

    assert found.verdict is Verdict.WORKS
    assert found.sheet.find("output", "sample_rate_hz").value == 32_000
    assert "ERes2NetV2" in show_voice("lin", rooms=rooms).missing


def test_the_page_goes_to_a_file_and_an_existing_one_is_not_replaced_unasked(vlm: Vlm, tmp_path):
    vlm.ok("register", "kol", "--weights", weights(tmp_path / "kol.safetensors"))
    page = tmp_path / "kol.md"

    vlm.ok("spec", "kol", "--md", "-o", page)
    assert page.read_text(encoding="utf-8").startswith("# What goes into kol, and what comes out\n")
    page.write_text("mine", encoding="utf-8")
    refused = vlm.run("spec", "kol", "--md", "-o", page)

    assert (refused.code, page.read_text(encoding="utf-8")) == (4, "mine")
    assert vlm.run("spec", "kol", "--check").code == 12
