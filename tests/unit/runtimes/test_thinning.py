"""Dropping GPU code: a sparse copy, never a change of the shared file."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from lifecycle.runtimes.thinning import gpu_code, thin

_START, _LENGTH = 5000, 300_000


def elf_with_gpu_code(path: Path, section: bytes = b".nv_fatbin") -> bytes:
    """An ELF head, a section of GPU code between two others, and a section table at the end."""
    names = b"\0" + section + b"\0.shstrtab\0"
    tail_at = _START + _LENGTH
    table_at = tail_at + 4096
    names_at = table_at + 3 * 64
    data = bytearray(os.urandom(tail_at + 4096))
    data[:64] = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, table_at, 0, 64, 56, 0, 64, 3, 2
    )
    data += bytes(64)
    data += struct.pack("<IIQQQQIIQQ", 1, 1, 0, 0, _START, _LENGTH, 0, 0, 1, 0)
    data += struct.pack("<IIQQQQIIQQ", 2 + len(section), 3, 0, 0, names_at, len(names), 0, 0, 1, 0)
    data += names
    path.write_bytes(data)
    path.chmod(0o755)
    return bytes(data)


def test_gpu_code_is_found_as_whole_pages_inside_its_section(tmp_path):
    elf_with_gpu_code(tmp_path / "lib.so")

    assert gpu_code(tmp_path / "lib.so") == (8192, 303104)


def test_only_the_gpu_code_is_gone_and_the_disk_gets_it_back(tmp_path):
    before = elf_with_gpu_code(tmp_path / "lib.so")

    saved = thin(tmp_path / "lib.so")

    after = (tmp_path / "lib.so").read_bytes()
    assert saved == 303104 - 8192
    assert after[:8192] + after[303104:] == before[:8192] + before[303104:]
    assert after[8192:303104] == bytes(saved)
    assert (tmp_path / "lib.so").stat().st_blocks * 512 < len(before) - saved + 16384
    assert (tmp_path / "lib.so").stat().st_mode & 0o777 == 0o755


def test_a_file_shared_by_hard_link_stays_as_it_is(tmp_path):
    before = elf_with_gpu_code(tmp_path / "cache.so")
    os.link(tmp_path / "cache.so", tmp_path / "lib.so")

    thin(tmp_path / "lib.so")

    assert (tmp_path / "cache.so").read_bytes() == before


def test_a_library_without_gpu_code_and_a_file_that_is_none_are_left_alone(tmp_path):
    before = elf_with_gpu_code(tmp_path / "plain.so", section=b".rodata")
    (tmp_path / "text.so").write_bytes(b"not a library")

    assert thin(tmp_path / "plain.so") == thin(tmp_path / "text.so") == 0
    assert (tmp_path / "plain.so").read_bytes() == before
