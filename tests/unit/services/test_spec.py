"""I/O specifications: made of what files say, and read as data."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.domain.errors import UnreadableFile
from lifecycle.formats import Inspection, TensorInfo
from lifecycle.services.spec import MAX_BYTES, Spec, make_spec, read_spec


def ours(**config: object) -> Inspection:
    return Inspection("vlm-voice", safe=True, facts={"config": config})


def test_a_voice_of_ours_tells_its_rate_phones_and_frames() -> None:
    speaker = Inspection("vlm-speaker", safe=True, tensors=(TensorInfo("embedding", (256,), "F32"),))

    spec = yaml.safe_load(
        make_spec([ours(rate=16000, hop=200, phones=["pau", "aa"], languages=["en"])], speaker)
    )

    assert spec["output"] == {"kind": "waveform", "channels": 1, "sample_rate_hz": 16000}
    assert spec["input"] == {"kind": "text", "languages": ["en"]}
    assert spec["token_map"] == ["pau", "aa"]
    assert spec["dimensions"] == {"rate": 16000, "hop": 200, "embedding": [256]}


def test_a_gpt_sovits_voice_needs_a_reference_clip() -> None:
    half = Inspection("gpt-sovits-sovits", safe=True, facts={"version": "v2", "sample_rate": 32000})

    spec = yaml.safe_load(make_spec([half], None))

    assert spec["input"] == {"kind": "text and a reference clip", "version": "v2"}
    assert spec["output"]["sample_rate_hz"] == 32000


def test_what_no_file_says_is_left_out() -> None:
    spec = yaml.safe_load(make_spec([Inspection("safetensors", safe=True)], None))

    assert set(spec) == {"format", "made_from", "input", "output"}
    assert "sample_rate_hz" not in spec["output"]


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


def test_a_page_has_a_heading_for_every_part() -> None:
    page = Spec(
        "kol-lin", "", {"format": "x", "output": {"rate": 1, "a|b": "c|d"}, "token_map": ["aa"]}
    ).markdown()

    assert page[0] == "# What goes into kol-lin, and what comes out"
    assert "## output" in page
    assert "## token map" in page
    assert "| a\\|b | c\\|d |" in page
