"""A bounded reader for WAV files that believes no header. Source: RIFF MCI 1.0, EBU Tech 3306 (RF64)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from engine.audio.errors import AudioError

MAX_FRAMES = 1 << 28  # 93 minutes at 48 kHz, 1 GiB as float32
MAX_CHANNELS = 64
MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 768_000
PCM, IEEE_FLOAT, EXTENSIBLE = 0x0001, 0x0003, 0xFFFE
_UNKNOWN_SIZE = 0xFFFFFFFF  # what programs write that stream to a pipe, and RF64 always
_MAX_CHUNKS = 1_000
_BLOCK_FRAMES = 1 << 18


@dataclass(frozen=True, slots=True)
class WavFormat:
    """What a `fmt ` chunk says, checked.

    Attributes:
        coding: PCM or IEEE_FLOAT, or another tag that this reader does not decode.
        channels: 1 to MAX_CHANNELS.
        rate_hz: Declared sampling rate.
        sample_bytes: Bytes of one sample of one channel.
    """

    coding: int
    channels: int
    rate_hz: int
    sample_bytes: int

    @property
    def known(self) -> bool:
        """Tell whether this reader decodes the coding at that width."""
        widths = {PCM: (1, 2, 3, 4), IEEE_FLOAT: (4, 8)}
        return self.sample_bytes in widths.get(self.coding, ())


def check_shape(name: str, channels: int, rate_hz: int) -> None:
    """Refuse channel counts and rates that no recording has.

    Raises:
        AudioError: Outside 1..MAX_CHANNELS or MIN_RATE_HZ..MAX_RATE_HZ.
    """
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(f'"{name}" declares {channels} channels')
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise AudioError(f'"{name}" declares a sampling rate of {rate_hz} Hz')


def read_wav(file: BinaryIO, name: str, size: int) -> tuple[NDArray[np.float32], int] | None:
    """Decode an open WAV file to mono.

    Args:
        file: Seekable, opened in binary mode.
        name: Name for messages.
        size: Bytes of the file; no chunk is believed to be longer.

    Returns:
        Samples (N,) and rate in Hz, or None for a coding that this reader does not know (A-law, ADPCM).

    Raises:
        AudioError: A header that lies, truncated or empty data, no format, an absurd shape.
    """
    fmt, start, n_bytes = _find_data(file, name, size)
    if not fmt.known:
        return None
    frame_bytes = fmt.channels * fmt.sample_bytes
    n_frames, rest = divmod(n_bytes, frame_bytes)
    if n_frames == 0:
        raise AudioError(f'"{name}" holds no samples')
    if rest:
        raise AudioError(f'"{name}" is truncated: its last frame has {rest} of {frame_bytes} bytes')
    if n_frames > MAX_FRAMES:
        raise AudioError(f'"{name}" has {n_frames} frames; at most {MAX_FRAMES} are read')
    file.seek(start)
    out = np.empty(n_frames, dtype=np.float32)
    for at in range(0, n_frames, _BLOCK_FRAMES):
        count = min(_BLOCK_FRAMES, n_frames - at)
        raw = file.read(count * frame_bytes)
        if len(raw) != count * frame_bytes:
            raise AudioError(f'"{name}" is truncated: it became shorter while it was read')
        block = _decode(raw, fmt).reshape(count, fmt.channels)
        out[at : at + count] = block[:, 0] if fmt.channels == 1 else block.mean(axis=1)
    return out, fmt.rate_hz


def _find_data(file: BinaryIO, name: str, size: int) -> tuple[WavFormat, int, int]:
    """Walk the chunks; return the format, where the samples start and how many bytes they are."""
    file.seek(0)
    head = file.read(12)
    if len(head) < 12:
        raise AudioError(f'"{name}" is truncated: it has {size} bytes, a WAV header needs 44')
    wide = head[:4] in (b"RF64", b"BW64")
    fmt: WavFormat | None = None
    data_size_64: int | None = None
    at = 12
    for _ in range(_MAX_CHUNKS):
        file.seek(at)
        header = file.read(8)
        if len(header) < 8:
            break
        tag, length = header[:4], struct.unpack("<I", header[4:])[0]
        at += 8
        if tag == b"ds64" and wide:
            data_size_64 = _ds64(file.read(min(length, 28)), name)
        elif tag == b"fmt ":
            fmt = _parse_fmt(file.read(min(length, 40)), name)
        elif tag == b"data":
            if fmt is None:
                raise AudioError(f'"{name}" has samples before any format')
            if length == _UNKNOWN_SIZE:
                length = _streamed_length(data_size_64, size - at, fmt, wide=wide, name=name)
            if length > size - at:
                raise AudioError(
                    f'"{name}" is truncated: {length} bytes of samples promised, {size - at} there'
                )
            return fmt, at, length
        at += length + (length & 1)  # chunks are padded to even sizes
    raise AudioError(f'"{name}" is a WAV file without samples')


def _ds64(body: bytes, name: str) -> int:
    if len(body) < 24:
        raise AudioError(f'"{name}" has a broken ds64 chunk')
    return int(struct.unpack("<Q", body[8:16])[0])


def _streamed_length(promised: int | None, left: int, fmt: WavFormat, *, wide: bool, name: str) -> int:
    """Bytes of samples where the 32-bit size says nothing: from ds64, else whole frames to the end."""
    if wide:
        if promised is None:
            raise AudioError(f'"{name}" is an RF64 file without its ds64 chunk')
        return promised
    frame_bytes = max(1, fmt.channels * fmt.sample_bytes)
    return left - left % frame_bytes


def _parse_fmt(body: bytes, name: str) -> WavFormat:
    if len(body) < 16:
        raise AudioError(f'"{name}" has a format chunk of {len(body)} bytes')
    coding, channels, rate_hz, _, align, bits = struct.unpack("<HHIIHH", body[:16])
    if coding == EXTENSIBLE:
        if len(body) < 26:
            raise AudioError(f'"{name}" has an extensible format chunk of {len(body)} bytes')
        coding = struct.unpack("<H", body[24:26])[0]
    check_shape(name, channels, rate_hz)
    sample_bytes = (bits + 7) // 8
    if coding in (PCM, IEEE_FLOAT) and align != channels * sample_bytes:
        raise AudioError(f'"{name}" contradicts itself: {channels} channels of {bits} bits in {align} bytes')
    if coding in (PCM, IEEE_FLOAT) and not WavFormat(coding, channels, rate_hz, sample_bytes).known:
        raise AudioError(f'"{name}" has samples of {bits} bits, which is not a WAV width')
    return WavFormat(coding, channels, rate_hz, sample_bytes)


def _decode(raw: bytes, fmt: WavFormat) -> NDArray[np.float32]:
    """Samples in file order as float32; integers are scaled so that full scale is 1."""
    if fmt.coding == IEEE_FLOAT:
        values = np.frombuffer(raw, dtype="<f4" if fmt.sample_bytes == 4 else "<f8")
        with np.errstate(over="ignore", invalid="ignore"):
            return values.astype(np.float32)
    if fmt.sample_bytes == 1:
        return (np.frombuffer(raw, dtype=np.uint8).astype(np.float32) - 128.0) / 128.0
    if fmt.sample_bytes == 2:
        return np.frombuffer(raw, dtype="<i2").astype(np.float32) / 32768.0
    if fmt.sample_bytes == 4:
        return (np.frombuffer(raw, dtype="<i4").astype(np.float64) / 2147483648.0).astype(np.float32)
    parts = np.frombuffer(raw, dtype=np.uint8).reshape(-1, 3).astype(np.int32)
    joined = parts[:, 0] | (parts[:, 1] << 8) | (parts[:, 2] << 16)
    signed = (joined ^ 0x800000) - 0x800000  # sign extension of 24 bits
    return signed.astype(np.float32) / 8388608.0
