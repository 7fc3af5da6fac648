"""The reader agrees with the safetensors project on good files and refuses every bad one."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from engine import safetensors
from engine.errors import BadVoice

arrays = st.sampled_from([np.float32, np.float16, np.int64, np.int32, np.uint8, np.bool_]).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, max_side=4, min_side=0))
)


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=6).filter(lambda name: name != "__metadata__"), arrays, max_size=4
    )
)
def test_what_was_written_is_read_back(tensors):
    again, metadata = safetensors.read(safetensors.to_bytes(tensors, {"format": "x"}))

    assert metadata == {"format": "x"}
    assert set(again) == set(tensors)
    for name, value in tensors.items():
        assert again[name].dtype == value.dtype
        np.testing.assert_array_equal(again[name], value)


def test_the_safetensors_project_reads_our_files_and_we_read_theirs(tmp_path):
    theirs = pytest.importorskip("safetensors.numpy")
    tensors = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([1, 2], np.int64)}

    safetensors.write(tmp_path / "ours", tensors, {"k": "v"})
    theirs.save_file(tensors, tmp_path / "theirs", {"k": "v"})

    np.testing.assert_array_equal(theirs.load_file(tmp_path / "ours")["a"], tensors["a"])
    again, metadata = safetensors.read(tmp_path / "theirs")
    np.testing.assert_array_equal(again["b"], tensors["b"])
    assert metadata == {"k": "v"}


def test_equal_tensors_give_equal_bytes_whatever_their_order():
    one = {"a": np.zeros(2, np.float32), "b": np.ones(1, np.float32)}
    other = dict(reversed(one.items()))

    assert safetensors.to_bytes(one, {"x": "1", "y": "2"}) == safetensors.to_bytes(
        other, {"y": "2", "x": "1"}
    )


def test_half_precision_is_stored_small_and_read_as_float32_on_request(tmp_path):
    safetensors.write(
        tmp_path / "f", {"w": np.full(1000, 0.5, np.float32), "n": np.array([7])}, {}, half=True
    )

    tensors, _ = safetensors.read(tmp_path / "f", as_float32=True)

    assert (tmp_path / "f").stat().st_size < 2300
    assert tensors["w"].dtype == np.float32
    assert tensors["n"].dtype == np.int64


def hostile(header: object, body: bytes = b"\0" * 8) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def entry(dtype: object = "F32", shape: object = (2,), offsets: object = (0, 8)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0\0",
        (2**63).to_bytes(8, "little") + b"{}",
        (10_000).to_bytes(8, "little") + b"{}",
        hostile(b"not json", b""),
        hostile(b"[1]", b""),
        hostile(b'{"a":1,"a":2}', b""),
        hostile({"a": 3}),
        hostile({"a": {"dtype": "F32"}}),
        hostile({"a": entry(dtype="F31")}),
        hostile({"a": entry(dtype=["F32"])}),
        hostile({"a": entry(shape=(3,))}),
        hostile({"a": entry(shape=(-2,))}),
        hostile({"a": entry(shape=(2.0,))}),
        hostile({"a": entry(shape="2")}),
        hostile({"a": entry(shape=(2**40, 2**40), offsets=(0, 8))}),
        hostile({"a": entry(offsets=(0, 16))}),
        hostile({"a": entry(offsets=(8, 0))}),
        hostile({"a": entry(offsets=(0, 8)), "b": entry(offsets=(0, 8))}),
        hostile({"a": entry(shape=(1,), offsets=(4, 8))}),
        hostile({"a": entry()}, b"\0" * 12),
        hostile({"__metadata__": {"a": 1}}, b""),
        hostile({"__metadata__": []}, b""),
        hostile(b"[" * 100_000, b""),
    ],
)
def test_a_file_whose_header_lies_is_refused_in_one_sentence(data):
    with pytest.raises(BadVoice) as caught:
        safetensors.read(data)

    assert "\n" not in str(caught.value)
    assert not str(caught.value).endswith(".")


@given(st.binary(max_size=60), st.integers(0, 80))
def test_random_bytes_are_refused_not_crashed_on(tail, size):
    try:
        tensors, _ = safetensors.read(size.to_bytes(8, "little") + tail)
    except BadVoice:
        return
    assert sum(array.nbytes for array in tensors.values()) <= len(tail)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "f"
    safetensors.write(path, {"a": np.zeros(1, np.float32)}, {})
    before = path.read_bytes()

    with pytest.raises(BadVoice):
        safetensors.write(path, {"a": np.zeros(1, np.complex64)}, {})

    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
