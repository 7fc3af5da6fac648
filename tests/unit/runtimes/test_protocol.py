"""The messages between lifecycle and worker: what is sent arrives, what breaks a bound is refused."""

from __future__ import annotations

import io
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import protocol
from engine.protocol import (
    Array,
    Cancel,
    Event,
    Failure,
    Hello,
    ProtocolError,
    Reader,
    Request,
    Result,
    encode,
)

ALL = ("hello", "request", "cancel", "event", "result", "error")
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
VALUES = st.dictionaries(st.text(), JSON, max_size=5)


@st.composite
def arrays(draw):
    dtype = draw(st.sampled_from(sorted(protocol.ITEM_BYTES)))
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=3)))
    size = math.prod(shape) * protocol.ITEM_BYTES[dtype]
    return Array(draw(st.text(max_size=8)), dtype, shape, draw(st.binary(min_size=size, max_size=size)))


MESSAGES = st.one_of(
    st.builds(Request, st.integers(0), st.text(), VALUES, st.binary(max_size=64)),
    st.builds(Cancel, st.integers(0)),
    st.builds(Event, st.integers(0), VALUES),
    st.builds(Failure, st.integers(0), st.text(), st.text(), st.none() | st.text()),
    st.builds(
        Result,
        st.integers(0),
        VALUES,
        st.lists(arrays(), max_size=4, unique_by=lambda array: array.name).map(tuple),
        st.binary(max_size=64),
    ),
    st.just(Hello(1, "blake3:00", "2.13.0", "cpu", "3.11.7", "2.4.6", "cpu", "AVX512", 2)),
)


@given(st.lists(MESSAGES, max_size=5))
def test_messages_arrive_as_they_were_sent_one_after_the_other(messages):
    stream = io.BytesIO(b"".join(encode(message) for message in messages))
    reader = Reader(stream, allow=ALL)

    received = []
    while (message := reader.read()) is not None:
        received.append(message)

    assert received == messages


@given(st.binary(max_size=300))
def test_noise_ends_the_conversation_and_nothing_else(noise):
    reader = Reader(io.BytesIO(noise), allow=ALL)
    ended = False
    try:
        while reader.read() is not None:
            pass
        ended = True
    except ProtocolError as error:
        ended = bool(str(error))
    assert ended


def read(line: object, body: bytes = b"", **options: object) -> object:
    text = line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n"
    return Reader(io.BytesIO(text + body), **{"allow": ALL, **options}).read()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "line",
    [
        {"type": "result", "id": 1, "values": {}, "bytes": -1},
        {"type": "result", "id": 1, "values": {}, "bytes": True},
        {"type": "result", "id": 1, "values": {}, "bytes": 10**12},
        {"type": "result", "id": 1, "values": {}, "bytes": 3},
        {"type": "result", "id": "1", "values": {}},
        {"type": "result", "id": 1, "values": []},
        {"type": "result", "id": 1, "values": {}, "more": 1},
        {"type": "result"},
        {"type": "event", "id": 1},
        {"type": "unknown"},
        {"type": "result", "id": 1, "values": {}, "arrays": [{"name": "a", "dtype": "|O", "shape": [1]}]},
        {"type": "result", "id": 1, "values": {}, "arrays": [{"name": "a", "dtype": "<f4", "shape": [-1]}]},
        {"type": "result", "id": 1, "values": {}, "arrays": [{"name": "a", "dtype": "<f4", "shape": [1]}]},
        {
            "type": "result",
            "id": 1,
            "values": {},
            "arrays": [{"name": "a", "dtype": "<f4", "shape": [10**9, 10**9]}],
        },
        {
            "type": "result",
            "id": 1,
            "values": {},
            "arrays": [{"name": "a", "dtype": "<f4", "shape": [0]}] * 2,
        },
        [],
        b"not json\n",
        b"[" * 100_000 + b"\n",
        b'{"type": "cancel", "id": 1}',
    ],
)
def test_a_message_that_breaks_a_bound_is_refused(line):
    with pytest.raises(ProtocolError):
        read(line)


def test_bytes_behind_a_message_that_takes_none_are_refused():
    with pytest.raises(ProtocolError):
        read({"type": "event", "id": 1, "values": {}, "bytes": 1}, b"x")


def test_a_line_is_bounded():
    with pytest.raises(ProtocolError):
        read(b'"' + b"x" * (protocol.MAX_LINE_BYTES + 10) + b'"\n')
    with pytest.raises(ProtocolError):
        encode(Event(1, {"text": "x" * protocol.MAX_LINE_BYTES}))


def test_the_reader_takes_only_kinds_that_may_come_and_bytes_up_to_its_bound():
    with pytest.raises(ProtocolError):
        read({"type": "request", "id": 1, "op": "ping"}, allow=("result",))
    with pytest.raises(ProtocolError):
        read({"type": "result", "id": 1, "values": {}, "bytes": 5}, b"12345", max_payload=4)


def test_what_json_cannot_hold_is_refused_by_the_sender():
    for value in (float("nan"), object()):
        with pytest.raises(ProtocolError):
            encode(Event(1, {"x": value}))
