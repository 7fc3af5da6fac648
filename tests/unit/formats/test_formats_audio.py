"""Recordings are told by content, and a cut one is noticed."""

import io

import numpy as np
import pytest
import soundfile

from lifecycle.formats import inspect
from tests.formats import build

SECONDS = 2.5


def look(data: bytes, name: str = "x"):
    return inspect(io.BytesIO(data), name=name, size=len(data))


def recorded(form: str, subtype: str | None = None, *, rate: int = 48_000, channels: int = 1) -> bytes:
    time = np.arange(int(SECONDS * rate)) / rate
    noise = np.random.default_rng(0).normal(0, 0.05, (len(time), channels))
    sound = 0.3 * np.sin(2 * np.pi * 220 * time)[:, None] + noise
    out = io.BytesIO()
    soundfile.write(out, sound, rate, format=form, subtype=subtype)
    return out.getvalue()


@pytest.mark.parametrize(
    ("form", "subtype", "rate", "channels", "codec"),
    [
        ("WAV", "PCM_16", 24_000, 1, "PCM 16 bit"),
        ("WAV", "PCM_24", 44_100, 2, "PCM 24 bit"),
        ("WAV", "FLOAT", 48_000, 1, "float 32 bit"),
        ("WAV", "ULAW", 8_000, 1, "mu-law"),
        ("WAVEX", "PCM_16", 44_100, 2, "PCM 16 bit"),
        ("RF64", "PCM_16", 48_000, 1, "PCM 16 bit"),
        ("FLAC", "PCM_16", 24_000, 1, "FLAC"),
        ("FLAC", "PCM_24", 96_000, 2, "FLAC"),
        ("MP3", None, 44_100, 2, "MP3"),
        ("MP3", None, 24_000, 1, "MP3"),
        ("OGG", "VORBIS", 44_100, 1, "Vorbis"),
        ("OGG", "OPUS", 48_000, 1, "Opus"),
    ],
)
def test_a_recording_is_told_by_its_content(form, subtype, rate, channels, codec):
    found = look(recorded(form, subtype, rate=rate, channels=channels))

    assert (found.kind, found.safe) == ("audio", True), found.error
    assert (found.facts["sample_rate"], found.facts["channels"], found.facts["codec"]) == (
        rate,
        channels,
        codec,
    )
    # MP3 pads both ends
    assert found.facts["seconds"] == pytest.approx(SECONDS, abs=0.1 if form == "MP3" else 0.001)


@pytest.mark.parametrize(
    ("form", "subtype"),
    [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("MP3", None), ("OGG", "VORBIS"), ("OGG", "OPUS")],
)
@pytest.mark.parametrize("part", [0.02, 0.5, 0.9])
def test_a_cut_recording_is_not_read(form, subtype, part):
    data = recorded(form, subtype)

    found = look(data[: int(len(data) * part)], "x.wav")

    assert found.safe is None or (form == "MP3" and found.facts["seconds"] < SECONDS)


def test_a_name_that_says_something_else_is_said():
    found = look(recorded("MP3"), "voice.wav")

    assert [finding.message for finding in found.findings] == ["is called .wav but holds MP3"]


def test_a_wav_from_a_pipe_reaches_to_its_end():
    data = bytearray(build.wav(1.0))
    at = data.index(b"data") + 4
    data[at : at + 4] = b"\xff" * 4

    found = look(bytes(data))

    assert found.facts["seconds"] == 1.0
    assert [finding.code for finding in found.findings] == ["length_untold"]


def test_a_tag_before_an_mp3_is_skipped():
    tag = b"ID3\x04\x00\x00\x00\x00\x01\x00" + b"\0" * 128

    assert look(tag + recorded("MP3")).facts["seconds"] == pytest.approx(SECONDS, abs=0.1)


@pytest.mark.parametrize("form", ["AIFF", "CAF"])
def test_other_kinds_are_not_read(form):
    assert look(recorded(form)).safe is None


@pytest.mark.parametrize(("at", "value"), [(22, 0), (24, 0), (32, 0), (34, 0), (20, 99)])
def test_a_wav_header_that_cannot_be_is_not_read(at, value):
    data = bytearray(build.wav(0.1))
    data[at : at + 2] = value.to_bytes(2, "little")
    if at == 24:
        data[26:28] = b"\0\0"

    assert look(bytes(data)).safe is None


def test_a_wav_without_sound_is_warned_of():
    assert [finding.code for finding in look(build.wav(0)).findings] == ["no_samples"]
