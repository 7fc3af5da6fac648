"""Read what the dynamic loader reads of an x86-64 ELF library: needed files, symbols, versions.

Program headers only, never sections, as the loader does. Source: System V ABI, generic part and AMD64
supplement; GNU symbol versioning (Drepper, "How To Write Shared Libraries").
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PT_LOAD, PT_DYNAMIC = 1, 2
DT_NEEDED, DT_HASH, DT_STRTAB, DT_SYMTAB, DT_SONAME = 1, 4, 5, 6, 14
DT_GNU_HASH, DT_VERSYM, DT_VERNEED, DT_VERNEEDNUM = 0x6FFFFEF5, 0x6FFFFFF0, 0x6FFFFFFE, 0x6FFFFFFF
STB_GLOBAL, STB_WEAK = 1, 2
STT_OBJECT = 1
_MAX_SYMBOLS = 4_000_000


class NotElf(ValueError):
    """The file is not a 64-bit little-endian ELF library, or is damaged."""


@dataclass(frozen=True, slots=True)
class Import:
    """A symbol that a library wants from elsewhere.

    Args:
        binding: 1 strong, 2 weak.
        kind: 0 untyped, 1 data, 2 function.
        file: Soname of the library that shall provide it, where it is versioned.
        version: Its version name there.
    """

    name: str
    binding: int
    kind: int
    file: str | None
    version: str | None


@dataclass(frozen=True, slots=True)
class Library:
    """What one file offers and wants."""

    name: str
    soname: str | None
    needed: tuple[str, ...]
    imports: tuple[Import, ...]
    defined: frozenset[str]


def read(path: Path) -> Library:
    """Parse one library.

    Raises:
        NotElf: It is something else, or ends where it should not.
    """
    with path.open("rb") as file:
        try:
            view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:
            raise NotElf(f'"{path.name}" is empty') from error
        with view:
            try:
                return _Reader(view).library(path.name)
            except (struct.error, IndexError, UnicodeDecodeError) as error:
                raise NotElf(f'"{path.name}" is damaged') from error


class _Reader:
    def __init__(self, data: mmap.mmap) -> None:
        if data[:6] != b"\x7fELF\x02\x01":
            raise NotElf("not a 64-bit little-endian ELF file")
        self.data = data
        offset, size, count = struct.unpack_from("<Q", data, 32)[0], *struct.unpack_from("<HH", data, 54)
        self.loads: list[tuple[int, int, int]] = []
        dynamic = None
        for index in range(count):
            kind, _flags, at, address, _paddr, in_file = struct.unpack_from(
                "<IIQQQQ", data, offset + index * size
            )
            if kind == PT_LOAD:
                self.loads.append((address, at, in_file))
            elif kind == PT_DYNAMIC:
                dynamic = (at, in_file)
        if dynamic is None:
            raise NotElf("no dynamic segment")
        self.tags: dict[int, int] = {}
        self.needed_at: list[int] = []
        for tag, value in struct.iter_unpack("<QQ", data[dynamic[0] : dynamic[0] + dynamic[1] // 16 * 16]):
            if tag == 0:
                break
            if tag == DT_NEEDED:
                self.needed_at.append(value)
            self.tags[tag] = value
        if DT_STRTAB not in self.tags or DT_SYMTAB not in self.tags:
            raise NotElf("no dynamic symbols")
        self.strings = self.offset(self.tags[DT_STRTAB])

    def offset(self, address: int) -> int:
        """Where in the file an address of the loaded image lies."""
        for start, at, size in self.loads:
            if start <= address < start + size:
                return at + address - start
        raise NotElf("an address outside every segment")

    def text(self, at: int) -> str:
        start = self.strings + at
        end = self.data.find(b"\0", start)
        return self.data[start:end].decode()

    def library(self, name: str) -> Library:
        versions = self._wanted_versions()
        imports: list[Import] = []
        defined: set[str] = set()
        for text, info, section, version in self._symbols():
            if section:
                defined.add(text)
                continue
            file, version_name = versions.get(version & 0x7FFF, (None, None))
            imports.append(Import(text, info >> 4, info & 15, file, version_name))
        soname = self.text(self.tags[DT_SONAME]) if DT_SONAME in self.tags else None
        needed = tuple(self.text(at) for at in self.needed_at)
        return Library(name, soname, needed, tuple(imports), frozenset(defined))

    def _symbols(self) -> Iterator[tuple[str, int, int, int]]:
        count = self._symbol_count()
        if count > _MAX_SYMBOLS:
            raise NotElf("more symbols than any library has")
        table = self.offset(self.tags[DT_SYMTAB])
        versym = self.offset(self.tags[DT_VERSYM]) if DT_VERSYM in self.tags else None
        for index in range(1, count):
            name, info, _other, section = struct.unpack_from("<IBBH", self.data, table + index * 24)
            if not name:
                continue
            version = struct.unpack_from("<H", self.data, versym + index * 2)[0] if versym is not None else 0
            yield self.text(name), info, section, version

    def _symbol_count(self) -> int:
        if DT_HASH in self.tags:
            return int(struct.unpack_from("<II", self.data, self.offset(self.tags[DT_HASH]))[1])
        if DT_GNU_HASH not in self.tags:
            return 0
        at = self.offset(self.tags[DT_GNU_HASH])
        buckets, first, bloom, _shift = struct.unpack_from("<IIII", self.data, at)
        bucket_at = at + 16 + bloom * 8
        last = max(struct.unpack_from(f"<{buckets}I", self.data, bucket_at), default=0)
        if last < first:
            return int(first)
        chain = bucket_at + buckets * 4
        while not struct.unpack_from("<I", self.data, chain + (last - first) * 4)[0] & 1:
            last += 1
        return int(last) + 1

    def _wanted_versions(self) -> dict[int, tuple[str, str]]:
        """Map a version index to the file and the version name that it stands for."""
        found: dict[int, tuple[str, str]] = {}
        if DT_VERNEED not in self.tags:
            return found
        at = self.offset(self.tags[DT_VERNEED])
        for _ in range(self.tags.get(DT_VERNEEDNUM, 0)):
            _version, count, file, aux, following = struct.unpack_from("<HHIII", self.data, at)
            entry = at + aux
            for _ in range(count):
                _hash, _flags, other, name, step = struct.unpack_from("<IHHII", self.data, entry)
                found[other & 0x7FFF] = (self.text(file), self.text(name))
                entry += step
            at += following
        return found
