"""safetensors files: what the header says is held against the file."""

import io
import json

import numpy as np
import pytest
from blake3 import blake3
from safetensors.numpy import save

from lifecycle.formats import inspect
from tests.formats import build


def look(data: bytes, name: str = "x.safetensors", **options):
    return inspect(io.BytesIO(data), name=name, size=len(data), **options)


def test_what_the_library_writes_is_read():
    tensors = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(4, dtype=np.float16)}

    found = look(save(tensors, metadata={"made": "by a test"}), digests=True)

    assert (found.kind, found.safe) == ("safetensors", True)
    assert {info.name: (info.shape, info.dtype, info.digest) for info in found.tensors} == {
        "a": ((2, 3), "F32", f"blake3:{blake3(tensors['a'].tobytes()).hexdigest()}"),
        "b": ((4,), "F16", f"blake3:{blake3(tensors['b'].tobytes()).hexdigest()}"),
    }
    assert found.facts["metadata"] == {"made": "by a test"}


@pytest.mark.parametrize(("form", "kind"), [("vlm-voice/1", "vlm-voice"), ("vlm-speaker/1", "vlm-speaker")])
def test_voices_of_ours_are_recognised(form, kind):
    config = {"rate": 24_000, "layers": [1, 2]}
    data = build.safetensors({"a": ("F16", [2], b"\0" * 4)}, {"format": form, "config": json.dumps(config)})

    found = look(data)

    assert (found.kind, found.safe, found.facts["config"]) == (kind, True, config)


def test_a_voice_of_ours_with_broken_settings_is_warned_of():
    data = build.safetensors({}, {"format": "vlm-voice/1", "config": "{"})

    assert [finding.code for finding in look(data).findings] == ["bad_config"]


@pytest.mark.parametrize("lie", build.lying_safetensors())
def test_a_header_that_lies_is_not_read(lie):
    found = look(build.lying_safetensors()[lie])

    assert found.safe is None
    assert found.kind == "safetensors"


def test_no_tensors_and_scalars_are_allowed():
    assert look(build.safetensors({})).safe is True
    assert look(build.safetensors({"a": ("F32", [], b"\0" * 4)})).tensors[0].shape == ()
