"""Recordings in, recordings out. What a file is, is told by its content, never by its name."""

from __future__ import annotations

import contextlib
import os
import stat
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from engine.audio.errors import AudioError
from engine.audio.wav import MAX_FRAMES, MAX_RATE_HZ, MIN_RATE_HZ, check_shape, read_wav

if TYPE_CHECKING:
    import soundfile

__all__ = ["AudioError", "read_audio", "sniff", "write_wav"]

MAX_FILE_BYTES = 1 << 32
MAX_PEAK = 64.0  # float files may pass full scale; beyond this they are not audio in [-1, 1]
_BLOCK_FRAMES = 1 << 16


def sniff(head: bytes) -> str | None:
    """Name the container that a file's first bytes show: wav, flac, ogg, mp3, aiff, or None."""
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    if head[:4] == b"fLaC":
        return "flac"
    if head[:4] == b"OggS":
        return "ogg"
    # an MPEG frame: 11 sync bits, then a version and a layer that are not reserved
    sync = len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0
    if head[:3] == b"ID3" or (sync and head[1] & 0x18 != 0x08 and head[1] & 0x06 != 0):
        return "mp3"
    return None


def read_audio(path: Path | str) -> tuple[NDArray[np.float32], int]:
    """Read a recording and mix it down to mono.

    WAV (PCM of 8 to 32 bits, float) is read by our own bounded reader; FLAC, MP3, Ogg Vorbis, Opus and AIFF
    by the package soundfile, if it is installed.

    Args:
        path: A regular file of at most 4 GiB and 93 minutes (at 48 kHz).

    Returns:
        Samples (N,), finite, N > 0, and the rate in Hz that the file declares.

    Raises:
        AudioError: Missing, empty, truncated, hostile or not audio; its message gives the file's name.
    """
    path = Path(path)
    name = path.name
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            raise AudioError(f'"{name}" is empty')
        if size > MAX_FILE_BYTES:
            raise AudioError(f'"{name}" has {size} bytes; at most {MAX_FILE_BYTES} are read')
        head = file.read(64)
        kind = sniff(head)
        if kind is None:
            raise AudioError(f'"{name}" is not a recording: neither WAV, FLAC, MP3, Ogg nor AIFF')
        decoded = read_wav(file, name, size) if kind == "wav" else None
        if decoded is None:
            file.seek(0)
            decoded = _read_with_soundfile(file, name, kind)
    samples, rate_hz = decoded
    return _checked(samples, name), rate_hz


def write_wav(path: Path | str, samples: NDArray[np.floating[Any]], rate: int) -> None:
    """Write mono samples as 16-bit PCM, clipped to full scale; the file appears whole or not at all.

    Args:
        path: Replaced if it exists.
        samples: (N,) in [-1, 1], finite.
        rate: Sampling rate in Hz.

    Raises:
        AudioError: Wrong rank, a non-finite value, or a rate that no recording has.
    """
    path = Path(path)
    values = np.asarray(samples)
    if values.ndim != 1 or not np.issubdtype(values.dtype, np.floating):
        raise AudioError(f"samples must be one row of floats, not {values.dtype} of shape {values.shape}")
    if not bool(np.isfinite(values).all()):
        raise AudioError("samples hold values that are not finite")
    if not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:
        raise AudioError(f"{rate} Hz is not a sampling rate")
    if len(values) > MAX_FRAMES:
        raise AudioError(f"{len(values)} samples are too many for one file; at most {MAX_FRAMES}")
    pcm = np.clip(np.rint(values.astype(np.float64) * 32768.0), -32768, 32767).astype("<i2").tobytes()
    fmt = struct.pack("<HHIIHH", 1, 1, rate, rate * 2, 2, 16)
    header = b"RIFF" + struct.pack("<I", 36 + len(pcm)) + b"WAVEfmt " + struct.pack("<I", 16) + fmt
    _write_atomic(path, header + b"data" + struct.pack("<I", len(pcm)) + pcm)


def _opened(path: Path) -> BinaryIO:
    """Open a regular file; a pipe or a device would block or never end."""
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise AudioError(f'"{path.name}" cannot be opened: {reason.lower()}') from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise AudioError(f'"{path.name}" is not a regular file')
    return os.fdopen(fd, "rb")


def _checked(samples: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    """Refuse what no later step can use: nothing, NaN, infinity, values far out of range."""
    if len(samples) == 0:
        raise AudioError(f'"{name}" holds no samples')
    peak = float(np.max(np.abs(samples)))  # NaN and infinity survive max
    if not np.isfinite(peak):
        raise AudioError(f'"{name}" holds values that are not finite')
    if peak > MAX_PEAK:
        raise AudioError(f'"{name}" holds values up to {peak:.3g}; audio lies between -1 and 1')
    return samples


def _read_with_soundfile(file: BinaryIO, name: str, kind: str) -> tuple[NDArray[np.float32], int]:
    """Decode by libsndfile, block by block, so that a small file cannot unpack into all memory."""
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: the package is there, its library is not
        raise AudioError(f'"{name}" is {kind.upper()}; reading it needs the package soundfile') from error
    try:
        with soundfile.SoundFile(file) as sound:
            check_shape(name, sound.channels, sound.samplerate)
            samples = _drain(sound, name)
            promised = int(sound.frames)
            rate_hz = int(sound.samplerate)
    except soundfile.LibsndfileError as error:
        reason = str(error.error_string).strip().rstrip(".").lower()
        raise AudioError(f'"{name}" is not readable as {kind.upper()}: {reason}') from error
    if kind == "flac" and len(samples) < promised < MAX_FRAMES:
        raise AudioError(f'"{name}" is truncated: {len(samples)} of {promised} frames are there')
    return samples, rate_hz


def _drain(sound: soundfile.SoundFile, name: str) -> NDArray[np.float32]:
    blocks: list[NDArray[np.float32]] = []
    total = 0
    while True:
        block = sound.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)
        if len(block) == 0:
            break
        total += len(block)
        if total > MAX_FRAMES:
            raise AudioError(f'"{name}" has more than {MAX_FRAMES} frames')
        blocks.append(block.mean(axis=1, dtype=np.float32))
    return np.concatenate(blocks) if blocks else np.zeros(0, dtype=np.float32)


def _write_atomic(path: Path, content: bytes) -> None:
    """Write beside the target, flush to disk, rename, flush the folder."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:40]}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
