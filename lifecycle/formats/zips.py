"""Containers as torch writes them, read by our own strict reader; what two readers could see differently is
refused.

Source: PKWARE APPNOTE 6.3. torch's writer (miniz) aligns data to 64 bytes by the extra field of local
headers, sets flag 3 (sizes in a descriptor behind the data) and flag 11 (names in UTF-8), and stores weights
without compression.
"""

from __future__ import annotations

import struct
import unicodedata
import zlib
from dataclasses import dataclass
from typing import Final

from lifecycle.formats import limits
from lifecycle.formats.model import Finding, Unread, shown
from lifecycle.formats.source import Source

HEADS: Final = {b"00": "00", b"01": "01", b"02": "02", b"03": "03", b"04": "04", b"05": "05", b"06": "06"}
"""Two bytes that GPT-SoVITS writes instead of "PK"."""

_LOCAL: Final = b"PK\x03\x04"
_CENTRAL: Final = b"PK\x01\x02"
_END: Final = b"PK\x05\x06"
_END64: Final = b"PK\x06\x06"
_LOCATOR64: Final = b"PK\x06\x07"
_DESCRIPTOR: Final = b"PK\x07\x08"
_FULL16: Final = 0xFFFF
_FULL32: Final = 0xFFFFFFFF
_STORED: Final = 0
_DEFLATED: Final = 8
_HAS_DESCRIPTOR: Final = 1 << 3
_IS_UTF8: Final = 1 << 11


@dataclass(frozen=True, slots=True)
class Member:
    """One file in a container: `offset` is where its bytes begin, sizes are in bytes."""

    name: str
    offset: int
    size: int
    packed: int
    method: int
    crc: int

    @property
    def stored(self) -> bool:
        """Whether its bytes lie in the container as they are."""
        return self.method == _STORED


@dataclass(frozen=True, slots=True)
class _Entry:
    raw_name: bytes
    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    header: int


class Zip:
    """A container whose every byte is accounted for: headers agree, nothing overlaps, nothing lies between.

    Raises:
        Unread: It is cut off, ambiguous, or would unpack to far more than it holds.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        directory, count, directory_offset = _find_directory(source)
        entries = _read_directory(directory, count)
        _check_names(entries)
        self.members = {member.name: member for member in _check_layout(source, entries, directory_offset)}
        _check_sizes(list(self.members.values()))
        # torch.serialization.set_crc32_options(False) writes zeros for all of them
        self.checksums = any(member.crc for member in self.members.values())

    def read(self, name: str, limit: int = limits.MAX_TEXT_MEMBER) -> bytes:
        """Return the bytes of a member of at most `limit` bytes, checked against its checksum.

        Raises:
            Unread: It is missing, too large, or its checksum is another.
        """
        member = self.members.get(name)
        if member is None:
            raise Unread(f'lacks its member "{shown(name)}"')
        if member.size > limit:
            raise Unread(
                f'has a member "{shown(name)}" of {member.size} bytes where at most {limit} are read'
            )
        data = self.source.at(member.offset, member.packed)
        if not member.stored:
            data = _inflate(data, member)
        if self.checksums and zlib.crc32(data) != member.crc:
            raise Unread(f'is damaged: the checksum of its member "{shown(name)}" does not agree')
        return data

    def text(self, name: str, limit: int = limits.MIB) -> str:
        """Return a member as UTF-8 text."""
        try:
            return self.read(name, limit).decode("utf-8")
        except UnicodeDecodeError:
            raise Unread(f'has a member "{shown(name)}" that is not UTF-8') from None

    def window(self, name: str) -> Source:
        """Return a stored member as a source of its own, without reading it."""
        member = self.members.get(name)
        if member is None:
            raise Unread(f'lacks its member "{shown(name)}"')
        if not member.stored:
            raise Unread(f'has a compressed member "{shown(name)}" where torch never writes one')
        return self.source.window(member.offset, member.size)

    def check(self) -> list[Finding]:
        """Read every stored member to its end and compare it with its checksum.

        Raises:
            Unread: One of them does not agree.
        """
        if not self.checksums:
            return [Finding("info", "no_checksums", "was written without checksums")]
        for member in self.members.values():
            if member.stored:
                crc = 0
                for chunk in self.source.chunks(member.offset, member.size):
                    crc = zlib.crc32(chunk, crc)
                if crc != member.crc:
                    name = shown(member.name)
                    raise Unread(f'is damaged: the checksum of its member "{name}" does not agree')
        return []

    def folder(self) -> str:
        """Return the one top folder under which torch puts everything.

        Raises:
            Unread: There is none, or a member lies outside it.
        """
        tops = {name.partition("/")[0] for name in self.members}
        if len(tops) != 1 or any("/" not in name for name in self.members):
            raise Unread("is a zip archive, but not one that torch writes", kind="zip")
        return tops.pop()


def looks_like_zip(head: bytes) -> bool:
    """Say whether the first four bytes begin a zip archive, with or without an altered head."""
    return head[2:4] == _LOCAL[2:] and (head[:2] == b"PK" or head[:2].isdigit())


def repaired(source: Source) -> tuple[Source, str | None]:
    """Return the source with "PK" put back in memory, and the two head bytes where they were altered.

    Raises:
        Unread: The head is altered in a way that no known GPT-SoVITS writes.
    """
    head = source.at(0, 2)
    if head == b"PK":
        return source, None
    if head not in HEADS:
        raise Unread(f'has the head "{head.decode("ascii")}", which no known GPT-SoVITS writes')
    return source.patched(b"PK"), HEADS[head]


def _find_directory(source: Source) -> tuple[bytes, int, int]:
    if source.size < 22:
        raise Unread("is a zip archive that is cut off")
    fields = struct.unpack("<4sHHHHIIH", source.at(source.size - 22, 22))
    signature, disk, start_disk, here, count, size, offset, comment = fields
    if signature != _END or comment:
        raise Unread("is a zip archive that is cut off, or something follows its end")
    if disk not in (0, _FULL16) or start_disk not in (0, _FULL16) or here != count:
        raise Unread("is one part of a zip archive in several")
    end = source.size - 22
    if end >= 20 and source.at(end - 20, 4) == _LOCATOR64:
        end, count, size, offset = _zip64(source, end - 20, (count, size, offset))
    elif _FULL16 in (count,) or _FULL32 in (size, offset):
        raise Unread("is a zip archive that is cut off")
    if size > limits.MAX_DIRECTORY or count > limits.MAX_MEMBERS:
        raise Unread(
            f"is a zip archive with a directory of {count} members in {size} bytes, which is too large"
        )
    if offset + size != end:
        raise Unread("is a zip archive with bytes before, between or behind its parts")
    return source.at(offset, size), count, offset


def _zip64(source: Source, locator: int, short: tuple[int, int, int]) -> tuple[int, int, int, int]:
    _, disk, position, disks = struct.unpack("<4sIQI", source.at(locator, 20))
    if disk or disks > 1 or position + 56 > locator:
        raise Unread("is a zip archive whose end contradicts itself")
    fields = struct.unpack("<4sQHHIIQQQQ", source.at(position, 56))
    signature, length, here, count, size, offset = (
        fields[0],
        fields[1],
        fields[6],
        fields[7],
        fields[8],
        fields[9],
    )
    if signature != _END64 or length != 44 or position + 56 != locator or here != count:
        raise Unread("is a zip archive whose end contradicts itself")
    wide = (count, size, offset)
    for small, large, full in zip(short, wide, (_FULL16, _FULL32, _FULL32), strict=True):
        if small not in (full, large):
            raise Unread("is a zip archive whose end contradicts itself")
    return position, count, size, offset


def _read_directory(directory: bytes, count: int) -> list[_Entry]:
    entries = []
    position = 0
    for _ in range(count):
        if position + 46 > len(directory):
            raise Unread("is a zip archive whose directory is cut off")
        fields = struct.unpack("<4sHHHHHHIIIHHHHHII", directory[position : position + 46])
        name_size, extra_size, comment_size = fields[10], fields[11], fields[12]
        end = position + 46 + name_size + extra_size + comment_size
        if fields[0] != _CENTRAL or end > len(directory) or fields[13] not in (0, _FULL16):
            raise Unread("is a zip archive whose directory is damaged")
        raw = directory[position + 46 : position + 46 + name_size]
        extra = directory[position + 46 + name_size : position + 46 + name_size + extra_size]
        size, packed, header = _wide(extra, fields[9], fields[8], fields[16])
        entries.append(
            _Entry(raw, _name(raw, fields[3]), fields[3], fields[4], fields[7], packed, size, header)
        )
        position = end
    if position != len(directory):
        raise Unread("is a zip archive whose directory holds more than it counts")
    return entries


def _wide(extra: bytes, size: int, packed: int, header: int) -> tuple[int, int, int]:
    """Replace saturated 32-bit fields by those of the zip64 extra field."""
    wide: list[int] | None = None
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack("<HH", extra[position : position + 4])
        body = extra[position + 4 : position + 4 + length]
        if kind == 1:
            if wide is not None or len(body) != length or length % 8 not in (0, 4):
                raise Unread("is a zip archive whose directory contradicts itself")
            wide = list(struct.unpack(f"<{length // 8}Q", body[: length // 8 * 8]))
        position += 4 + length
    values = []
    for value in (size, packed, header):
        if value == _FULL32:
            if not wide:
                raise Unread("is a zip archive whose directory contradicts itself")
            value = wide.pop(0)
        values.append(value)
    return values[0], values[1], values[2]


def _name(raw: bytes, flags: int) -> str:
    if len(raw) > limits.MAX_MEMBER_NAME:
        raise Unread("is a zip archive with a member name that is too long")
    try:
        name = raw.decode("utf-8" if flags & _IS_UTF8 else "ascii")
    except UnicodeDecodeError:
        raise Unread("is a zip archive with a member name that is not UTF-8") from None
    parts = name.removesuffix("/").split("/")
    odd = any(unicodedata.category(character) in ("Cc", "Cs") for character in name)
    if any(part in ("", ".", "..") for part in parts) or odd or "\\" in name or ":" in parts[0]:
        raise Unread(f'is a zip archive with a member named "{shown(name)}", which could lead elsewhere')
    return name


def _check_names(entries: list[_Entry]) -> None:
    seen: set[str] = set()
    for entry in entries:
        folded = unicodedata.normalize("NFKC", entry.name.removesuffix("/")).casefold()
        if folded in seen:
            raise Unread(f'is a zip archive with two members called "{shown(entry.name)}"')
        seen.add(folded)


def _check_layout(source: Source, entries: list[_Entry], directory_offset: int) -> list[Member]:
    """Walk the local headers from byte 0 to the directory; each begins where the one before it ends."""
    members = {}
    position = 0
    ordered = sorted(entries, key=lambda item: item.header)
    following = [entry.header for entry in ordered[1:]] + [directory_offset]
    for entry, after in zip(ordered, following, strict=True):
        if entry.header != position:
            raise Unread("is a zip archive with bytes before, between or behind its parts")
        offset = _check_local(source, entry)
        position = _after_data(source, entry, offset, after)
        members[entry.name] = Member(entry.name, offset, entry.size, entry.packed, entry.method, entry.crc)
    if position != directory_offset:
        raise Unread("is a zip archive with bytes before, between or behind its parts")
    return [members[entry.name] for entry in entries]


def _check_local(source: Source, entry: _Entry) -> int:
    fields = struct.unpack("<4sHHHHHIIIHH", source.at(entry.header, 30))
    signature, flags, method, crc = fields[0], fields[2], fields[3], fields[6]
    name_size, extra_size = fields[9], fields[10]
    if signature != _LOCAL:
        raise Unread("is a zip archive whose directory points to something else")
    rest = source.at(entry.header + 30, name_size + extra_size)
    size, packed, _ = _wide(rest[name_size:], fields[8], fields[7], 0)
    later = bool(flags & _HAS_DESCRIPTOR) and crc == size == packed == 0
    same_sizes = (crc, size, packed) == (entry.crc, entry.size, entry.packed)
    if rest[:name_size] != entry.raw_name or (flags, method) != (entry.flags, entry.method):
        raise Unread("is a zip archive in which local and central headers disagree")
    if not (later or same_sizes):
        raise Unread("is a zip archive in which local and central headers disagree")
    if flags & ~(_HAS_DESCRIPTOR | _IS_UTF8 | 0b110) or method not in (_STORED, _DEFLATED):
        raise Unread("is a zip archive that is encrypted, or packed in a way that torch never uses")
    if method == _STORED and entry.size != entry.packed:
        raise Unread("is a zip archive with a stored member of two sizes")
    return int(entry.header + 30 + name_size + extra_size)


def _after_data(source: Source, entry: _Entry, offset: int, after: int) -> int:
    """Return the byte behind a member's data and descriptor, if that is where the next part begins."""
    end = offset + entry.packed
    if end > after:
        raise Unread("is a zip archive with members that reach into each other or past its end")
    form: str | None = {16: "<4sIII", 24: "<4sIQQ"}.get(after - end)
    if entry.flags & _HAS_DESCRIPTOR and form is not None:
        told = struct.unpack(form, source.at(end, after - end))
        if told != (_DESCRIPTOR, entry.crc, entry.packed, entry.size):
            raise Unread("is a zip archive with a member whose sizes are told twice and differ")
        end = after
    if end != after:
        raise Unread("is a zip archive with bytes before, between or behind its parts")
    return end


def _check_sizes(members: list[Member]) -> None:
    inflated = 0
    for member in members:
        if member.stored:
            continue
        inflated += member.size
        if inflated > limits.MAX_INFLATED or member.size > max(limits.MIB, member.packed * limits.MAX_RATIO):
            raise Unread(f'is a zip bomb: "{shown(member.name)}" would unpack to {member.size} bytes')


def _inflate(data: bytes, member: Member) -> bytes:
    stream = zlib.decompressobj(-15)
    try:
        result = stream.decompress(data, member.size + 1)
    except zlib.error:
        raise Unread(f'is damaged: its member "{shown(member.name)}" cannot be unpacked') from None
    if len(result) > member.size:
        raise Unread(f'is a zip bomb: "{shown(member.name)}" unpacks to more than it says')
    if len(result) != member.size or stream.unused_data or not stream.eof:
        raise Unread(f'is damaged: its member "{shown(member.name)}" unpacks to another size than it says')
    return result
