"""Frames of MP3 and FLAC: enough of their headers to walk them and to see where they end."""

from __future__ import annotations

from typing import Final

from lifecycle.formats.limits import KIB, MAX_NODES
from lifecycle.formats.model import Unread
from lifecycle.formats.source import Source

_TAIL: Final = 256 * KIB
_RATES: Final = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_KBITS_1: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_2: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_FLAC_SIZES: Final = {
    1: 192,
    **{code: 576 << (code - 2) for code in range(2, 6)},
    **{c: 1 << c for c in range(8, 16)},
}


def mp3_frame(header: bytes) -> tuple[int, int, int, int] | None:
    """Read a header of layer III: (bytes of the frame, samples, rate in Hz, channels), or None if it is none."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    bitrate, rate_code, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer != 1 or bitrate in (0, 15) or rate_code == 3:
        return None
    rate = _RATES[version][rate_code]
    samples = 1_152 if version == 3 else 576
    kbits = (_KBITS_1 if version == 3 else _KBITS_2)[bitrate]
    channels = 1 if header[3] >> 6 == 3 else 2
    return samples // 8 * kbits * 1_000 // rate + padding, samples, rate, channels


def is_mp3(head: bytes) -> bool:
    """Say whether the first bytes are two MP3 frames in a row."""
    first = mp3_frame(head[:4])
    if first is None:
        return False
    return len(head) <= first[0] + 4 or mp3_frame(head[first[0] : first[0] + 4]) is not None


def walk_mp3(source: Source) -> tuple[int, int, int]:
    """Walk all frames: (rate in Hz, channels, samples per channel).

    Raises:
        Unread: A frame is cut off, or something else lies between frames.
    """
    position, end = _without_tags(source)
    rate = channels = samples = 0
    for count in range(MAX_NODES):
        if position >= end:
            break
        frame = mp3_frame(source.at(position, 4)) if position + 4 <= end else None
        if frame is None or position + frame[0] > end or (rate and frame[2] != rate):
            # writers leave a cut last frame; anything more is damage
            if count and end - position < 2_048:
                break
            raise Unread("is an MP3 file that is cut off, or something lies between its frames")
        if count == 0:
            rate, channels = frame[2], frame[3]
            body = source.at(position, min(frame[0], 64))
            # the first frame of many writers is a table of contents without sound
            samples -= frame[1] if b"Xing" in body or b"Info" in body else 0
        samples += frame[1]
        position += frame[0]
    if not rate:
        raise Unread("is an MP3 file without frames")
    return rate, channels, max(0, samples)


def _without_tags(source: Source) -> tuple[int, int]:
    position, end = 0, source.size
    if source.size >= 10 and source.at(0, 3) == b"ID3":
        head = source.at(0, 10)
        if any(byte > 127 for byte in head[6:10]):
            raise Unread("has a tag whose length cannot be")
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        position = 10 + size + (10 if head[5] & 0x10 else 0)
    if end - position >= 128 and source.at(end - 128, 3) == b"TAG":
        end -= 128
    # padding between the tag and the first frame
    for _ in range(64 * KIB):
        if position + 4 > end or source.at(position, 1) != b"\0":
            break
        position += 1
    return position, end


def flac_end(source: Source, start: int, block: int) -> int | None:
    """Return how many samples the frames hold, told by the last whole frame; None where there is none.

    The last frame begins at the last header with a right CRC-8 from which the bytes to the end of the file
    have a right CRC-16.

    Args:
        source: The file.
        start: Where the frames begin.
        block: Samples per frame, for files whose frames are numbered instead of their samples.
    """
    base = max(start, source.size - _TAIL)
    tail = source.at(base, source.size - base)
    position, tries = len(tail), 0
    for _ in range(10_000):
        position = tail.rfind(b"\xff", 0, position)
        if position < 0 or tries > 50:
            return None
        found = _flac_header(tail[position : position + 16], block)
        if found is not None:
            tries += 1
            if _crc(tail[position:], _CRC16, 16) == 0:
                return found
    return None


def _flac_header(head: bytes, block: int) -> int | None:
    """Return the number of the sample behind a frame, for a header with a right CRC-8."""
    if len(head) < 6 or head[1] & 0xFE != 0xF8:
        return None
    variable, size_code, rate_code = head[1] & 1, head[2] >> 4, head[2] & 15
    number, used = _coded_number(head[4:])
    position = 4 + used
    extra = {6: 1, 7: 2}.get(size_code, 0)
    told = (
        int.from_bytes(head[position : position + extra], "big") + 1 if extra else _FLAC_SIZES.get(size_code)
    )
    position += extra + {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if not used or told is None or position >= len(head) or _crc(head[: position + 1], _CRC8, 8) != 0:
        return None
    return (number if variable else number * block) + told


def _coded_number(raw: bytes) -> tuple[int, int]:
    """Read a number coded like UTF-8, up to seven bytes: (number, bytes used), or (0, 0)."""
    first = raw[0]
    if first < 0x80:
        return first, 1
    length = next((n for n in range(2, 8) if first >> (7 - n) & 1 == 0), 0)
    if first < 0xC0 or not length or len(raw) < length:
        return 0, 0
    number = first & (1 << (7 - length)) - 1 if length < 7 else 0
    for byte in raw[1:length]:
        if byte & 0xC0 != 0x80:
            return 0, 0
        number = number << 6 | byte & 0x3F
    return number, length


def _table(polynomial: int, width: int) -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte << (width - 8)
        for _ in range(8):
            value = value << 1 ^ (polynomial if value >> (width - 1) & 1 else 0)
            value &= (1 << width) - 1
        table.append(value)
    return tuple(table)


_CRC8: Final = _table(0x07, 8)
_CRC16: Final = _table(0x8005, 16)


def _crc(data: bytes, table: tuple[int, ...], width: int) -> int:
    value, mask, shift = 0, (1 << width) - 1, width - 8
    for byte in data:
        value = (value << 8 & mask) ^ table[value >> shift ^ byte]
    return value
