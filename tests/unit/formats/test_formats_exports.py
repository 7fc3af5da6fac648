"""Exports: TorchScript, exported programs and ONNX are described by their operators, without running them."""

import io
import json
import zipfile

import pytest
import torch
from blake3 import blake3

from lifecycle.formats import inspect
from tests.formats import build

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Voice(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 2)
        self.sizes = [1, 2]
        self.register_buffer("window", torch.ones(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.layer(x)).sum(dim=1) + self.window[0]


class Sized(torch.nn.Module):
    def forward(self, x):
        return x.reshape(x.shape[0] * x.shape[1]).relu()


def look(data: bytes, name: str = "x.pt", **options):
    return inspect(io.BytesIO(data), name=name, size=len(data), **options)


@pytest.fixture(scope="module")
def script() -> bytes:
    out = io.BytesIO()
    torch.jit.save(torch.jit.script(Voice()), out, _extra_files={"about.txt": "a voice"})
    return out.getvalue()


@pytest.fixture(scope="module")
def program() -> bytes:
    out = io.BytesIO()
    torch.export.save(torch.export.export(Voice(), (torch.zeros(1, 3),)), out)
    return out.getvalue()


@pytest.fixture(scope="module")
def sized_program() -> bytes:
    batch = torch.export.Dim("batch", min=2, max=64)
    out = io.BytesIO()
    torch.export.save(torch.export.export(Sized(), (torch.zeros(4, 3),), dynamic_shapes=({0: batch},)), out)
    return out.getvalue()


def rewritten(data: bytes, change) -> bytes:
    """Write a torch archive anew with changed members, as an attacker would."""
    with zipfile.ZipFile(io.BytesIO(data)) as old:
        members = [(name, old.read(name)) for name in old.namelist()]
    return build.archive(change(members))


# TorchScript


def test_a_script_is_described_by_its_operators_and_tensors(script):
    found = look(script)

    assert (found.kind, found.safe) == ("torchscript", True), found.error
    assert {"aten::linear", "aten::relu", "aten::sum"} <= set(found.facts["ops"])
    assert {info.name: info.shape for info in found.tensors} == {
        "window": (2,),
        "layer.weight": (2, 3),
        "layer.bias": (2,),
    }


@pytest.mark.parametrize("how", ["trace", "freeze"])
def test_traced_and_frozen_scripts_are_read(how):
    model = Voice().eval()
    made = (
        torch.jit.trace(model, torch.zeros(1, 3))
        if how == "trace"
        else torch.jit.freeze(torch.jit.script(model))
    )
    out = io.BytesIO()
    torch.jit.save(made, out)

    found = look(out.getvalue(), digests=True)

    assert found.safe is True, found.error
    assert (2, 3) in {info.shape for info in found.tensors}


def test_a_script_with_a_payload_in_its_pickle_is_unsafe(script):
    evil = build.Writer().dump(build.EVIL)
    found = look(
        rewritten(
            script, lambda members: [(n, evil if n.endswith("constants.pkl") else raw) for n, raw in members]
        )
    )

    assert found.safe is False
    assert found.danger.message == "calls posix.system when loaded"


def test_a_script_that_touches_files_is_unsafe(script):
    def change(members):
        return [
            (name, raw.replace(b"torch.relu(", b"torch.from_file(") if name.endswith(".py") else raw)
            for name, raw in members
        ]

    found = look(rewritten(script, change))

    assert found.safe is False
    assert "aten::from_file" in found.danger.message


@pytest.mark.parametrize("call", ["torch . from_file (", "ops.aten.from_file(", "torch.save("])
def test_a_file_operator_is_found_however_it_is_written(script, call):
    found = look(
        rewritten(
            script,
            lambda m: [
                (n, r.replace(b"torch.relu(", call.encode()) if n.endswith(".py") else r) for n, r in m
            ],
        )
    )

    assert found.safe is False


def test_operators_of_others_are_said(script):
    def change(members):
        return [
            (name, raw.replace(b"torch.relu(", b"ops.mine.relu(") if name.endswith(".py") else raw)
            for name, raw in members
        ]

    assert "foreign_operators" in [finding.code for finding in look(rewritten(script, change)).findings]


# exported programs


def test_a_program_is_described_by_its_operators_and_tensors(program):
    found = look(program, digests=True)

    assert (found.kind, found.safe) == ("pt2", True), found.error
    assert {"aten::linear", "aten::relu"} <= set(found.facts["ops"])
    assert found.facts["torch_writer"] == torch.__version__
    window = next(info for info in found.tensors if info.name == "window")
    assert window.digest == f"blake3:{blake3(torch.ones(2).numpy().tobytes()).hexdigest()}"
    assert {info.name for info in found.tensors} == {"window", "layer.weight", "layer.bias"}


def test_symbolic_sizes_are_read_as_sizes(sized_program):
    assert look(sized_program).safe is True


@pytest.mark.parametrize(
    "size",
    [
        "__import__('os').system('true')",
        "Symbol('x').__class__",
        "Symbol('__import__(0)')",
        "[x for x in (1,)]",
        "lambda: 1",
        "eval('1')",
        "1 if True else 2",
        "(" * 500,
    ],
)
def test_a_size_that_is_code_is_unsafe(sized_program, size):
    def change(members):
        out = []
        for name, raw in members:
            if name.endswith("models/model.json"):
                text = raw.decode().replace(
                    "\"Symbol('s77', positive=True, integer=True)\"", json.dumps(size)
                )
                assert text != raw.decode()
                raw = text.encode()
            out.append((name, raw))
        return out

    found = look(rewritten(sized_program, change))

    assert found.safe is False
    assert "Python code" in found.danger.message


@pytest.mark.parametrize(
    "target", ["torch.os.system", "torch.load", "_operator.methodcaller", "math.__loader__"]
)
def test_a_node_that_calls_something_else_is_unsafe(program, target):
    def change(members):
        return [
            (
                n,
                raw.replace(b"torch.ops.aten.relu.default", target.encode())
                if n.endswith("model.json")
                else raw,
            )
            for n, raw in members
        ]

    found = look(rewritten(program, change))

    assert found.safe is False
    assert target in found.danger.message


def test_guards_may_only_compute(program):
    def with_guard(guard):
        def change(members):
            return [
                (n, raw.replace(b'"guards_code": []', b'"guards_code": ' + json.dumps([guard]).encode()))
                for n, raw in members
            ]

        return look(rewritten(program, change)).safe

    assert with_guard("L['x'].size()[0] == 3 and 2 <= L['x'].size()[1]") is True
    assert with_guard("open('/etc/passwd')") is False


def test_code_of_the_machine_inside_a_program_is_unsafe(program):
    folder = look(program) and zipfile.ZipFile(io.BytesIO(program)).namelist()[0].partition("/")[0]
    found = look(rewritten(program, lambda m: [*m, (f"{folder}/data/aotinductor/model/x.so", b"\x7fELF")]))

    assert found.safe is False


def test_a_payload_in_the_sample_inputs_is_unsafe(program):
    evil = build.evil_checkpoint()

    found = look(
        rewritten(
            program, lambda m: [(n, evil if n.endswith("sample_inputs/model.pt") else raw) for n, raw in m]
        )
    )

    assert found.danger.message == "calls posix.system when loaded"


def test_a_payload_is_found_in_a_compressed_member(program):
    with zipfile.ZipFile(io.BytesIO(program)) as old:
        members = [(name, old.read(name)) for name in old.namelist()]
    sample = next(name for name, _ in members if name.endswith("sample_inputs/model.pt"))
    members = [(name, build.evil_checkpoint() if name == sample else raw) for name, raw in members]

    assert look(build.archive(members, compress=[sample])).safe is False


def test_a_payload_is_found_in_a_weight_that_is_pickled(program):
    folder = zipfile.ZipFile(io.BytesIO(program)).namelist()[0].partition("/")[0]

    found = look(
        rewritten(program, lambda m: [*m, (f"{folder}/data/weights/weight_9", b"cposix\nsystem\n(S'x'\ntR.")])
    )

    assert found.safe is False


def test_the_layout_before_torch_2_8_is_read():
    graph = {
        "graph_module": {"graph": {"nodes": [{"target": "torch.ops.aten.relu.default", "inputs": []}]}},
        "opset_version": {"aten": 10},
        "schema_version": {"major": 8, "minor": 2},
    }
    weights = build.torch_zip({"layer.weight": build.Tensor((2, 3))})
    members = [
        ("serialized_exported_program.json", json.dumps(graph).encode()),
        ("serialized_state_dict.pt", weights),
        ("version", b"8.2"),
    ]

    found = look(build.archive(members))

    assert (found.kind, found.safe, found.facts["container_version"]) == ("pt2", True, "8.2"), found.error
    assert [info.name for info in found.tensors] == ["layer.weight"]


# ONNX


def test_an_onnx_model_is_described():
    found = look(build.onnx(), "x.onnx", digests=True)

    assert (found.kind, found.safe) == ("onnx", True), found.error
    assert (found.facts["opset"], found.facts["ir_version"], found.facts["torch_writer"]) == (17, 8, "2.13.0")
    assert found.facts["ops"] == ["Add", "Relu"]
    assert [(info.name, info.shape, info.dtype) for info in found.tensors] == [("w", (2,), "F32")]


def test_an_onnx_model_is_known_by_content():
    assert look(build.onnx(), "model.bin").kind == "onnx"


def test_weights_beside_an_onnx_model_are_named():
    found = look(build.onnx(external="voice.onnx.data"), "x.onnx")

    assert found.safe is True
    assert found.facts["external_files"] == ["voice.onnx.data"]


@pytest.mark.parametrize("place", ["../x", "/x", "a/b", "a\\b", "", "..", "C:x", "x\0y", "x\ny"])
def test_weights_elsewhere_are_a_danger(place):
    assert look(build.onnx(external=place), "x.onnx").safe is False


def test_operators_that_are_not_onnx_s_own_are_said():
    found = look(build.onnx(domain="my.ops"), "x.onnx")

    assert "foreign_operators" in [finding.code for finding in found.findings]
    assert "my.ops::Relu" in found.facts["ops"]


def test_every_cut_of_an_onnx_model_is_noticed():
    data = build.onnx()

    for end in range(1, len(data)):
        assert look(data[:end], "x.onnx").safe is None


def test_a_model_with_two_graphs_is_not_read():
    assert look(build.onnx() + build.field(7, b""), "x.onnx").safe is None


def test_graphs_nested_too_deeply_are_not_read():
    graph = b""
    for _ in range(100):
        graph = build.field(1, build.field(4, "If") + build.field(5, build.field(6, graph)))

    data = build.field(1, 8) + build.field(7, graph) + build.field(8, build.field(2, 17))

    assert look(data, "x.onnx").safe is None
