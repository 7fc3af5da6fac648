"""Write one x86-64 shared library that answers every call with "no GPU": deterministic bytes, no compiler.

One file, two loadable segments, file offset equal to virtual address, no section headers, no relocations.
All names of a kind share one body of code. Source: System V ABI, AMD64 supplement; GNU symbol versioning.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

_PAGE = 0x1000
_BUFFER_BYTES = 4096
_DATA_BYTES = 64
#: cudaErrorNoDevice: torch takes it quietly as "there is no GPU".
_NO_DEVICE = 100
_ENDBR = b"\xf3\x0f\x1e\xfa"
_MESSAGE = b"no CUDA device: this library is a stub\0"


class Kind(Enum):
    """What calling a symbol gives."""

    ERROR = "error"  # the code 100
    ZERO = "zero"  # success, nothing done
    STRING = "string"  # a constant text
    BUFFER = "buffer"  # 4 KiB of zeros
    CUDNN_VERSION = "cudnn_version"  # the version as one number
    CUDNN_PROPERTY = "cudnn_property"  # one part of the version, stored through the second argument
    DATA = "data"  # not a function: 64 zero bytes


@dataclass(frozen=True, slots=True, order=True)
class Symbol:
    """One exported name; without a version it satisfies unversioned imports."""

    name: str
    version: str | None
    kind: str


def kind_of(name: str, *, is_data: bool) -> Kind:
    """Return what a CUDA symbol of this name has to do so that torch stays on the CPU without a word."""
    if is_data:
        return Kind.DATA
    if name == "__cudaRegisterFatBinary":
        return Kind.BUFFER
    if name.startswith(("__cudaRegister", "__cudaUnregister", "__cudaInitModule")):
        return Kind.ZERO
    if name == "cudnnGetVersion":
        return Kind.CUDNN_VERSION
    if name == "cudnnGetProperty":
        return Kind.CUDNN_PROPERTY
    texts = ("ErrorString", "ErrorName", "StatusString", "StatusName", "GetLastErrorString")
    if name == "ncclGetLastError" or any(text in name for text in texts):
        return Kind.STRING
    return Kind.ERROR


def sysv_hash(name: str) -> int:
    """The System V ABI's hash of a symbol name."""
    value = 0
    for byte in name.encode():
        value = (value << 4) + byte
        high = value & 0xF0000000
        if high:
            value ^= high >> 24
        value &= ~high & 0xFFFFFFFF
    return value


class _Strings:
    """A string table; equal strings share one place."""

    def __init__(self) -> None:
        self.data = bytearray(b"\0")
        self._at: dict[str, int] = {"": 0}

    def at(self, text: str) -> int:
        if text not in self._at:
            self._at[text] = len(self.data)
            self.data += text.encode() + b"\0"
        return self._at[text]


def _pad(data: bytes, to: int, fill: bytes = b"\0") -> bytes:
    return data + fill * (-len(data) % to)


def _hash_table(names: list[str]) -> bytes:
    """SysV hash; entry 0 of the symbol table is the null symbol."""
    buckets = [0] * (len(names) // 2 | 1)
    chains = [0] * (len(names) + 1)
    for index, name in enumerate(names, start=1):
        slot = sysv_hash(name) % len(buckets)
        chains[index], buckets[slot] = buckets[slot], index
    header = struct.pack("<II", len(buckets), len(chains))
    return header + struct.pack(f"<{len(buckets)}I", *buckets) + struct.pack(f"<{len(chains)}I", *chains)


def _verdef(soname: str, versions: list[str], strings: _Strings) -> bytes:
    """One definition for the file itself, then one for each version, indices from 2 up."""
    out = b""
    for number, name in enumerate([soname, *versions], start=1):
        following = 28 if number <= len(versions) else 0
        base = 1 if number == 1 else 0
        out += struct.pack("<HHHHIII", 1, base, number, 1, sysv_hash(name), 20, following)
        out += struct.pack("<II", strings.at(name), 0)
    return out


def _text(at: int, buffer_at: int, cudnn: tuple[int, int, int]) -> tuple[bytes, dict[Kind, int]]:
    """Assemble the bodies; returns the bytes and the address of each kind."""
    major, minor, patch = cudnn
    number = major * (10000 if major >= 9 else 1000) + minor * 100 + patch
    order = [Kind.ERROR, Kind.ZERO, Kind.STRING, Kind.BUFFER, Kind.CUDNN_VERSION, Kind.CUDNN_PROPERTY]
    places = {kind: at + index * 32 for index, kind in enumerate(order)}
    message_at = at + len(order) * 32
    table_at = message_at + len(_pad(_MESSAGE, 8))

    def lea(place: int, skip: int, target: int) -> bytes:
        return b"\x48\x8d\x05" + struct.pack("<i", target - (place + skip + 7))  # lea rax, [rip + rel32]

    bodies = {
        Kind.ERROR: b"\xb8" + struct.pack("<I", _NO_DEVICE) + b"\xc3",
        Kind.ZERO: b"\x31\xc0\xc3",
        Kind.STRING: lea(places[Kind.STRING], 4, message_at) + b"\xc3",
        Kind.BUFFER: lea(places[Kind.BUFFER], 4, buffer_at) + b"\xc3",
        Kind.CUDNN_VERSION: b"\xb8" + struct.pack("<I", number) + b"\xc3",
        # mov edi,edi; lea rax,[table]; mov eax,[rax+rdi*4]; mov [rsi],eax; xor eax,eax; ret
        Kind.CUDNN_PROPERTY: b"\x89\xff"
        + lea(places[Kind.CUDNN_PROPERTY], 6, table_at)
        + b"\x8b\x04\xb8\x89\x06\x31\xc0\xc3",
    }
    code = b"".join(_pad(_ENDBR + bodies[kind], 32, b"\x90") for kind in order)
    return code + _pad(_MESSAGE, 8) + struct.pack("<4I", major, minor, patch, 0), places


def build(soname: str, symbols: Iterable[Symbol], cudnn: tuple[int, int, int] = (9, 0, 0)) -> bytes:
    """Return the bytes of a stub library.

    Args:
        soname: Its name for the loader, such as "libcublas.so.12".
        symbols: What it exports; order does not matter, equal input gives equal bytes.
        cudnn: What the version functions of cuDNN report.
    """
    ordered = sorted(set(symbols), key=lambda symbol: (symbol.name, symbol.version or ""))
    versions = sorted({symbol.version for symbol in ordered if symbol.version})
    strings = _Strings()
    soname_at = strings.at(soname)
    verdef = _verdef(soname, versions, strings) if versions else b""
    name_at = [strings.at(symbol.name) for symbol in ordered]
    hashes = _hash_table([symbol.name for symbol in ordered])
    versym = struct.pack(
        f"<{len(ordered) + 1}H", 0, *(versions.index(s.version) + 2 if s.version else 1 for s in ordered)
    )

    dynsym_at = 64 + 4 * 56
    hash_at = dynsym_at + 24 * (len(ordered) + 1)
    versym_at = hash_at + len(hashes)
    verdef_at = _up(versym_at + len(versym), 8)
    dynstr_at = verdef_at + len(verdef)
    text_at = _up(dynstr_at + len(strings.data), 16)
    text_bytes = len(_text(text_at, text_at, cudnn)[0])
    dynamic_at = _up(text_at + text_bytes, _PAGE)
    tags = [(14, soname_at), (4, hash_at), (5, dynstr_at), (6, dynsym_at), (10, len(strings.data)), (11, 24)]
    if versions:
        tags += [(0x6FFFFFF0, versym_at), (0x6FFFFFFC, verdef_at), (0x6FFFFFFD, len(versions) + 1)]
    dynamic = b"".join(struct.pack("<QQ", *tag) for tag in [*tags, (0, 0)])
    buffer_at = _up(dynamic_at + len(dynamic), 64)
    text, places = _text(text_at, buffer_at, cudnn)
    dynsym, memory_end = _symbol_table(ordered, name_at, places, buffer_at + _BUFFER_BYTES)

    out = bytearray(_header(text_at + text_bytes, dynamic_at, len(dynamic), memory_end - dynamic_at))
    pieces: Mapping[int, bytes] = {
        dynsym_at: dynsym,
        hash_at: hashes,
        versym_at: versym,
        verdef_at: verdef,
        dynstr_at: bytes(strings.data),
        text_at: text,
        dynamic_at: dynamic,
    }
    for at, piece in pieces.items():
        out += b"\0" * (at - len(out)) + piece
    return bytes(out)


def _symbol_table(
    ordered: list[Symbol], name_at: list[int], places: Mapping[Kind, int], data_at: int
) -> tuple[bytes, int]:
    table = bytes(24)
    for symbol, name in zip(ordered, name_at, strict=True):
        kind = Kind(symbol.kind)
        if kind is Kind.DATA:
            info, value, size = 0x11, data_at, _DATA_BYTES
            data_at += _DATA_BYTES
        else:
            info, value, size = 0x12, places[kind], 16
        table += struct.pack("<IBBHQQ", name, info, 0, 1, value, size)
    return table, data_at


def _up(value: int, to: int) -> int:
    return (value + to - 1) // to * to


def _header(code_end: int, dynamic_at: int, dynamic_bytes: int, writable_bytes: int) -> bytes:
    """ELF header and four program headers: code, data, dynamic, a stack that is not executable."""
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    head = ident + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, 4, 64, 0, 0)

    def segment(kind: int, flags: int, at: int, in_file: int, in_memory: int, align: int) -> bytes:
        return struct.pack("<IIQQQQQQ", kind, flags, at, at, at, in_file, in_memory, align)

    return (
        head
        + segment(1, 5, 0, code_end, code_end, _PAGE)
        + segment(1, 6, dynamic_at, dynamic_bytes, writable_bytes, _PAGE)
        + segment(2, 6, dynamic_at, dynamic_bytes, dynamic_bytes, 8)
        + segment(0x6474E551, 6, 0, 0, 0, 16)
    )
