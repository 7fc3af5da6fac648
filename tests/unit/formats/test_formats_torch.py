"""What torch itself writes is read back without torch: names, shapes, dtypes and bytes."""

import io

import numpy as np
import pytest
import torch
from blake3 import blake3

from lifecycle.formats import inspect


def look(data: bytes, name: str = "x.pth", **options):
    return inspect(io.BytesIO(data), name=name, size=len(data), **options)


def saved(value, **options) -> bytes:
    out = io.BytesIO()
    torch.save(value, out, **options)
    return out.getvalue()


def digest(tensor: torch.Tensor) -> str:
    raw = (
        tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        if tensor.numel()
        else b""
    )
    return f"blake3:{blake3(raw).hexdigest()}"


TENSORS = {
    "f32": torch.arange(6, dtype=torch.float32).reshape(2, 3),
    "f16": torch.ones(5, dtype=torch.float16),
    "bf16": torch.ones(3, dtype=torch.bfloat16),
    "i64": torch.arange(4),
    "u8": torch.arange(9, dtype=torch.uint8),
    "bool": torch.tensor([True, False]),
    "c64": torch.ones(2, dtype=torch.complex64),
    "turned": torch.arange(12, dtype=torch.float32).reshape(3, 4).t(),
    "part": torch.arange(100, dtype=torch.float32)[10:50:3],
    "wide": torch.ones(1, dtype=torch.float32).expand(7, 5),
    "scalar": torch.tensor(3.5),
    "none": torch.zeros(0, 4),
    "parameter": torch.nn.Parameter(torch.ones(2, 2)),
}
DTYPES = {"f32": "F32", "f16": "F16", "bf16": "BF16", "i64": "I64", "u8": "U8", "bool": "BOOL", "c64": "C64"}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_every_tensor_is_named_with_shape_dtype_and_digest(zipped):
    found = look(saved({"weight": TENSORS}, _use_new_zipfile_serialization=zipped), digests=True)

    assert found.safe is True, found.error
    assert {info.name: info.shape for info in found.tensors} == {
        f"weight.{name}": tuple(tensor.shape) for name, tensor in TENSORS.items()
    }
    assert {info.name: info.digest for info in found.tensors} == {
        f"weight.{name}": digest(tensor) for name, tensor in TENSORS.items()
    }
    assert {
        info.name.removeprefix("weight."): info.dtype
        for info in found.tensors
        if info.name.removeprefix("weight.") in DTYPES
    } == DTYPES


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_every_pickle_protocol_is_read(protocol, zipped):
    data = saved({"a": torch.ones(3)}, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)

    found = look(data)

    assert found.safe is True, found.error
    assert found.facts["protocol"] == protocol
    assert found.kind == ("torch-checkpoint" if zipped else "torch-legacy")


def test_a_checkpoint_of_training_is_read():
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.GRU(4, 4), torch.nn.BatchNorm1d(4))
    optimiser = torch.optim.AdamW(model.parameters())
    model[0](torch.ones(1, 3)).sum().backward()
    optimiser.step()

    found = look(saved({"model": model.state_dict(), "optimizer": optimiser.state_dict(), "step": 7}))

    assert found.safe is True, found.findings
    assert found.findings == ()
    assert {"model.0.weight", "optimizer.state.0.exp_avg"} <= {info.name for info in found.tensors}


def test_a_pickled_module_of_torch_s_layers_is_told_apart_from_weights():
    found = look(saved(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU())))

    assert found.safe is True
    assert [finding.code for finding in found.findings] == ["whole_module"]


class Own(torch.nn.Module):
    pass


def test_a_pickled_module_of_a_foreign_class_is_unsafe():
    found = look(saved(Own()))

    assert found.safe is False
    assert found.danger.message == f"makes an object of {Own.__module__}.Own when loaded"


def test_a_file_written_without_checksums_is_read():
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        data = saved({"a": torch.ones(3)})
    finally:
        torch.serialization.set_crc32_options(before)

    found = look(data)

    assert found.safe is True, found.error
    assert [finding.code for finding in found.findings] == ["no_checksums"]


def test_a_flipped_byte_in_the_weights_is_noticed():
    data = bytearray(saved({"a": torch.arange(1000)}))
    data[len(data) // 2] ^= 1

    assert look(bytes(data)).safe is None


@pytest.mark.parametrize("head", [b"03", b"06"])
def test_an_altered_head_keeps_every_digest(head):
    data = saved({"weight": TENSORS})

    plain, changed = look(data, digests=True), look(head + data[2:], digests=True)

    assert changed.tensors == plain.tensors
    assert changed.facts["head"] == head.decode()
    assert "head" in [finding.code for finding in changed.findings]


def test_numpy_files_are_read():
    array, archive = io.BytesIO(), io.BytesIO()
    np.save(array, np.arange(256, dtype=np.float32))
    np.savez_compressed(archive, a=np.zeros((2, 3), dtype=np.float16), b=np.arange(3))

    one, two = look(array.getvalue(), digests=True), look(archive.getvalue())

    assert (one.kind, one.safe, one.tensors[0].shape, one.tensors[0].dtype) == ("numpy", True, (256,), "F32")
    assert one.tensors[0].digest == digest(torch.arange(256, dtype=torch.float32))
    assert {info.name: (info.shape, info.dtype) for info in two.tensors} == {
        "a": ((2, 3), "F16"),
        "b": ((3,), "I64"),
    }


def test_a_numpy_file_of_objects_is_unsafe():
    out = io.BytesIO()
    np.save(out, np.array([{}], dtype=object), allow_pickle=True)

    assert look(out.getvalue()).safe is False
