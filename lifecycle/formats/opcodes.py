"""The byte code of pickle, decoded and never run.

Source: CPython `pickletools` describes each opcode and its argument; protocols 0 to 5.
"""

from __future__ import annotations

import codecs
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from lifecycle.formats.limits import KIB, MAX_LITERAL, MAX_LITERALS_TOTAL, MAX_OPCODES
from lifecycle.formats.model import Unread
from lifecycle.formats.source import Source

_WINDOW: Final = 64 * KIB
_INTEGER = re.compile(rb"[+-]?[0-9]{1,600}")
_FLOAT = re.compile(rb"[+-]?(?:[0-9]{1,400}\.?[0-9]{0,400}(?:[eE][+-]?[0-9]{1,5})?|inf|nan)")


@dataclass(frozen=True, slots=True, eq=False)
class Skipped:
    """A literal too long to keep: array data, in practice."""

    kind: str
    size: int


class OpStream:
    """A cursor over the bytes of a pickle.

    Args:
        source: Where the bytes are.
        start: First byte of the pickle.
        stop: First byte that no longer belongs to it (or to what follows it).
    """

    def __init__(self, source: Source, start: int, stop: int) -> None:
        self._source = source
        self._stop = stop
        self._base = start
        self._window = b""
        self._kept = 0
        self.position = start

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes; `count` is at most the longest literal."""
        begin = self.position - self._base
        if begin < 0 or begin + count > len(self._window):
            room = min(max(count, _WINDOW), self._stop - self.position)
            if count > room:
                raise Unread("ends in the middle of a pickle")
            self._window = self._source.at(self.position, room)
            self._base, begin = self.position, 0
        self.position += count
        return self._window[begin : begin + count]

    def line(self) -> bytes:
        """Return the bytes up to the next newline, without it."""
        parts: list[bytes] = []
        while True:
            begin = self.position - self._base
            if not 0 <= begin < len(self._window):
                self.take(1)
                self.position -= 1
                begin = self.position - self._base
            end = self._window.find(b"\n", begin)
            part = self._window[begin : end if end >= 0 else len(self._window)]
            parts.append(part)
            self.position += len(part) + (end >= 0)
            self._keep(len(part))
            if end >= 0:
                return b"".join(parts)

    def literal(self, count: int, kind: str) -> bytes | Skipped:
        """Return a literal of `count` bytes, or measure and skip it where it is long."""
        if count < 0 or count > self._stop - self.position:
            raise Unread("ends in the middle of a pickle")
        if count > MAX_LITERAL:
            self.position += count
            return Skipped(kind, count)
        self._keep(count)
        return self.take(count)

    def _keep(self, count: int) -> None:
        self._kept += count
        if self._kept > MAX_LITERALS_TOTAL:
            raise Unread("holds more text in its pickle than can be looked at")


def _bytes(width: str) -> Callable[[OpStream], object]:
    size = struct.calcsize("<" + width)
    return lambda stream: stream.literal(struct.unpack("<" + width, stream.take(size))[0], "bytes")


def _text(width: str) -> Callable[[OpStream], object]:
    size = struct.calcsize("<" + width)

    def read(stream: OpStream) -> object:
        raw = stream.literal(struct.unpack("<" + width, stream.take(size))[0], "str")
        return raw if isinstance(raw, Skipped) else _utf8(raw)

    return read


def _number(form: str) -> Callable[[OpStream], object]:
    size = struct.calcsize(form)
    return lambda stream: struct.unpack(form, stream.take(size))[0]


def _long(width: str) -> Callable[[OpStream], object]:
    size = struct.calcsize("<" + width)

    def read(stream: OpStream) -> object:
        count = struct.unpack("<" + width, stream.take(size))[0]
        if not 0 <= count <= 256:
            raise Unread("holds an integer of absurd length in its pickle")
        return int.from_bytes(stream.take(count), "little", signed=True)

    return read


def _utf8(raw: bytes) -> str:
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise Unread("holds text in its pickle that is not UTF-8") from None


def _int_line(stream: OpStream) -> object:
    raw = stream.line()
    if raw in (b"00", b"01"):
        return raw == b"01"
    return _decimal(raw)


def _decimal(raw: bytes) -> int:
    if _INTEGER.fullmatch(raw) is None:
        raise Unread("holds a number in its pickle that is none")
    return int(raw)


def _float_line(stream: OpStream) -> object:
    raw = stream.line()
    if _FLOAT.fullmatch(raw) is None:
        raise Unread("holds a number in its pickle that is none")
    return float(raw)


def _string_line(stream: OpStream) -> object:
    raw = stream.line().strip()
    if len(raw) < 2 or raw[:1] != raw[-1:] or raw[:1] not in (b'"', b"'"):
        raise Unread("holds a string in its pickle without quotes")
    try:
        body, _ = codecs.escape_decode(raw[1:-1])
    except ValueError:
        raise Unread("holds a string in its pickle that cannot be decoded") from None
    return bytes(body).decode("utf-8", "replace")


def _unicode_line(stream: OpStream) -> object:
    try:
        return stream.line().decode("raw-unicode-escape")
    except UnicodeDecodeError:
        raise Unread("holds a string in its pickle that cannot be decoded") from None


def _old_string(width: str) -> Callable[[OpStream], object]:
    size = struct.calcsize("<" + width)

    def read(stream: OpStream) -> object:
        raw = stream.literal(struct.unpack("<" + width, stream.take(size))[0], "str")
        return raw if isinstance(raw, Skipped) else raw.decode("utf-8", "replace")

    return read


def _two_lines(stream: OpStream) -> object:
    return _utf8(stream.line()), _utf8(stream.line())


def _nothing(_: OpStream) -> object:
    return None


_U1, _U2, _U4 = _number("<B"), _number("<H"), _number("<I")
_DECIMAL = {"L": lambda stream: _decimal(stream.line().removesuffix(b"L"))}

READERS: Final[dict[str, tuple[str, Callable[[OpStream], object]]]] = {
    **{
        code: (name, _nothing)
        for code, name in {
            "(": "MARK", ".": "STOP", "0": "POP", "1": "POP_MARK", "2": "DUP", "N": "NONE", "Q": "BINPERSID",
            "R": "REDUCE", "a": "APPEND", "b": "BUILD", "d": "DICT", "}": "EMPTY_DICT", "e": "APPENDS",
            "l": "LIST", "]": "EMPTY_LIST", "o": "OBJ", "s": "SETITEM", "t": "TUPLE", ")": "EMPTY_TUPLE",
            "u": "SETITEMS", "\x81": "NEWOBJ", "\x85": "TUPLE1", "\x86": "TUPLE2", "\x87": "TUPLE3",
            "\x88": "NEWTRUE", "\x89": "NEWFALSE", "\x8f": "EMPTY_SET", "\x90": "ADDITEMS",
            "\x91": "FROZENSET", "\x92": "NEWOBJ_EX", "\x93": "STACK_GLOBAL", "\x94": "MEMOIZE",
            "\x97": "NEXT_BUFFER", "\x98": "READONLY_BUFFER",
        }.items()
    },
    "F": ("VALUE", _float_line), "I": ("VALUE", _int_line), "L": ("VALUE", _DECIMAL["L"]),
    "J": ("VALUE", _number("<i")), "K": ("VALUE", _U1), "M": ("VALUE", _U2), "G": ("VALUE", _number(">d")),
    "S": ("VALUE", _string_line), "T": ("VALUE", _old_string("i")), "U": ("VALUE", _old_string("B")),
    "V": ("VALUE", _unicode_line), "X": ("VALUE", _text("I")), "\x8c": ("VALUE", _text("B")),
    "\x8d": ("VALUE", _text("Q")), "\x8a": ("VALUE", _long("B")), "\x8b": ("VALUE", _long("i")),
    "B": ("VALUE", _bytes("I")), "C": ("VALUE", _bytes("B")), "\x8e": ("VALUE", _bytes("Q")),
    "\x96": ("VALUE", _bytes("Q")),
    "P": ("PERSID", lambda stream: _utf8(stream.line())),
    "c": ("GLOBAL", _two_lines), "i": ("INST", _two_lines),
    "g": ("GET", lambda stream: _decimal(stream.line())), "h": ("GET", _U1), "j": ("GET", _U4),
    "p": ("PUT", lambda stream: _decimal(stream.line())), "q": ("PUT", _U1), "r": ("PUT", _U4),
    "\x80": ("PROTO", _U1), "\x82": ("EXT", _U1), "\x83": ("EXT", _U2), "\x84": ("EXT", _number("<i")),
    "\x95": ("FRAME", _number("<Q")),
}  # fmt: skip


def operations(stream: OpStream) -> Iterator[tuple[str, object]]:
    """Yield each operation with its decoded argument, STOP last.

    Frames are checked as CPython's own reader in Python does: no frame in a frame, nothing across its end.

    Raises:
        Unread: An unknown opcode, an argument that cannot be, an end in the middle, or too many operations.
    """
    frame_end: int | None = None
    for _ in range(MAX_OPCODES):
        if frame_end is not None and stream.position >= frame_end:
            if stream.position > frame_end:
                raise Unread("has a pickle frame that ends inside an instruction")
            frame_end = None
        code = stream.take(1)
        entry = READERS.get(code.decode("latin-1"))
        if entry is None:
            raise Unread(
                f"is not a pickle that can be followed: byte {stream.position - 1} is no instruction"
            )
        name, read = entry
        argument = read(stream)
        if name == "FRAME":
            if frame_end is not None or not isinstance(argument, int):
                raise Unread("has a pickle frame inside a frame")
            frame_end = stream.position + argument
            continue
        yield name, argument
        if name == "STOP":
            if frame_end is not None and stream.position != frame_end:
                raise Unread("has a pickle frame that does not end where it says")
            return
    raise Unread(f"has a pickle of more than {MAX_OPCODES} instructions")
