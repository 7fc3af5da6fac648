"""Rules of reading, writing and resampling that hold for any input."""

import struct

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from engine.audio.io import AudioError, read_audio, write_wav
from engine.audio.mel import reflected
from engine.audio.resample import resample
from engine.audio.slice import speech_segments

RATES = st.sampled_from([8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000])
SAMPLES = arrays.arrays(
    np.float32, st.integers(1, 2000), elements=st.floats(-1, 1, width=32, allow_subnormal=False)
)


@given(samples=SAMPLES, rate=st.integers(1000, 768000))
def test_what_was_written_is_read_to_within_half_a_step(tmp_path_factory, samples, rate):
    path = tmp_path_factory.mktemp("w") / "x.wav"
    write_wav(path, samples, rate)
    back, back_rate = read_audio(path)
    assert back_rate == rate
    assert np.abs(back - np.clip(samples, -1, 32767 / 32768)).max() <= 1 / 65536 + 1e-7


def _valid() -> bytes:
    data = np.arange(-200, 200, dtype="<i2").tobytes()
    fmt = struct.pack("<HHIIHH", 1, 2, 16000, 64000, 4, 16)
    return (
        b"RIFF"
        + struct.pack("<I", 36 + len(data))
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + fmt
        + b"data"
        + struct.pack("<I", len(data))
        + data
    )


@settings(max_examples=300)
@given(
    edits=st.lists(st.tuples(st.integers(0, 59), st.integers(0, 255)), max_size=6),
    keep=st.integers(0, 844),
    tail=st.binary(max_size=40),
)
def test_a_damaged_wav_is_read_within_its_own_bytes_or_refused(tmp_path_factory, edits, keep, tail):
    content = bytearray(_valid())
    for at, value in edits:
        content[at] = value
    content = content[:keep] + tail
    path = tmp_path_factory.mktemp("w") / "x.wav"
    path.write_bytes(bytes(content))
    try:
        samples, rate = read_audio(path)
    except AudioError:
        return
    assert 1 <= len(samples) <= len(content)
    assert 1000 <= rate <= 768000
    assert bool(np.isfinite(samples).all())


@given(
    content=st.binary(max_size=200),
    head=st.sampled_from([b"", b"RIFF\0\0\0\0WAVE", b"RF64\0\0\0\0WAVE", b"fLaC", b"OggS", b"ID3"]),
)
def test_arbitrary_bytes_never_crash_the_reader(tmp_path_factory, head, content):
    path = tmp_path_factory.mktemp("w") / "x.wav"
    path.write_bytes(head + content)
    try:
        samples, _ = read_audio(path)
    except AudioError:
        return
    assert len(samples) > 0


@given(x=SAMPLES, y=SAMPLES, src=RATES, dst=RATES, gain=st.floats(-4, 4))
@settings(deadline=None)
def test_resampling_is_linear(x, y, src, dst, gain):
    n = min(len(x), len(y))
    together = resample(x[:n] * np.float32(gain) + y[:n], src, dst)
    apart = np.float32(gain) * resample(x[:n], src, dst) + resample(y[:n], src, dst)
    assert np.allclose(together, apart, atol=2e-4)


@given(x=SAMPLES, src=RATES, dst=RATES)
@settings(deadline=None)
def test_resampling_never_reads_beyond_the_signal(x, src, dst):
    out = resample(x, src, dst)
    assert len(out) == -(-len(x) * dst // src)
    assert bool(np.isfinite(out).all())
    assert np.abs(out).max() <= 2.0 * max(1e-6, float(np.abs(x).max())) + 1e-5


@given(seed=st.integers(0, 1000), src=RATES, dst=RATES)
@settings(deadline=None, max_examples=30)
def test_up_and_down_again_gives_the_same_sound(seed, src, dst):
    if dst < src:
        src, dst = dst, src
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(0, 0.2, 4000))
    spectrum[1700:] = 0  # within the pass band: 0.85 of Nyquist
    x = np.fft.irfft(spectrum).astype(np.float32)
    back = resample(resample(x, src, dst), dst, src)[: len(x)]
    assert np.abs(back - x)[400:-400].max() < 2e-3


@given(n=st.integers(1, 50), before=st.integers(0, 200), after=st.integers(0, 200))
def test_mirroring_agrees_with_numpy(n, before, after):
    x = np.arange(n)
    theirs = np.pad(x, (before, after), mode="reflect" if n > 1 else "edge")
    assert np.array_equal(x[reflected(n, before, after)], theirs)


@given(
    spans=st.lists(st.tuples(st.floats(0, 3), st.floats(0.01, 1)), max_size=5),
    noise=st.floats(0, 0.05),
)
@settings(deadline=None)
def test_segments_are_ordered_apart_and_inside(spans, noise):
    x = np.random.default_rng(0).normal(0, noise, 32000)
    for start, length in spans:
        part = slice(int(start * 8000), int((start + length) * 8000))
        x[part] += 0.3 * np.sin(np.arange(part.stop - part.start)[: len(x[part])] / 5)
    found = speech_segments(x, 8000)
    flat = [t for span in found for t in span]
    assert flat == sorted(flat)
    assert all(0 <= t <= 4.0 for t in flat)
    assert all(end - start >= 0.1 for start, end in found)
