"""Bounded, positioned reading of a file that nobody trusts."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import BinaryIO, Final

from lifecycle.formats.limits import KIB, MAX_CHUNK, MAX_TEXT_MEMBER
from lifecycle.formats.model import Unread

_WINDOW: Final = 16 * KIB


class Source:
    """A window of a seekable file, read by position, never past its end.

    Args:
        file: Seekable, opened for reading bytes.
        size: Number of bytes in the window.
        start: Where the window begins in the file.
        patch: Bytes shown instead of the first ones; the file itself stays as it is.
    """

    def __init__(self, file: BinaryIO, size: int, *, start: int = 0, patch: bytes = b"") -> None:
        self._file = file
        self._start = start
        self._patch = patch
        self._window = b""
        self._window_at = 0
        self.size = size

    def at(self, offset: int, count: int) -> bytes:
        """Return exactly `count` bytes from `offset`.

        Raises:
            Unread: The window or the file ends before that, or `count` is above 64 MiB.
        """
        if count > MAX_TEXT_MEMBER:
            raise Unread(f"has a part of {count} bytes where at most {MAX_TEXT_MEMBER} can be read")
        if offset < 0 or count < 0 or offset + count > self.size:
            raise Unread(f"ends at byte {self.size}, inside a part that says it goes on")
        if count > _WINDOW // 2:
            return self._patched(offset, self._read(offset, count))
        # headers are small and near each other
        begin = offset - self._window_at
        if begin < 0 or begin + count > len(self._window):
            self._window = self._read(offset, min(_WINDOW, self.size - offset))
            self._window_at, begin = offset, 0
        return self._patched(offset, self._window[begin : begin + count])

    def _read(self, offset: int, count: int) -> bytes:
        self._file.seek(self._start + offset, os.SEEK_SET)
        parts = []
        missing = count
        while missing:
            part = self._file.read(missing)
            if not part:
                raise Unread("became shorter while it was read")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def _patched(self, offset: int, data: bytes) -> bytes:
        if offset >= len(self._patch):
            return data
        return self._patch[offset : offset + len(data)] + data[len(self._patch) - offset :]

    def chunks(self, offset: int, count: int) -> Iterator[bytes]:
        """Yield `count` bytes from `offset` in pieces of at most one MiB."""
        if offset < 0 or count < 0 or offset + count > self.size:
            raise Unread(f"ends at byte {self.size}, inside a part that says it goes on")
        end = offset + count
        while offset < end:
            step = min(MAX_CHUNK, end - offset)
            yield self.at(offset, step)
            offset += step

    def window(self, offset: int, size: int) -> Source:
        """Return a part as a source of its own."""
        if offset < 0 or size < 0 or offset + size > self.size:
            raise Unread("has a part that reaches past its end")
        return Source(self._file, size, start=self._start + offset)

    def patched(self, head: bytes) -> Source:
        """Return the same window with other first bytes, in memory only."""
        return Source(self._file, self.size, start=self._start, patch=head)


def memory(data: bytes) -> Source:
    """Return bytes as a source."""
    return Source(io.BytesIO(data), len(data))
