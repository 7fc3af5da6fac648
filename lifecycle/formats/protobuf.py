"""A bounded reader of protobuf's wire format: fields by number, nothing copied that is not asked for.

Source: Protocol Buffers encoding; groups, which ONNX never uses, are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from lifecycle.formats.limits import KIB, MAX_NODES
from lifecycle.formats.model import Unread
from lifecycle.formats.source import Source

_WINDOW: Final = 64 * KIB
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, slots=True)
class Field:
    """One field: a number for varints, else where its bytes lie."""

    number: int
    wire: int
    value: int
    start: int
    end: int

    @property
    def is_bytes(self) -> bool:
        """Whether it is a text, bytes or a message."""
        return self.wire == _BYTES


class Reader:
    """Yields the fields of messages in a source, and counts them over the whole file."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._left = MAX_NODES
        self._window = b""
        self._base = 0

    def fields(self, start: int, end: int) -> Iterator[Field]:
        """Yield the fields of the message between two positions.

        Raises:
            Unread: It is no message, or the file has more than two million fields.
        """
        position = start
        while position < end:
            self._left -= 1
            if self._left < 0:
                raise Unread("has more fields than can be looked at")
            key, position = self._varint(position, end)
            number, wire = key >> 3, key & 7
            if not 0 < number < 1 << 29:
                raise Unread("is damaged: it has a field without a number")
            if wire == _VARINT:
                value, after = self._varint(position, end)
                yield Field(number, wire, value, position, after)
            elif wire == _BYTES:
                length, begin = self._varint(position, end)
                after = begin + length
                if after > end:
                    raise Unread("is cut off, or damaged: a field reaches past its end")
                yield Field(number, wire, 0, begin, after)
            elif wire in (_FIXED32, _FIXED64):
                after = position + (4 if wire == _FIXED32 else 8)
                if after > end:
                    raise Unread("is cut off, or damaged: a field reaches past its end")
                yield Field(number, wire, 0, position, after)
            else:
                raise Unread("is damaged: it has a field of an unknown kind")
            position = after

    def text(self, field: Field, limit: int = 1_000) -> str:
        """Return a text field of at most `limit` bytes."""
        if not field.is_bytes or field.end - field.start > limit:
            raise Unread("has a text that is too long, or none where one must be")
        try:
            return self._source.at(field.start, field.end - field.start).decode("utf-8")
        except UnicodeDecodeError:
            raise Unread("has a text that is not UTF-8") from None

    def numbers(self, field: Field, limit: int) -> list[int]:
        """Return a repeated integer field, packed or single."""
        if not field.is_bytes:
            return [field.value]
        found = []
        position = field.start
        while position < field.end:
            value, position = self._varint(position, field.end)
            found.append(value)
            if len(found) > limit:
                raise Unread("has a list of numbers that is too long")
        return found

    def _varint(self, position: int, end: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            if position >= end:
                raise Unread("is cut off, or damaged: a number has no end")
            byte = self._byte(position)
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & (1 << 64) - 1, position
        raise Unread("is damaged: a number is too long")

    def _byte(self, position: int) -> int:
        index = position - self._base
        if not 0 <= index < len(self._window):
            self._base = position
            self._window = self._source.at(position, min(_WINDOW, self._source.size - position))
            index = 0
        return self._window[index]
