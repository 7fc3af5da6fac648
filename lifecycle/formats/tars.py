"""Tar archives read as a stream, one entry after the other, every size bounded; nothing is ever unpacked to disk.

Python's own reader believes the size of an extended header and reads it whole, so a hostile archive could fill the
memory. Known here: ustar, GNU long names and sizes in base 256, and pax headers for path, linkpath and size.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from lifecycle.formats.model import Unread

Read = Callable[[int], bytes]
_BLOCK: Final = 512
_MAX_EXTENDED: Final = 1 << 20
_MAX_ENTRIES: Final = 5_000_000
_MAX_PATH: Final = 4_096
_PIECE: Final = 1 << 20
_PAX: Final = re.compile(rb"(\d{1,7}) ([^=\n]{1,256})=")
_FILES: Final = (b"0", b"\0", b"7")
_DEVICES: Final = (b"3", b"4", b"6")


@dataclass(slots=True)
class Entry:
    """One entry of an archive.

    Attributes:
        path: Relative, with "/" between parts, without ".", ".." or a leading slash.
        kind: "file", "folder", "hardlink", "symlink" or "other".
        link: What a link names, as it was written; for a hard link a path like `path`.
    """

    path: str
    kind: str
    size: int
    link: str
    _read: Read
    _left: int = 0

    def read(self, count: int) -> bytes:
        """Return the next bytes of the content, at most `count`; empty at its end."""
        piece = self._read(min(count, self._left))
        if not piece and self._left and count:
            raise Unread("ends inside a file that it holds")
        self._left -= len(piece)
        return piece

    def skip(self) -> None:
        """Pass over what is left of the content."""
        while self._left:
            self.read(_PIECE)


def entries(read: Read) -> Iterator[Entry]:
    """Yield the entries of a tar archive; each must be read before the next is asked for, or is passed over.

    Args:
        read: Returns at most as many bytes as asked for; fewer is fine, none is the end.

    Raises:
        Unread: It is no tar archive, ends early, or has a path that leads out of it.
    """
    extended: dict[str, str] = {}
    for _ in range(_MAX_ENTRIES):
        header = _exactly(read, _BLOCK, at_end=True)
        if not header.strip(b"\0"):
            return  # padding; what follows is not part of the archive
        size = _number(header[124:136])
        if _number(header[148:156]) != sum(header[:148]) + 8 * 32 + sum(header[156:]):
            raise Unread("is no tar archive, or a damaged one")
        kind = header[156:157]
        if kind in (b"x", b"L", b"K", b"g"):
            extended |= _extended(read, kind, size)
            continue
        if "size" in extended:
            size = int(extended["size"])
        entry = _entry(header, kind, size, extended, read)
        extended = {}
        yield entry
        entry.skip()
        _exactly(read, -size % _BLOCK if entry.size else 0)
    raise Unread(f"holds more than {_MAX_ENTRIES} files")


def safe_path(text: str) -> str:
    """Return a path inside an archive in its plain form.

    Raises:
        Unread: It leads out of the archive, or cannot be a path.
    """
    parts = [part for part in text.split("/") if part not in {"", "."}]
    if ".." in parts or "\0" in text or len(text) > _MAX_PATH:
        raise Unread("holds a path that leads out of it")
    return "/".join(parts)


def _entry(header: bytes, kind: bytes, size: int, extended: dict[str, str], read: Read) -> Entry:
    path = extended.get("path", "")
    if not path:
        name, prefix = _text(header[:100]), _text(header[345:500]) if header[257:262] == b"ustar" else ""
        gnu = header[257:265] == b"ustar  \0"
        path = f"{prefix}/{name}" if prefix and not gnu else name
    link = extended.get("linkpath") or _text(header[157:257])
    word = {b"1": "hardlink", b"2": "symlink", b"5": "folder"}.get(
        kind, "file" if kind in _FILES else "other"
    )
    if word == "hardlink":
        link = safe_path(link)
    length = size if word in {"file", "other"} and kind not in _DEVICES else 0
    return Entry(safe_path(path), word, length, link, read, length)


def _extended(read: Read, kind: bytes, size: int) -> dict[str, str]:
    if size > _MAX_EXTENDED:
        raise Unread("has a header that is larger than a header may be")
    body = _exactly(read, size)
    _exactly(read, -size % _BLOCK)
    if kind in (b"L", b"K"):
        return {"path" if kind == b"L" else "linkpath": _text(body)}
    if kind == b"g":
        return {}
    found, at = {}, 0
    while at < len(body):
        match = _PAX.match(body, at)
        if match is None or int(match[1]) <= match.end() - at or at + int(match[1]) > len(body):
            raise Unread("has a header that is no list of values")
        key, value = match[2], body[match.end() : at + int(match[1]) - 1]
        if key in (b"path", b"linkpath"):
            found[key.decode()] = _text(value)
        elif key == b"size":
            if not re.fullmatch(rb"\d{1,18}", value):
                raise Unread("has a header with a size that is none")
            found["size"] = value.decode()
        at += int(match[1])
    return found


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _number(raw: bytes) -> int:
    if raw[0] & 0x80:
        value = int.from_bytes(raw, "big") - (0x80 << 8 * (len(raw) - 1))
        if not 0 <= value < 1 << 60:
            raise Unread("has a file with a size that is none")
        return value
    digits = raw.strip(b" \0")
    if not re.fullmatch(rb"[0-7]{0,12}", digits):
        raise Unread("is no tar archive, or a damaged one")
    return int(digits or b"0", 8)


def _exactly(read: Read, count: int, *, at_end: bool = False) -> bytes:
    parts, missing = [], count
    while missing:
        piece = read(missing)
        if not piece:
            if at_end and missing == count:
                return b""
            raise Unread("ends in the middle")
        parts.append(piece)
        missing -= len(piece)
    return b"".join(parts)
