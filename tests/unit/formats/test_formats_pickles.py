"""Pickles are followed, not run: what is known builds inert values, and everything else is named."""

import argparse
import collections
import datetime
import io
import pathlib
import pickle

import numpy as np
import pytest

from lifecycle.formats.model import Unread
from lifecycle.formats.pickles import walk
from lifecycle.formats.source import memory
from lifecycle.formats.values import fields_of, plain, tensors_in
from tests.formats import build


def follow(data: bytes, **options):
    return walk(memory(data), 0, len(data), **options)


VALUE = {
    "text": "é",
    "numbers": [1, -2, 2.5, 255, 65_536, -(2**40)],
    "nothing": None,
    "yes": True,
    "deep": {"a": [{"b": ()}]},
}


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_are_read_as_python_reads_them(protocol):
    found = follow(pickle.dumps(VALUE, protocol=protocol))

    assert not found.unsafe
    assert plain(found.value) == {**VALUE, "deep": {"a": [{"b": []}]}}


@pytest.mark.parametrize("protocol", range(6))
def test_objects_that_only_hold_data_are_safe(protocol):
    value = [
        collections.OrderedDict(a=1),
        collections.defaultdict(list, a=[1]),
        {1, 2},
        frozenset({3}),
        bytearray(b"x"),
        complex(1, 2),
        pathlib.PurePosixPath("a/b"),
        argparse.Namespace(a=1),
        datetime.date(2026, 1, 1),
        2**200,
    ]

    found = follow(pickle.dumps(value, protocol=protocol))

    assert not found.unsafe, found.findings


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "bool"])
def test_arrays_give_shape_and_type(protocol, dtype):
    found = follow(pickle.dumps({"a": np.zeros((3, 4), dtype=dtype)}, protocol=protocol))

    ((name, array),) = tensors_in(found.value)
    assert (name, array.shape) == ("a", (3, 4))
    assert array.dtype == {"float32": "F32", "float16": "F16", "int64": "I64", "bool": "BOOL"}[dtype]
    assert not found.unsafe


def test_settings_of_gpt_sovits_are_read_and_not_made():
    found = follow(build.Writer().dump(build.Object("utils", "HParams", {"a": 1})))

    assert not found.unsafe
    assert found.classes == ("utils.HParams",)
    assert fields_of(found.value) == {"a": 1}


def test_every_name_is_recorded_also_behind_the_first_danger():
    writer = build.Writer()
    found = follow(writer.dump([build.EVIL, build.Call("subprocess", "Popen", ("x",))]))

    assert [finding.message for finding in found.findings] == [
        "calls posix.system when loaded",
        "calls subprocess.Popen when loaded",
    ]


def test_old_names_of_python_2_are_told_by_their_new_ones():
    found = follow(build.Writer().dump(build.Call("__builtin__", "eval", ("1",))))

    assert found.globals == ("builtins.eval",)


def test_a_known_builder_with_foreign_arguments_is_a_danger():
    data = build.Writer().dump(build.Call("torch._tensor", "_rebuild_from_type_v2", (1, 2, (), None)))

    assert follow(data).unsafe


def test_an_attribute_of_a_known_module_is_not_known():
    assert follow(build.Writer().dump(build.Call("torch", "load", ("x",)))).unsafe
    assert follow(b"\x80\x04\x8c\x05torch\x8c\x09os.system\x93.").unsafe


def test_a_class_with_a_state_of_names_is_not_changed():
    assert follow(b"\x80\x02ctorch\nTensor\n}X\x01\x00\x00\x00aK\x01sb.").unsafe


@pytest.mark.parametrize(
    "code",
    [
        b"R.",
        b"K\x01K\x02R.",
        b"h\x05.",
        b"K\x01",
        b"(K\x01",
        b"\xff.",
        b"t.",
        b"}K\x01a.",
        b"]K\x01K\x02s.",
        b"}]K\x01s.",
        b"}(K\x01u.",
        b"K\x01}b.",
        b"Q.",
        b"X\xff\xff\xff\xffa.",
        b"\x8b\xff\xff\xff\x7f.",
        b"I1x\n.",
        b"S'a\n.",
        b"K\x01K\x02.",
        b"\x97.",
        b"Px\n.",
    ],
)
def test_what_no_writer_writes_is_not_read(code):
    with pytest.raises(Unread):
        follow(b"\x80\x02" + code, external=False)


@pytest.mark.parametrize("name", ["__setstate__", "__class__", "append"])
def test_an_attribute_that_python_would_call_is_refused(name):
    with pytest.raises(Unread):
        follow(build.Writer().dump(build.Object("utils", "HParams", {name: 1})))


def test_a_state_is_given_once():
    made = build.Writer().dump(build.Object("utils", "HParams", {"a": 1}))[:-1]

    with pytest.raises(Unread):
        follow(made + b"}b.")


@pytest.mark.parametrize("key", [(1, "a"), ("a", None), 2**50, 1.5, None, b"x"])
def test_plain_keys_are_read(key):
    assert follow(pickle.dumps({key: 1}, protocol=4)).value == {key: 1}


@pytest.mark.parametrize("key", [2**70, (2**40, 1), (1, 2, 3, 4), ((1,),), (1.5,), "x" * 5_000])
def test_keys_that_could_be_made_to_collide_are_refused(key):
    with pytest.raises(Unread):
        follow(pickle.dumps({key: 1}, protocol=4))


def test_a_memo_is_used_as_python_uses_it():
    shared = ["x"]
    found = follow(pickle.dumps([shared, shared], protocol=4))

    assert found.value[0] is found.value[1]


def test_long_strings_are_measured_and_not_kept():
    found = follow(pickle.dumps("x" * 3_000_000, protocol=4))

    assert found.value.size == 3_000_000


def test_a_walk_ends_at_its_stop():
    data = pickle.dumps([1], protocol=2)

    assert walk(memory(data + b"more"), 0, len(data) + 4).end == len(data)


def test_the_stream_is_read_in_windows():
    value = [f"name-{n}" for n in range(30_000)]
    data = pickle.dumps(value, protocol=2)

    class Counting(io.BytesIO):
        most = 0

        def read(self, size=-1):
            Counting.most = max(Counting.most, size)
            return super().read(size)

    from lifecycle.formats.source import Source

    found = walk(Source(Counting(data), len(data)), 0, len(data))

    assert found.value == value
    assert Counting.most <= 1 << 16
