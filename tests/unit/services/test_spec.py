"""I/O specifications: made of what files say, and read as data."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import yaml
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.domain.errors import UnreadableFile
from lifecycle.formats import Inspection, TensorInfo, inspect
from lifecycle.services.specs.facts import needs_of, sheet_of, token_digest
from lifecycle.services.specs.page import page_of
from lifecycle.services.specs.sheet import Sheet
from lifecycle.services.specs.sovits import SYMBOLS
from lifecycle.services.specs.spec import MAX_BYTES, make_spec, read_spec
from tests.formats import build


def ours(**config: object) -> Inspection:
    return Inspection("vlm-voice", safe=True, facts={"config": config})


def shaped(kind: str, shapes: dict[str, tuple[int, ...]], **facts: object) -> Inspection:
    tensors = tuple(TensorInfo(name, shape, "F16") for name, shape in shapes.items())
    return Inspection(kind, safe=True, facts=facts, tensors=tensors)


def half(value: dict[str, object], head: bytes = b"PK") -> Inspection:
    data = build.torch_zip(value, head=head)
    return inspect(io.BytesIO(data), name="half.pth", size=len(data))


def said(sheet: Sheet) -> dict[str, tuple[object, str]]:
    return {f"{line.section}.{line.name}": (line.value, line.said) for line in sheet.lines}


def test_a_voice_of_ours_tells_its_rate_phones_and_frames() -> None:
    speaker = Inspection("vlm-speaker", safe=True, tensors=(TensorInfo("embedding", (256,), "F32"),))

    spec = yaml.safe_load(
        make_spec([ours(rate=16000, hop=200, phones=["pau", "aa"], languages=["en"])], speaker)
    )

    assert spec["output"]["sample_rate_hz"] == 16000
    assert spec["input"] == {"kind": "text", "languages": ["en"]}
    assert spec["token_map"] == ["pau", "aa"]
    assert spec["tokens"]["count"] == 2
    assert spec["frames"] == {"hop": 200, "frames_per_second": 80.0}
    assert spec["dimensions"] == {"embedding": 256}
    assert "frames.hop" in spec["said"]["from the configuration"]


def test_a_gpt_sovits_voice_needs_a_reference_clip() -> None:
    found = Inspection(
        "gpt-sovits-sovits", safe=True, facts={"version": "v2", "half": "sovits", "sample_rate": 32000}
    )

    spec = yaml.safe_load(make_spec([found], None))

    assert spec["input"] == {"kind": "text and a reference clip with its transcript"}
    assert spec["front_end"]["version"] == "v2"
    assert spec["output"]["sample_rate_hz"] == 32000


def test_what_no_file_says_is_left_out_of_the_file_and_unknown_on_the_page() -> None:
    item = Inspection("safetensors", safe=True)

    spec = yaml.safe_load(make_spec([item], None))
    sheet = sheet_of([item], None)

    assert set(spec) == {"format", "made_from", "output", "said"}
    assert "sample_rate_hz" not in spec["output"]
    assert said(sheet)["output.sample_rate_hz"] == (None, "unknown")
    assert said(sheet)["front_end.name"] == (None, "unknown")


@pytest.mark.parametrize(
    ("version", "rate", "rows", "count"),
    [("v1", 32_000, 512, 322), ("v2", 32_000, 732, 732), ("v2Pro", 32_000, 732, 732),
     ("v2ProPlus", 32_000, 732, 732), ("v3", 24_000, 732, 732), ("v4", 48_000, 732, 732)],
)  # fmt: skip
def test_both_halves_of_every_gpt_sovits_version_agree(version, rate, rows, count) -> None:
    sovits = build.sovits_half(version, config_class=False)

    sheet = sheet_of([half(build.gpt_half(rows)), half(sovits)], None)

    told = said(sheet)
    assert sheet.clashes == []
    assert told["output.sample_rate_hz"][0] == rate
    assert told["tokens.count"] == (count, "from the weights")
    assert told["front_end.version"][0] == version
    symbols = "v1" if version == "v1" else "v2"
    assert told["tokens.digest"][1] == f"said by GPT-SoVITS, symbols {symbols}"
    assert told["dimensions.gpt_hidden"] == (512, "from the weights")
    assert told["dimensions.gpt_layers"] == (24, "from the weights")


def test_halves_that_count_other_phones_do_not_belong_together() -> None:
    sheet = sheet_of([half(build.gpt_half(512)), half(build.sovits_half("v2", config_class=False))], None)

    assert [clash.name for clash in sheet.clashes] == ["phones"]
    assert "do not belong together" in sheet.clashes[0].message


def test_a_configuration_that_contradicts_the_weights_is_named() -> None:
    value = build.sovits_half("v2", config_class=False)
    value["config"] = {
        "data": {"sampling_rate": 44100, "hop_length": 512, "filter_length": 2048},
        "model": {"version": "v1", "hidden_channels": 256, "upsample_rates": [10, 8, 2, 2, 2], "n_heads": 2},
    }
    for step in range(5):
        value["weight"][f"dec.ups.{step}.weight_v"] = build.Tensor.flat(4)  # type: ignore[index]

    sheet = sheet_of([half(value)], None)

    assert {clash.name for clash in sheet.clashes} == {"sample_rate_hz", "hop", "hidden", "version"}
    assert said(sheet)["output.sample_rate_hz"][0] == 32_000
    assert said(sheet)["dimensions.hidden"] == (192, "from the weights")


def test_a_voice_of_ours_is_checked_against_its_shapes() -> None:
    config = {"n_fft": 512, "n_mels": 80, "phones": ["pau", "aa"], "acoustic": {"width": 16, "layers": 2}}
    shapes = {
        "acoustic.decoder.0.contract.weight": (16, 32), "acoustic.decoder.0.expand.weight": (32, 16),
        "base.mel_stats": (2, 40), "vocoder.head.weight": (771, 16), "acoustic.phone.weight": (3, 16),
    }  # fmt: skip

    sheet = sheet_of([shaped("vlm-voice", shapes, config=config)], {"embedding": [256], "mel_stats": [2, 40]})

    assert [clash.message for clash in sheet.clashes] == [
        "mel bands: from the weights it is 40, from the configuration 80",
        "acoustic layers: from the weights it is 1, from the configuration 2",
    ]
    assert said(sheet)["frames.n_fft"] == (512, "from the weights")
    assert said(sheet)["dimensions.acoustic_width"] == (16, "from the weights")


def test_a_voice_that_converts_takes_speech_and_not_text() -> None:
    shapes = {"weight.enc_p.emb_phone.weight": (192, 768), "weight.emb_g.weight": (109, 256)}

    sheet = sheet_of([shaped("rvc", shapes, version="v2", sample_rate=40_000)], None)

    told = said(sheet)
    assert told["input.kind"] == ("speech of somebody else", "said by rvc")
    assert told["output.sample_rate_hz"] == (40_000, "from the file")
    assert told["dimensions.content_features"] == (768, "from the weights")
    assert told["dimensions.speaker"] == (256, "from the weights")


def test_the_token_map_has_one_digest_whoever_lists_it() -> None:
    assert SYMBOLS[322][0] == "v1"
    assert token_digest(["a", "b"]) == f"blake3:{blake3(b'a' + bytes([10]) + b'b').hexdigest()}"
    spec = yaml.safe_load(make_spec([ours(phones=["a", "b"])], None))
    assert spec["tokens"]["digest"] == token_digest(["a", "b"])


@pytest.mark.parametrize(
    ("weights", "kept", "missing"),
    [
        ([("vlm-voice", {})], set(), {"speaker file"}),
        ([("vlm-voice", {})], {"embedding"}, set()),
        ([("torchscript", {})], {"frontend"}, set()),
        ([("safetensors", {})], {"frontend"}, {"code"}),
        ([], set(), set()),
        ([("rvc", {})], {"code"}, {"content encoder", "pitch tracker"}),
        ([("so-vits-svc", {})], {"code", "content encoder", "pitch tracker"}, {"settings"}),
        (
            [("so-vits-svc", {}), ("so-vits-svc-config", {})],
            {"code", "content encoder", "pitch tracker"},
            set(),
        ),
        (
            [
                ("gpt-sovits-gpt", {"half": "gpt"}),
                ("gpt-sovits-sovits", {"half": "sovits", "version": "v2Pro"}),
            ],
            {"reference", "chinese-hubert-base"},
            {"chinese-roberta-wwm-ext-large", "ERes2NetV2", "front end and dictionaries"},
        ),
        (
            [("gpt-sovits-sovits", {"half": "sovits", "version": "v3", "lora": True})],
            {"reference", "frontend", "chinese-hubert-base", "chinese-roberta-wwm-ext-large"},
            {"GPT half", "s2Gv3.pth", "BigVGAN"},
        ),
    ],
)
def test_the_parts_that_a_voice_lacks_are_named(weights, kept, missing) -> None:
    assert {need.part for need in needs_of(weights, kept) if not need.present} == missing


@pytest.mark.parametrize("told", ["many", -1, True, 10**9])
def test_a_rate_that_cannot_be_is_not_repeated(told: object) -> None:
    assert "sample_rate_hz" not in yaml.safe_load(make_spec([ours(rate=told)], None))["output"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"- a list",
        b"\xff\xfe",
        b"a: [",
        b"a: &x [1]\nb: *x\n",
        b"!!python/object/apply:os.system ['true']",
        b"a: " + b"[" * 5000,
        b"x" * (MAX_BYTES + 1),
    ],
    ids=["empty", "a list", "no text", "no YAML", "an alias", "an object", "too deep", "too large"],
)
def test_what_is_no_plain_table_is_refused(content: bytes) -> None:
    with pytest.raises(UnreadableFile, match="nothing was stored"):
        read_spec(content, "spec.yaml")


@given(st.binary(max_size=200))
def test_any_bytes_give_a_table_or_a_refusal(content: bytes) -> None:
    try:
        spec = read_spec(content, "spec.yaml")
    except UnreadableFile:
        return
    assert spec


def test_the_page_of_a_gpt_sovits_voice() -> None:
    sheet = sheet_of(
        [half(build.gpt_half(732)), half(build.sovits_half("v2Pro", config_class=False), head=b"05")],
        None,
        {"reference"},
    )
    sheet.clash("hop", "a|b")

    page = "\n".join(page_of("kol-lin", sheet, given=None)) + "\n"

    assert page == (Path(__file__).parent / "spec_page.md").read_text(encoding="utf-8")


def test_what_was_given_stands_on_the_page_as_it_is() -> None:
    page = page_of("kol-lin", sheet_of([], None), given="a: 1\n# <b>\n")

    assert page[-3:] == ["", "    a: 1", "    # <b>"]
