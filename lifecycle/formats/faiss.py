"""Indexes of faiss as RVC writes them: vectors of a voice's recordings, in lists; walked to the end, never loaded.

An index holds numbers only. Read are `IVFFlat` over a flat quantizer and flat indexes, which RVC and so-vits-svc
write; others are refused. Source: faiss, `impl/index_write.cpp` and `impl/index_read.cpp`, little-endian.
"""

from __future__ import annotations

import struct
from typing import Final

from lifecycle.formats.model import Inspection, Unread
from lifecycle.formats.source import Source

KIND: Final = "faiss-index"
_FLAT: Final = (b"IxF2", b"IxFI", b"IxFl")
_IVF: Final = b"IwFl"
_MAX_DIMENSION: Final = 65_536
_MAX_LISTS: Final = 1 << 24
_MAX_VECTORS: Final = 1 << 40


def looks_like(head: bytes) -> bool:
    """Say whether the first four bytes begin such an index."""
    return head[:4] in _FLAT or head[:4] == _IVF


def read(source: Source) -> Inspection:
    """Inspect an index; nothing in the format can run.

    Raises:
        Unread: It is cut off, has bytes left over, or says what cannot be.
    """
    try:
        walk = _Walk(source)
        dimension, vectors = walk.index()
        if walk.position != source.size:
            raise Unread("has bytes behind its end")
    except Unread as unread:
        raise Unread(unread.reason, kind=KIND) from None
    facts: dict[str, object] = {"dimension": dimension, "vectors": vectors}
    word = f"faiss index, {vectors} vectors of {dimension}     numbers only, nothing in it can run"
    return Inspection(KIND, safe=True, facts=facts, summary=word)


class _Walk:
    def __init__(self, source: Source) -> None:
        self._source = source
        self.position = 0

    def index(self, *, inner: bool = False) -> tuple[int, int]:
        """Walk one index; return its dimension and how many vectors it holds."""
        word = self._source.at(self.position, 4)
        self.position += 4
        if word in _FLAT:
            dimension, vectors = self._header()
            self._skip(self._number(_MAX_VECTORS), 4)
            return dimension, vectors
        if word != _IVF or inner:
            raise Unread("is an index of a kind that is not read here")
        dimension, vectors = self._header()
        lists = self._number(_MAX_LISTS)
        self._number(_MAX_LISTS)  # how many lists a search looks into
        self.index(inner=True)
        self._direct_map()
        self._inverted_lists(lists, dimension)
        return dimension, vectors

    def _header(self) -> tuple[int, int]:
        dimension, vectors = struct.unpack("<iq", self._take(12))
        self._take(16)  # two numbers that mean nothing any more
        _, metric = struct.unpack("<?i", self._take(5))
        if metric > 1:
            self._take(4)
        if not 0 < dimension <= _MAX_DIMENSION or not 0 <= vectors <= _MAX_VECTORS:
            raise Unread("says that it holds vectors which cannot be")
        return dimension, vectors

    def _direct_map(self) -> None:
        kind = self._take(1)[0]
        self._skip(self._number(_MAX_VECTORS), 8)
        if kind == 2:
            self._skip(self._number(_MAX_VECTORS), 16)
        elif kind > 2:
            raise Unread("has a map of a kind that is not read here")

    def _inverted_lists(self, lists: int, dimension: int) -> None:
        word = self._take(4)
        if word == b"il00":
            return
        if word != b"ilar":
            raise Unread("keeps its vectors in a way that is not read here")
        count, code = self._number(_MAX_LISTS), self._number(_MAX_DIMENSION * 4)
        form = self._take(4)
        if count != lists or code != dimension * 4 or form not in (b"full", b"sprs"):
            raise Unread("says different things about its lists")
        numbers = self._number(2 * _MAX_LISTS)
        sizes = [size for (size,) in struct.iter_unpack("<Q", self._take(8 * numbers))]
        if form == b"sprs":
            sizes = sizes[1::2]
        for size in sizes:
            if size > _MAX_VECTORS:
                raise Unread("says that it holds vectors which cannot be")
            self._skip(size, code + 8)

    def _number(self, most: int) -> int:
        number = int.from_bytes(self._take(8), "little")
        if number > most:
            raise Unread("says that it has more parts than there can be")
        return number

    def _take(self, count: int) -> bytes:
        data = self._source.at(self.position, count)
        self.position += count
        return data

    def _skip(self, count: int, each: int) -> None:
        if self.position + count * each > self._source.size:
            raise Unread("ends inside a part that says it goes on")
        self.position += count * each
