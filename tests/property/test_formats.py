"""Whatever the bytes are, an inspection ends, says what it knows, and never calls clean what Python would run."""

import contextlib
import io
import json
import pickle
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lifecycle.formats import Inspection, inspect, known
from tests.formats import build

NAMES = st.sampled_from(
    ["x.pth", "x.onnx", "requirements.txt", "pylock.toml", "uv.lock", "env.yml", "x.wav", "x"]
)

GOOD = {
    "zip": build.torch_zip({"weight": {"a": build.Tensor((2, 3)), "b": build.Tensor.flat(4, 4)}, "info": "e1"}),
    "voice": build.torch_zip(build.lora_half(), head=b"03"),
    "legacy": build.torch_legacy({"a": build.Tensor((2, 3))}),
    "pickle-0": pickle.dumps({"a": [1, 2.5, None, "x", {"b": (1,)}]}, protocol=0),
    "pickle-5": pickle.dumps({"a": [1, 2.5, None, "x", {"b": (1,)}], "c": {1}}, protocol=5),
    "safetensors": build.safetensors({"a": ("F16", [2], b"\0" * 4)}, {"format": "vlm-voice/1", "config": "{}"}),
    "onnx": build.onnx(),
    "wav": build.wav(0.01),
    "lock": b"torch==2.6.0\nnumpy>=1\n",
    "npz": build.archive([("a.npy", b"\x93NUMPY\x01\x00\x46\x00" + b"{'descr': '<f4', 'fortran_order': False, "
                                    b"'shape': (1,)}".ljust(69) + b"\n" + b"\0" * 4)]),
}  # fmt: skip


def look(data: bytes, name: str = "x.pth") -> Inspection:
    return inspect(io.BytesIO(data), name=name, size=len(data), digests=True)


def check(found: Inspection) -> None:
    assert (found.safe is None) == (found.error is not None)
    assert found.safe is not True or found.danger is None
    assert found.safe is not False or found.danger is not None
    assert found.kind
    assert found.summary
    json.dumps(dict(found.facts), allow_nan=False).encode()
    for finding in found.findings:
        assert finding.message.isprintable()
        finding.message.encode()


@pytest.mark.parametrize("kind", GOOD)
def test_the_corpus_is_read(kind):
    found = look(GOOD[kind], "requirements.txt" if kind == "lock" else "x")

    assert found.safe is True, found.error
    check(found)


@given(st.binary(max_size=2_000), NAMES)
def test_any_bytes_give_an_answer(data, name):
    check(look(data, name))


HEADS = st.sampled_from([b"\x80\x02", b"\x80\x04\x95", b"PK\x03\x04", b"05\x03\x04", b"RIFF", b"fLaC", b"OggS",
                         b"ID3\x04", b"\xff\xfb\x90\x00", b"\x93NUMPY\x01\x00", b"\x08\x08\x12"])  # fmt: skip


@given(HEADS, st.binary(max_size=1_000), NAMES)
def test_any_bytes_behind_a_known_head_give_an_answer(head, data, name):
    check(look(head + data, name))


@st.composite
def mutated(draw, sources):
    data = bytearray(draw(st.sampled_from(sources)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        how = draw(st.sampled_from(["set", "cut", "insert", "repeat", "drop"]))
        if how == "set" and data:
            data[at] = draw(st.integers(0, 255))
        elif how == "cut":
            del data[at:]
        elif how == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=12))
        elif how == "repeat":
            data[at:at] = data[at : at + draw(st.integers(1, 40))]
        elif how == "drop":
            del data[at : at + draw(st.integers(1, 40))]
    return bytes(data)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(mutated(sorted(GOOD.values())), NAMES)
def test_a_damaged_file_gives_an_answer(data, name):
    check(look(data, name))


class Stub:
    """Stands for whatever a pickle would import; takes every call and every state."""

    def __new__(cls, *_args, **_keywords):
        return super().__new__(cls)

    def __init__(self, *_args, **_keywords):
        self.kept: list[object] = []

    def __setstate__(self, state):
        pass

    def append(self, item):
        pass

    def extend(self, items):
        pass

    def add(self, item):
        pass

    def __setitem__(self, key, value):
        pass


def imported_by_python(data: bytes, unpickler: type) -> set[str]:
    """Return the names that Python's own reader asks for before it ends or fails; nothing is imported."""
    asked: set[str] = set()

    class Recorder(unpickler):  # type: ignore[misc]
        def find_class(self, module, name):
            asked.add(f"{module}.{name}")
            return Stub

        def persistent_load(self, identity):
            return identity

    with contextlib.suppress(Exception):
        Recorder(io.BytesIO(data)).load()
    return asked


TOKENS = st.sampled_from(
    [b"(", b"0", b"1", b"2", b"N", b"R", b"a", b"b", b"d", b"}", b"e", b"l", b"]", b"o", b"s", b"t", b")", b"u",
     b"\x81", b"\x85", b"\x86", b"\x87", b"\x88", b"\x89", b"\x8f", b"\x90", b"\x91", b"\x92", b"\x93", b"\x94",
     b"K\x01", b"X\x01\x00\x00\x00a", b"\x8c\x05posix", b"\x8c\x06system", b"\x8c\x05torch", b"\x8c\x04load",
     b"cposix\nsystem\n", b"ccollections\nOrderedDict\n", b"iposix\nsystem\n", b"icollections\nOrderedDict\n",
     b"cutils\nHParams\n", b"ctorch\nSize\n", b"q\x00", b"q\x01", b"h\x00", b"h\x01", b"p2\n", b"g2\n",
     b"S'posix'\n", b"Vsystem\n", b"\x82\x01", b"Q", b"Pid\n", b"c__builtin__\neval\n", b"I01\n", b"."]
)  # fmt: skip


@settings(max_examples=1_500, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(TOKENS, max_size=24), st.sampled_from([b"", b"\x80\x02", b"\x80\x04"]))
def test_what_is_called_safe_imports_only_known_names_in_python(tokens, start):
    data = start + b"".join(tokens) + b"."
    found = look(data)

    check(found)
    if found.safe:
        for unpickler in (pickle.Unpickler, pickle._Unpickler):
            asked = imported_by_python(data, unpickler)
            foreign = {n for n in asked if not known.is_known(n.replace("__builtin__.", "builtins."))}
            assert not foreign


@settings(max_examples=300)
@given(mutated([build.evil_pickle(protocol) for protocol in range(6)]))
def test_a_damaged_payload_is_called_safe_only_where_python_does_not_reach_it(data):
    if look(data).safe:
        assert not {name for name in imported_by_python(data, pickle._Unpickler) if not known.is_known(name)}


@given(st.text(max_size=600), NAMES)
def test_any_text_is_a_lockfile_or_not(text, name):
    check(look(text.encode("utf-8", "replace"), name))


def test_hostile_files_are_judged_within_little_memory():
    code = (
        "import io, resource\n"
        "from lifecycle.formats import inspect\n"
        "from tests.formats import build\n"
        "files = build.unsafe_files() | build.unread_files()\n"
        "held = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (held + (400 << 20),) * 2)\n"
        "for name, data in files.items():\n"
        "    found = inspect(io.BytesIO(data), name=name, size=len(data))\n"
        "    assert found.safe is not True and 'cannot be followed' not in (found.error or ''), name\n"
    )
    if not sys.platform.startswith("linux"):
        pytest.skip("address space is limited and read as Linux does it")

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
