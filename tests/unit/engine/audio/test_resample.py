"""Resampling keeps what both rates can hold, and nothing else."""

import numpy as np
import pytest

from engine.audio.backend import resample_with_torchaudio, torchaudio
from engine.audio.errors import AudioError
from engine.audio.resample import resample

RATES = [
    (48000, 24000),
    (24000, 48000),
    (44100, 24000),
    (22050, 24000),
    (16000, 24000),
    (24000, 16000),
    (8000, 24000),
]


def _tone(hz, rate, seconds=0.5):
    return np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate)


@pytest.mark.parametrize(("src", "dst"), RATES)
@pytest.mark.parametrize("share", [0.01, 0.3, 0.85])
def test_a_tone_in_the_pass_band_is_the_same_tone(src, dst, share):
    hz = share * min(src, dst) / 2
    out = resample(_tone(hz, src), src, dst)
    inner = slice(len(out) // 4, -len(out) // 4)
    assert np.abs(out - _tone(hz, dst)[: len(out)])[inner].max() < 1e-4


@pytest.mark.parametrize(("src", "dst"), [(48000, 24000), (44100, 24000), (24000, 16000)])
def test_what_the_lower_rate_cannot_hold_is_gone(src, dst):
    out = resample(_tone(1.02 * dst / 2, src), src, dst)
    inner = slice(len(out) // 4, -len(out) // 4)
    assert np.abs(out[inner]).max() < 1e-3


def test_nothing_appears_above_the_old_nyquist():
    x = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
    spectrum = np.abs(np.fft.rfft(resample(x, 8000, 24000) * np.hanning(24000)))
    assert 20 * np.log10(spectrum[4200:].max() / spectrum[:3400].max()) < -70


@pytest.mark.parametrize(("src", "dst"), [*RATES, (44101, 24000), (999, 1000)])
@pytest.mark.parametrize("n", [1, 2, 1000])
def test_the_length_follows_the_rates(src, dst, n):
    assert len(resample(np.ones(n, np.float32), src, dst)) == -(-n * dst // src)


def test_a_constant_stays_that_constant_at_rates_without_a_common_factor():
    out = resample(np.full(9000, 0.25, np.float32), 44101, 24000)
    assert np.abs(out[200:-200] - 0.25).max() < 1e-5


def test_time_zero_stays_at_time_zero():
    x = np.zeros(4000, np.float32)
    x[1000] = 1.0
    assert int(np.argmax(resample(x, 16000, 48000))) == 3000


def test_equal_rates_give_a_copy_and_nothing_gives_nothing():
    x = np.ones(5, np.float32)
    out = resample(x, 16000, 16000)
    out[0] = 0
    assert x[0] == 1
    assert len(resample(np.zeros(0, np.float32), 16000, 8000)) == 0


@pytest.mark.parametrize("rate", [0, -5, 10**7])
def test_rates_that_no_recording_has_are_refused(rate):
    with pytest.raises(AudioError):
        resample(np.ones(4, np.float32), rate, 16000)


def test_two_channels_are_refused():
    with pytest.raises(AudioError):
        resample(np.ones((4, 2), np.float32), 8000, 16000)


def test_torchaudio_agrees_where_it_loads():
    if torchaudio() is None:
        with pytest.raises(AudioError, match="does not load"):
            resample_with_torchaudio(np.ones(4, np.float32), 8000, 16000)
        pytest.skip("torchaudio does not load here")
    x = _tone(500, 44100).astype(np.float32)
    assert (
        np.abs(resample(x, 44100, 24000) - resample_with_torchaudio(x, 44100, 24000))[500:-500].max() < 1e-3
    )
