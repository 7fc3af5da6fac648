"""Drop GPU code from the disk: nothing on the CPU path ever reads it.

A sparse copy takes the file's place, with a hole where the section of GPU code was; never a hole in the file
itself, which may share its blocks with a package cache by hard link. Sizes as `ls` shows them stay.
"""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path

_SECTIONS = (b".nv_fatbin", b"__nv_relfatbin")
_NOBITS = 8
_PAGE = 4096
_CHUNK = 1 << 22


def gpu_code(path: Path) -> tuple[int, int] | None:
    """Return start and end (bytes, whole pages) of the GPU code in a library, or None."""
    with path.open("rb") as file:
        head = file.read(64)
        if len(head) < 64 or head[:6] != b"\x7fELF\x02\x01":
            return None
        at = struct.unpack_from("<Q", head, 40)[0]
        size, count, names_index = struct.unpack_from("<HHH", head, 58)
        if not at or size < 64 or names_index >= count:
            return None
        file.seek(at)
        table = file.read(size * count)
        if len(table) < size * count:
            return None
        sections = [struct.unpack_from("<IIQQQQ", table, index * size) for index in range(count)]
        file.seek(sections[names_index][4])
        names = file.read(min(sections[names_index][5], 1 << 20))
    for name, kind, _flags, _address, offset, length in sections:
        if kind != _NOBITS and names[name : names.find(b"\0", name)] in _SECTIONS:
            start, end = -(-offset // _PAGE) * _PAGE, (offset + length) // _PAGE * _PAGE
            return (start, end) if end > start else None
    return None


def thin(path: Path) -> int:
    """Replace a library by a sparse copy without its GPU code; returns the bytes that this saves."""
    hole = gpu_code(path)
    if hole is None:
        return 0
    start, end = hole
    status = path.stat()
    copy = path.with_name(path.name + ".thin")
    with path.open("rb") as source, copy.open("wb") as target:
        _copy(source.fileno(), target.fileno(), 0, start)
        _copy(source.fileno(), target.fileno(), end, status.st_size)
        target.truncate(status.st_size)
    shutil.copymode(path, copy)
    copy.rename(path)
    return end - start


def _copy(source: int, target: int, start: int, end: int) -> None:
    while start < end:
        block = os.pread(source, min(_CHUNK, end - start), start)
        if not block:
            return
        os.pwrite(target, block, start)
        start += len(block)
