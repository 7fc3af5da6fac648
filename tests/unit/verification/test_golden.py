from __future__ import annotations

import contextlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.domain.errors import IntegrityError
from lifecycle.verification.golden import Golden

from .voices import MADE, embedding, golden, spoken


def test_a_golden_comes_back_as_it_was_written():
    before = golden()

    after = Golden.from_bytes(before.to_bytes())

    assert after.made == before.made
    assert np.array_equal(after.embedding, before.embedding)
    for then, now in zip(before.sentences, after.sentences, strict=True):
        assert (then.text, then.phones, then.rate) == (now.text, now.phones, now.rate)
        assert np.array_equal(then.mel, now.mel)
        assert np.array_equal(then.durations, now.durations)
        assert np.abs(then.samples - now.samples).max() <= 1 / 32767


def test_equal_goldens_are_equal_bytes():
    assert golden().to_bytes() == golden().to_bytes()


def test_any_reader_of_safetensors_opens_it(tmp_path):
    from safetensors.numpy import load

    arrays = load(golden().to_bytes())

    assert arrays["0.mel"].shape == golden().sentences[0].mel.shape
    assert arrays["0.samples"].dtype == np.int16


@pytest.mark.parametrize("name", ["mel", "f0", "samples"])
def test_a_voice_that_gives_no_numbers_has_no_golden(name):
    flawed = getattr(spoken(), name).copy()
    flawed.flat[3] = np.nan

    with pytest.raises(ValueError, match="not numbers"):
        Golden(MADE, embedding(), (replace(spoken(), **{name: flawed}),)).to_bytes()


def test_a_silent_voice_has_no_golden():
    silent = replace(spoken(), samples=np.zeros(8000, dtype=np.float32))

    with pytest.raises(ValueError, match="silence"):
        Golden(MADE, embedding(), (silent,)).to_bytes()


def test_a_golden_without_sentences_is_none():
    with pytest.raises(ValueError, match="no sentence"):
        Golden(MADE, embedding(), ()).to_bytes()


@given(st.binary(max_size=400))
def test_bytes_that_are_no_golden_are_refused_in_one_sentence(data):
    with pytest.raises(IntegrityError, match="golden"):
        Golden.from_bytes(data)


@given(at=st.integers(0, 700), value=st.integers(0, 255))
def test_a_damaged_header_never_does_more_than_refuse(at, value):
    data = bytearray(golden().to_bytes())
    data[at] = value

    read = None
    with contextlib.suppress(IntegrityError):
        read = Golden.from_bytes(bytes(data))
    assert read is None or 1 <= len(read.sentences) <= len(golden().sentences)


def test_the_summary_holds_nothing_that_identifies():
    told = repr(golden().summary())

    assert "seconds" in told
    assert "array" not in told
