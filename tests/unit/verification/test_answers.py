from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.verification.answers import embedding_from, spoken_from, tensors_agree

from .voices import RATE, embedding, spoken

TEXT = "hello"


def answer() -> tuple[dict[str, Any], dict[str, Any]]:
    one = spoken(TEXT)
    arrays = {
        "0/duration_frames": one.raw_durations,
        "0/durations": one.durations,
        "0/mel": one.mel,
        "0/f0": one.f0,
        "0/samples": one.samples,
        "embedding": embedding(),
    }
    return {"rate": RATE, "utterances": [{"text": TEXT, "phones": list(one.phones)}]}, arrays


def read(values: Any, arrays: Any) -> Any:
    return spoken_from(values, arrays, texts=[TEXT], language="en")


def test_an_answer_becomes_the_sentence_that_was_spoken():
    (one,) = read(*answer())

    assert one.phones == spoken(TEXT).phones
    assert np.array_equal(one.samples, spoken(TEXT).samples)
    assert replace(one).defect() is None
    assert embedding_from(answer()[1]).shape == (256,)


@pytest.mark.parametrize("missing", [name for name in answer()[1] if name != "embedding"])
def test_an_answer_that_lacks_an_array_is_refused(missing):
    values, arrays = answer()
    del arrays[missing]

    with pytest.raises(ValueError, match=missing):
        read(values, arrays)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rate", 3),
        ("rate", "16000"),
        ("rate", None),
        ("utterances", []),
        ("utterances", [None]),
        ("utterances", [{"phones": []}]),
        ("utterances", [{"phones": [1]}]),
        ("utterances", [{"phones": ["x" * 99]}]),
    ],
)
def test_an_answer_of_the_wrong_kind_is_refused(key, value):
    values, arrays = answer()

    with pytest.raises(ValueError, match=r"phones|rate|answer"):
        read({**values, key: value}, arrays)


def test_an_array_of_another_rank_is_refused():
    values, arrays = answer()

    with pytest.raises(ValueError, match="mel"):
        read(values, {**arrays, "0/mel": arrays["0/f0"]})


STATIC = [((2, 3), "F32", "aa"), ((4,), "I64", "bb")]
LOADED = [
    {"name": "b", "dtype": "int64", "shape": [4], "sha256": "bb"},
    {"name": "a", "dtype": "float32", "shape": [2, 3], "sha256": "aa"},
]


def test_a_file_that_loads_as_it_was_read_agrees():
    assert tensors_agree(STATIC, LOADED, all_of_them=True) is None


@pytest.mark.parametrize(
    ("key", "value"), [("sha256", "cc"), ("shape", [3, 2]), ("dtype", "float16"), ("shape", None)]
)
def test_a_tensor_that_changed_on_loading_is_noticed(key, value):
    assert tensors_agree(STATIC, [LOADED[0], {**LOADED[1], key: value}], all_of_them=True)


def test_a_tensor_that_was_left_out_is_noticed_where_all_must_be_there():
    assert tensors_agree(STATIC, LOADED[:1], all_of_them=True)
    assert tensors_agree(STATIC, LOADED[:1], all_of_them=False) is None
    assert tensors_agree(STATIC, [], all_of_them=False)


@given(st.none() | st.text() | st.lists(st.none() | st.dictionaries(st.text(), st.integers())))
def test_no_answer_does_more_than_disagree(loaded):
    assert tensors_agree(STATIC, loaded, all_of_them=True)
