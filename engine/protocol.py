"""The messages between lifecycle and a worker: one JSON object per line, raw bytes after lines that announce them.

Standard library only; the one module of the engine that lifecycle imports.

    worker -> client   hello, then for each request any number of events and one result or error
    client -> worker   request, cancel; closing the pipe ends the worker

A line with `"bytes": n` is followed by exactly n raw bytes. Named arrays travel in those bytes one after the
other, each described in the line by name, dtype and shape; never as pickles. What breaks a bound breaks the
protocol, and whoever notices ends the conversation.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import IO, Any, ClassVar

PROTOCOL = 1
MAX_LINE_BYTES = 4 << 20
MAX_PAYLOAD_BYTES = 2 << 30
MAX_ARRAYS = 4096

#: What an array may consist of, with its item size: little-endian, nothing that runs.
ITEM_BYTES = {
    "<f8": 8, "<f4": 4, "<f2": 2, "<i8": 8, "<i4": 4, "<i2": 2, "|i1": 1, "|u1": 1, "|b1": 1,
}  # fmt: skip


class ProtocolError(Exception):
    """The other side broke the protocol."""


@dataclass(frozen=True)
class Array:
    """A named array as raw bytes.

    Args:
        name: Unique in its message.
        dtype: A key of `ITEM_BYTES`.
        shape: Its dimensions; empty for a scalar.
        data: Row-major, little-endian, `prod(shape) * ITEM_BYTES[dtype]` bytes.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: bytes = field(repr=False)

    def __post_init__(self) -> None:
        size = ITEM_BYTES.get(self.dtype)
        if size is None or any(length < 0 for length in self.shape):
            raise ProtocolError(f'array "{self.name}" has a dtype or shape that may not travel')
        if math.prod(self.shape) * size != len(self.data):
            raise ProtocolError(f'array "{self.name}" has {len(self.data)} bytes, not what its shape says')


@dataclass(frozen=True)
class Hello:
    """The worker's first message: who it is. The client checks `protocol` and `engine_hash` for equality."""

    type: ClassVar[str] = "hello"
    protocol: int
    engine_hash: str
    torch: str
    build: str
    python: str
    numpy: str
    device: str
    cpu_capability: str
    threads: int


@dataclass(frozen=True)
class Request:
    """Ask for one operation; `payload` is what the operation says it takes."""

    type: ClassVar[str] = "request"
    id: int
    op: str
    params: Mapping[str, Any] = field(default_factory=dict)
    payload: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Cancel:
    """Ask the worker to stop working on a request; it answers with error code "cancelled" or its result."""

    type: ClassVar[str] = "cancel"
    id: int


@dataclass(frozen=True)
class Event:
    """Progress of a running request."""

    type: ClassVar[str] = "event"
    id: int
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Result:
    """A request's answer: JSON values, named arrays, and bytes that belong to neither."""

    type: ClassVar[str] = "result"
    id: int
    values: Mapping[str, Any] = field(default_factory=dict)
    arrays: tuple[Array, ...] = ()
    payload: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Failure:
    """A request failed; the worker stays usable. `id` is 0 if the worker could not start.

    Args:
        code: Snake case, such as "mute", "out_of_memory", "cancelled", "exception".
        message: One sentence.
        step: Where it happened, if the operation has steps.
    """

    type: ClassVar[str] = "error"
    id: int
    code: str
    message: str
    step: str | None = None


Message = Hello | Request | Cancel | Event | Result | Failure
_TYPES: dict[str, Any] = {kind.type: kind for kind in (Hello, Request, Cancel, Event, Result, Failure)}


def encode(message: Message) -> bytes:
    """Return a message as its line and the bytes behind it.

    Raises:
        ProtocolError: It is larger than the protocol allows, or holds what JSON cannot.
    """
    arrays: tuple[Array, ...] = getattr(message, "arrays", ())
    tail: bytes = getattr(message, "payload", b"")
    line = {
        "type": message.type,
        **{f.name: getattr(message, f.name) for f in fields(message) if f.name not in {"arrays", "payload"}},
    }
    if arrays:
        line["arrays"] = [{"name": a.name, "dtype": a.dtype, "shape": list(a.shape)} for a in arrays]
    body = b"".join([*(array.data for array in arrays), tail])
    if body:
        line["bytes"] = len(body)
    try:
        text = json.dumps(line, separators=(",", ":"), allow_nan=False).encode() + b"\n"
    except (TypeError, ValueError) as error:
        raise ProtocolError(f"a message holds what JSON cannot: {error}") from error
    if len(text) > MAX_LINE_BYTES or len(body) > MAX_PAYLOAD_BYTES:
        raise ProtocolError("a message is larger than the protocol allows")
    return text + body


class Reader:
    """Reads messages from a binary stream, one at a time.

    Args:
        stream: Buffered.
        allow: Kinds that may come; any other breaks the protocol.
        max_payload: Bytes that may follow a line.
    """

    def __init__(
        self, stream: IO[bytes], *, allow: Iterable[str], max_payload: int = MAX_PAYLOAD_BYTES
    ) -> None:
        self._stream = stream
        self._allow = frozenset(allow)
        self._max_payload = max_payload

    def read(self) -> Message | None:
        """Return the next message, or None at the end of the stream.

        Raises:
            ProtocolError: A line that is too long, no JSON, of a wrong kind, or not followed by its bytes.
        """
        line = self._stream.readline(MAX_LINE_BYTES + 1)
        if not line:
            return None
        if len(line) > MAX_LINE_BYTES or not line.endswith(b"\n"):
            raise ProtocolError("a line that is too long or has no end")
        try:
            told = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ProtocolError("a line that is not JSON") from error
        if not isinstance(told, dict) or told.get("type") not in self._allow:
            raise ProtocolError("a message of an unexpected kind")
        return _message(told, self._body(told.pop("bytes", 0)))

    def _body(self, length: object) -> bytes:
        if type(length) is not int or not 0 <= length <= self._max_payload:
            raise ProtocolError("a number of bytes that may not be")
        body = self._stream.read(length) if length else b""
        if len(body) != length:
            raise ProtocolError("fewer bytes than announced")
        return body


def _message(told: dict[str, Any], body: bytes) -> Message:
    kind = _TYPES[told.pop("type")]
    named = told.pop("arrays", [])
    known = {f.name: f.type for f in fields(kind)}
    if kind is Result:
        told["arrays"], body = _arrays(named, body)
    if "payload" in known:
        told["payload"] = body
    elif body:
        raise ProtocolError(f'bytes behind a "{kind.type}"')
    if set(told) - set(known):
        raise ProtocolError(f'a "{kind.type}" with unknown fields')
    for name, wanted in (("id", int), ("values", dict), ("params", dict), ("op", str), ("code", str)):
        if name in told and type(told[name]) is not wanted:
            raise ProtocolError(f'"{name}" of a "{kind.type}" is of the wrong kind')
    try:
        message: Message = kind(**told)
    except TypeError as error:
        raise ProtocolError(f'a "{kind.type}" without all its fields') from error
    return message


def _arrays(named: Any, body: bytes) -> tuple[tuple[Array, ...], bytes]:
    if not isinstance(named, list) or len(named) > MAX_ARRAYS:
        raise ProtocolError("a list of arrays that may not be")
    arrays, at = [], 0
    for entry in named:
        if not isinstance(entry, dict) or set(entry) != {"name", "dtype", "shape"}:
            raise ProtocolError("an array that is not described by name, dtype and shape")
        name, dtype, shape = entry["name"], entry["dtype"], entry["shape"]
        if not isinstance(name, str) or not isinstance(dtype, str) or not _is_shape(shape):
            raise ProtocolError("an array whose description is of the wrong kind")
        size = math.prod(shape) * ITEM_BYTES.get(dtype, 0)
        arrays.append(Array(name, dtype, tuple(shape), body[at : at + size]))
        at += size
    if len({array.name for array in arrays}) != len(arrays):
        raise ProtocolError("two arrays of one name")
    return tuple(arrays), body[at:]


def _is_shape(shape: Any) -> bool:
    return (
        isinstance(shape, list)
        and len(shape) <= 8
        and all(type(length) is int and 0 <= length <= MAX_PAYLOAD_BYTES for length in shape)
    )


def as_values(thing: Any) -> dict[str, Any]:
    """Return a dataclass as JSON values."""
    return asdict(thing)
