"""Recordings by their content: WAV, FLAC, MP3, Ogg Vorbis and Opus; headers and frames are walked, not decoded.

Sources: RIFF/WAVE and RF64 (EBU Tech 3306), RFC 9639 (FLAC), RFC 3533 (Ogg), RFC 7845 (Opus), ISO 11172-3.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from lifecycle.formats import frames
from lifecycle.formats.limits import MAX_NODES
from lifecycle.formats.model import Finding, Inspection, Unread
from lifecycle.formats.source import Source

_NAMES: Final = {
    ".wav": "WAV", ".wave": "WAV", ".flac": "FLAC", ".mp3": "MP3", ".ogg": "Ogg", ".oga": "Ogg", ".opus": "Opus",
}  # fmt: skip
_PCM, _FLOAT, _ALAW, _MULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_UNTOLD: Final = 0xFFFFFFFF
_FOREIGN: Final = {
    b"ftyp": (4, "MP4 or M4A"),
    b"FORM": (0, "AIFF"),
    b"\x1aE\xdf\xa3": (0, "WebM or Matroska"),
}


@dataclass(frozen=True, slots=True)
class Sound:
    """What a recording says of itself: rate in Hz, length in samples per channel (None where it is not told)."""

    form: str
    codec: str
    rate: int
    channels: int
    samples: int | None
    bits: int | None = None


def looks_like(head: bytes) -> bool:
    """Say whether the first bytes begin a recording of any known kind."""
    known = head[:4] in (b"RIFF", b"RF64", b"fLaC", b"OggS") or head[:3] == b"ID3" or frames.is_mp3(head)
    return known or _foreign(head) is not None


def read(source: Source, name: str) -> Inspection:
    """Inspect a recording; nothing in these formats can run.

    Raises:
        Unread: It is cut off, contradicts itself, or is of a kind that is not read here.
    """
    try:
        sound, findings = _sound(source)
    except Unread as unread:
        raise Unread(unread.reason, kind="audio") from None
    if not 1_000 <= sound.rate <= 768_000 or not 1 <= sound.channels <= 64:
        raise Unread(f"has {sound.channels} channels at {sound.rate} Hz, which cannot be", kind="audio")
    if sound.samples == 0:
        findings.append(Finding("warning", "no_samples", "holds no sound"))
    form = sound.form if sound.form != "Ogg" else f"Ogg {sound.codec}"
    suffix = f".{name.rpartition('.')[2].lower()}"
    called = _NAMES.get(suffix)
    if called is not None and called not in (sound.form, sound.codec):
        findings.append(Finding("info", "name_disagrees", f"is called {suffix} but holds {form}"))
    seconds = sound.samples / sound.rate if sound.samples is not None else None
    facts: dict[str, object] = {
        "format": sound.form,
        "codec": sound.codec,
        "sample_rate": sound.rate,
        "channels": sound.channels,
        "seconds": None if seconds is None else round(seconds, 3),
        "samples": sound.samples,
        "bits": sound.bits,
    }
    width = {1: "mono", 2: "stereo"}.get(sound.channels, f"{sound.channels} channels")
    length = "length unknown" if seconds is None else _duration(seconds)
    what = f"{form}, {length}, {sound.rate / 1000:g} kHz, {width}"
    return Inspection(
        "audio", safe=True, findings=tuple(findings), facts=facts, summary=f"{what}     sound only"
    )


def _sound(source: Source) -> tuple[Sound, list[Finding]]:
    head = source.at(0, min(64, source.size))
    if head[:4] in (b"RIFF", b"RF64"):
        return _wav(source)
    if head[:4] == b"fLaC":
        return _flac(source)
    if head[:4] == b"OggS":
        return _ogg(source), []
    foreign = _foreign(head)
    if foreign is not None:
        raise Unread(f"is a recording in {foreign}, which is not read here; WAV, FLAC, MP3, Ogg and Opus are")
    rate, channels, samples = frames.walk_mp3(source)
    return Sound("MP3", "MP3", rate, channels, samples), []


def _foreign(head: bytes) -> str | None:
    for mark, (offset, word) in _FOREIGN.items():
        if head[offset : offset + len(mark)] == mark:
            return word
    return None


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


# WAV


def _wav(source: Source) -> tuple[Sound, list[Finding]]:
    if source.at(8, 4) != b"WAVE":
        raise Unread("is a RIFF file that holds no sound")
    wide: int | None = None
    layout: tuple[int, int, int, int, int] | None = None
    position = 12
    for _ in range(1_000):
        if position + 8 > source.size:
            break
        mark, size = struct.unpack("<4sI", source.at(position, 8))
        body = position + 8
        if mark == b"ds64" and size >= 28:
            wide = struct.unpack("<Q", source.at(body + 8, 8))[0]
        elif mark == b"fmt ":
            if layout is not None:
                raise Unread("tells its format twice")
            layout = _wav_format(source, body, size)
        elif mark == b"data":
            if layout is None:
                raise Unread("holds samples before it tells their format")
            length = wide if size == _UNTOLD and wide is not None else size
            return _wav_data(source, layout, body, length)
        position = body + size + size % 2
    raise Unread("is a WAV file without samples, or it is cut off")


def _wav_format(source: Source, body: int, size: int) -> tuple[int, int, int, int, int]:
    if not 16 <= size <= 4_096:
        raise Unread("has a format that cannot be")
    codec, channels, rate, _, align, bits = struct.unpack("<HHIIHH", source.at(body, 16))
    if codec == _EXTENSIBLE:
        if size < 40:
            raise Unread("has a format that cannot be")
        codec = struct.unpack("<H", source.at(body + 24, 2))[0]
    if codec not in (_PCM, _FLOAT, _ALAW, _MULAW):
        raise Unread(f"is a WAV file whose samples are coded in a way that is not read here ({codec})")
    if align == 0 or bits == 0 or align != channels * ((bits + 7) // 8):
        raise Unread("has a format that contradicts itself")
    return codec, channels, rate, align, bits


def _wav_data(
    source: Source, layout: tuple[int, int, int, int, int], body: int, length: int
) -> tuple[Sound, list[Finding]]:
    codec, channels, rate, align, bits = layout
    findings: list[Finding] = []
    held = source.size - body
    if length in (_UNTOLD, 0) and held:
        findings.append(
            Finding("info", "length_untold", "does not tell its length, as when written to a pipe")
        )
        length = held
    if length > held:
        raise Unread(f"is cut off: it holds {held} of {length} bytes of sound")
    word = {_PCM: f"PCM {bits} bit", _FLOAT: f"float {bits} bit", _ALAW: "A-law", _MULAW: "mu-law"}[codec]
    return Sound("WAV", word, rate, channels, length // align, bits), findings


# FLAC


def _flac(source: Source) -> tuple[Sound, list[Finding]]:
    position, block = 4, 0
    sound: Sound | None = None
    for _ in range(1_000):
        word = int.from_bytes(source.at(position, 4), "big")
        last, kind, size = word >> 31, word >> 24 & 0x7F, word & 0xFFFFFF
        if position == 4:
            if kind != 0 or size != 34:
                raise Unread("is a FLAC file that does not begin with its description")
            block = int.from_bytes(source.at(position + 6, 2), "big")
            packed = int.from_bytes(source.at(position + 14, 8), "big")
            rate, channels = packed >> 44, (packed >> 41 & 7) + 1
            bits, samples = (packed >> 36 & 31) + 1, packed & (1 << 36) - 1
            sound = Sound("FLAC", "FLAC", rate, channels, samples or None, bits)
        position += 4 + size
        if position > source.size:
            raise Unread("is a FLAC file that is cut off")
        if last:
            break
    else:
        raise Unread("is a FLAC file whose description does not end")
    assert sound is not None
    end = frames.flac_end(source, position, block)
    if sound.samples is not None and end != sound.samples:
        raise Unread(f"is cut off: it holds {end or 'none'} of {sound.samples} samples")
    return sound, []


# Ogg


def _ogg(source: Source) -> Sound:
    sound: Sound | None = None
    serial, granule, skip, position, flags = b"", 0, 0, 0, 0
    for count in range(MAX_NODES):
        if position >= source.size:
            break
        header = source.at(position, 27) if position + 27 <= source.size else b""
        if header[:5] != b"OggS\0":
            raise Unread("is an Ogg file that is cut off, or something else follows its pages")
        table = source.at(position + 27, header[26])
        size = 27 + header[26] + sum(table)
        if position + size > source.size:
            raise Unread("is an Ogg file that is cut off")
        if count == 0:
            serial = header[14:18]
            sound, skip = _ogg_start(source.at(position + 27 + header[26], min(64, sum(table))))
        if header[14:18] != serial:
            raise Unread("is an Ogg file of several streams, which is not read here")
        here = struct.unpack("<q", header[6:14])[0]
        granule, flags = (here if here > 0 else granule), header[5]
        position += size
    if sound is None or not flags & 4:
        raise Unread("is an Ogg file that is cut off: its last page is missing")
    return Sound(sound.form, sound.codec, sound.rate, sound.channels, max(0, granule - skip))


def _ogg_start(packet: bytes) -> tuple[Sound, int]:
    if packet[:7] == b"\x01vorbis" and len(packet) >= 16:
        channels, rate = packet[11], struct.unpack("<I", packet[12:16])[0]
        return Sound("Ogg", "Vorbis", rate, channels, None), 0
    if packet[:8] == b"OpusHead" and len(packet) >= 19:
        # Opus always counts at 48 kHz; the first samples are there to warm up the decoder
        return Sound("Ogg", "Opus", 48_000, packet[9], None), struct.unpack("<H", packet[10:12])[0]
    if packet[:5] == b"\x7fFLAC":
        raise Unread("is FLAC in Ogg, which is not read here")
    raise Unread("is an Ogg file that holds neither Vorbis nor Opus")
