"""Recordings are told by content, read within bounds, and refused in one sentence."""

import io
import os
import struct
import sys

import numpy as np
import pytest

from engine.audio.io import AudioError, read_audio, sniff, write_wav


def chunk(tag, body, size=None):
    return tag + struct.pack("<I", len(body) if size is None else size) + body + b"\0" * (len(body) & 1)


def fmt(coding=1, channels=1, rate=16000, bits=16, align=None, extra=b""):
    block = channels * bits // 8 if align is None else align
    return chunk(
        b"fmt ",
        struct.pack("<HHIIHH", coding, channels, rate, rate * block & 0xFFFFFFFF, block, bits) + extra,
    )


def wav(*chunks, riff=b"RIFF"):
    body = b"".join(chunks)
    return riff + struct.pack("<I", (4 + len(body)) & 0xFFFFFFFF) + b"WAVE" + body


def put(tmp_path, content, name="x.wav"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


TONE = (np.sin(np.arange(800) / 7) * 0.5).astype(np.float32)


@pytest.mark.parametrize(
    ("coding", "bits", "encode", "step"),
    [
        (1, 8, lambda x: np.clip(np.rint(x * 128 + 128), 0, 255).astype(np.uint8).tobytes(), 1 / 128),
        (1, 16, lambda x: np.rint(x * 32768).astype("<i2").tobytes(), 1 / 32768),
        (
            1,
            24,
            lambda x: b"".join(int(v).to_bytes(3, "little", signed=True) for v in np.rint(x * 8388608)),
            1 / 8388608,
        ),
        (1, 32, lambda x: np.rint(x.astype(np.float64) * 2147483648).astype("<i4").tobytes(), 1e-7),
        (3, 32, lambda x: x.astype("<f4").tobytes(), 0),
        (3, 64, lambda x: x.astype("<f8").tobytes(), 0),
    ],
)
def test_each_width_of_wav_reads_back_to_within_one_step(tmp_path, coding, bits, encode, step):
    samples, rate = read_audio(put(tmp_path, wav(fmt(coding, bits=bits), chunk(b"data", encode(TONE)))))

    assert rate == 16000
    assert samples.dtype == np.float32
    assert np.abs(samples - TONE).max() <= step


def test_channels_are_averaged(tmp_path):
    stereo = np.stack([np.full(10, 8192), np.full(10, -4096)], axis=1).astype("<i2")
    samples, _ = read_audio(put(tmp_path, wav(fmt(channels=2), chunk(b"data", stereo.tobytes()))))
    assert np.allclose(samples, (0.25 - 0.125) / 2)


def test_an_extensible_header_and_unknown_chunks_are_read(tmp_path):
    guid = struct.pack("<HHI", 22, 16, 4) + struct.pack("<H", 1) + b"\0" * 14
    content = wav(
        chunk(b"LIST", b"odd"),
        fmt(0xFFFE, extra=guid),
        chunk(b"junk", b"1234"),
        chunk(b"data", b"\0\x40" * 5),
    )
    samples, _ = read_audio(put(tmp_path, content))
    assert samples.tolist() == [0.5] * 5


def test_a_stream_that_never_learned_its_length_is_read_to_the_end(tmp_path):
    content = wav(fmt(), chunk(b"data", b"\0\x40" * 5 + b"\1", size=0xFFFFFFFF))[:-1]
    samples, _ = read_audio(put(tmp_path, content))
    assert len(samples) == 5


def test_rf64_takes_its_length_from_ds64(tmp_path):
    data = b"\0\x40" * 6
    ds64 = chunk(b"ds64", struct.pack("<QQQI", 100, len(data), 6, 0))
    good = wav(ds64, fmt(), chunk(b"data", data, size=0xFFFFFFFF), riff=b"RF64")
    lying = wav(
        chunk(b"ds64", struct.pack("<QQQI", 100, 1 << 60, 6, 0)),
        fmt(),
        chunk(b"data", data, size=0xFFFFFFFF),
        riff=b"RF64",
    )
    bare = wav(fmt(), chunk(b"data", data, size=0xFFFFFFFF), riff=b"RF64")

    assert len(read_audio(put(tmp_path, good))[0]) == 6
    with pytest.raises(AudioError, match="truncated"):
        read_audio(put(tmp_path, lying))
    with pytest.raises(AudioError, match="ds64"):
        read_audio(put(tmp_path, bare))


FLAWED = {
    "empty": (b"", "is empty"),
    "header_only": (b"RIFF\0\0\0\0WAVE", "without samples"),
    "half_a_header": (b"RIFF\0\0\0\0WA", "not a recording"),
    "text": (b"It was the best of times", "not a recording"),
    "pickle": (b"\x80\x04\x95\x10", "not a recording"),
    "no_format": (wav(chunk(b"data", b"\0\0")), "before any format"),
    "no_samples": (wav(fmt(), chunk(b"data", b"")), "no samples"),
    "truncated": (wav(fmt(), chunk(b"data", b"\0\0" * 9, size=1000)), "truncated"),
    "half_a_frame": (wav(fmt(channels=2), chunk(b"data", b"\0\0\0\0\0\0")), "truncated"),
    "zero_channels": (wav(fmt(channels=0), chunk(b"data", b"\0\0")), "0 channels"),
    "many_channels": (wav(fmt(channels=65), chunk(b"data", b"\0\0" * 65)), "65 channels"),
    "huge_rate": (wav(fmt(rate=4_000_000_000, align=2), chunk(b"data", b"\0\0")), "4000000000 Hz"),
    "zero_rate": (wav(fmt(rate=0), chunk(b"data", b"\0\0")), "0 Hz"),
    "wrong_align": (wav(fmt(align=7), chunk(b"data", b"\0" * 14)), "contradicts"),
    "odd_width": (wav(fmt(bits=48), chunk(b"data", b"\0" * 12)), "48 bits"),
    "zero_width": (wav(fmt(bits=0), chunk(b"data", b"\0" * 12)), "0 bits"),
    "short_format": (wav(chunk(b"fmt ", b"\1\0\1\0"), chunk(b"data", b"\0\0")), "format chunk"),
    "nan": (wav(fmt(3, bits=32), chunk(b"data", struct.pack("<ff", 0, float("nan")))), "not finite"),
    "infinite": (wav(fmt(3, bits=64), chunk(b"data", struct.pack("<d", float("inf")))), "not finite"),
    "overflowing": (wav(fmt(3, bits=64), chunk(b"data", struct.pack("<d", 1e300))), "not finite"),
    "far_too_loud": (wav(fmt(3, bits=32), chunk(b"data", struct.pack("<f", 3e7))), "between -1 and 1"),
    "endless_chunks": (wav(chunk(b"junk", b"") * 5000), "without samples"),
    "chunk_beyond_the_end": (wav(chunk(b"junk", b"", size=0xFFFFFFF0)), "without samples"),
    "flac_of_nothing": (b"fLaC" + b"\0" * 60, "FLAC"),
    "ogg_of_nothing": (b"OggS" + b"\0" * 60, "OGG"),
}


@pytest.mark.parametrize("flaw", FLAWED)
def test_a_flawed_file_is_refused_by_name_and_reason(tmp_path, flaw):
    content, reason = FLAWED[flaw]
    with pytest.raises(AudioError, match=reason) as caught:
        read_audio(put(tmp_path, content, f"{flaw}.wav"))
    assert f'"{flaw}.wav"' in str(caught.value)
    assert not str(caught.value).endswith(".")
    assert caught.value.code == "bad_audio"


def test_a_missing_file_a_folder_and_a_pipe_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, reason in (("missing", "no such file"), ("", "regular file"), ("pipe", "regular file")):
        with pytest.raises(AudioError, match=reason):
            read_audio(tmp_path / name)


def test_a_huge_promise_costs_no_memory(tmp_path):
    path = tmp_path / "sparse.wav"
    with path.open("wb") as out:
        out.write(wav(fmt(bits=8), chunk(b"data", b"", size=0xF0000000)))
        out.truncate(0xF0000000 + 100)
    with pytest.raises(AudioError, match="at most"):
        read_audio(path)


@pytest.mark.parametrize(
    ("container", "subtype", "kind"),
    [("FLAC", "PCM_16", "flac"), ("OGG", "VORBIS", "ogg"), ("OGG", "OPUS", "ogg"), ("MP3", None, "mp3")],
)
def test_other_formats_are_read_whatever_the_name_says(tmp_path, container, subtype, kind):
    soundfile = pytest.importorskip("soundfile")
    if container not in soundfile.available_formats():
        pytest.skip(f"this libsndfile cannot write {container}")
    buffer = io.BytesIO()
    tone = 0.4 * np.sin(2 * np.pi * 440 * np.arange(48000) / 24000)
    soundfile.write(buffer, tone, 24000, format=container, subtype=subtype)
    path = put(tmp_path, buffer.getvalue(), "called.wav")

    samples, rate = read_audio(path)

    assert sniff(buffer.getvalue()[:64]) == kind
    assert rate == 24000
    assert abs(len(samples) - 48000) < 3000  # lossy coders add a little at the ends
    spectrum = np.abs(np.fft.rfft(samples[8000:32000]))
    assert abs(int(np.argmax(spectrum)) - 440) <= 1


def test_a_truncated_flac_is_refused(tmp_path):
    soundfile = pytest.importorskip("soundfile")
    buffer = io.BytesIO()
    soundfile.write(buffer, np.random.default_rng(0).normal(0, 0.1, 48000), 24000, format="FLAC")
    with pytest.raises(AudioError, match="cut"):
        read_audio(put(tmp_path, buffer.getvalue()[:20000], "cut.flac"))


def test_without_soundfile_the_message_names_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(AudioError, match="soundfile"):
        read_audio(put(tmp_path, b"fLaC" + b"\0" * 60))
    write_wav(tmp_path / "own.wav", TONE, 16000)
    assert len(read_audio(tmp_path / "own.wav")[0]) == len(TONE)


def test_writing_replaces_a_file_whole_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "out.wav"
    path.write_bytes(b"old")

    write_wav(path, TONE, 24000)

    samples, rate = read_audio(path)
    assert rate == 24000
    assert np.abs(samples - TONE).max() <= 1 / 65536
    assert [p.name for p in tmp_path.iterdir()] == ["out.wav"]


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "out.wav"
    path.write_bytes(b"old")

    def full(_):
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_wav(path, TONE, 24000)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["out.wav"]


@pytest.mark.parametrize(
    ("samples", "rate"),
    [
        (np.zeros((2, 2), np.float32), 16000),
        (np.zeros(4, np.int16), 16000),
        (np.array([np.nan], np.float32), 16000),
        (np.zeros(4, np.float32), 0),
        (np.zeros(4, np.float32), 10**9),
    ],
)
def test_what_is_no_recording_is_not_written(tmp_path, samples, rate):
    with pytest.raises(AudioError):
        write_wav(tmp_path / "x.wav", samples, rate)
    assert list(tmp_path.iterdir()) == []


def test_samples_beyond_full_scale_are_clipped_not_wrapped(tmp_path):
    write_wav(tmp_path / "x.wav", np.array([1.5, -1.5, 1.0], np.float32), 16000)
    samples, _ = read_audio(tmp_path / "x.wav")
    assert samples.tolist() == [32767 / 32768, -1.0, 32767 / 32768]
