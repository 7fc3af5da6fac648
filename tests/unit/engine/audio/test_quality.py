"""Noise, clipping and bandwidth against signals that were spoilt by a known amount."""

import numpy as np
import pytest

from engine.audio.errors import AudioError
from engine.audio.quality import bandwidth_hz, clipped_share, snr_db
from engine.audio.resample import resample
from engine.audio.slice import speech_segments

RATE = 24000


def speechlike(seconds=6.0, rate=RATE, seed=0):
    """Bursts of noise, spectrum falling with frequency, with pauses."""
    rng = np.random.default_rng(seed)
    n = int(seconds * rate)
    spectrum = np.fft.rfft(rng.normal(0, 1, n))
    hz = np.fft.rfftfreq(n, 1 / rate)
    x = np.fft.irfft(spectrum / (1 + (hz / 700) ** 1.5), n)
    t = np.arange(n) / rate
    x *= np.where((t % 1.5) < 0.9, 1.0, 0.0) * (1 + 0.8 * np.sin(2 * np.pi * 4 * t))
    return (0.1 * x / x.std()).astype(np.float32)


@pytest.mark.parametrize("truth", [10, 20, 40])
def test_noise_of_a_known_level_is_measured(truth):
    x = speechlike()
    speech_power = float(np.mean(x[np.abs(x) > 0] ** 2))
    noisy = x + np.random.default_rng(1).normal(0, np.sqrt(speech_power) * 10 ** (-truth / 20), len(x))

    found = snr_db(noisy, RATE, speech_segments(noisy, RATE))

    assert found == pytest.approx(truth, abs=2.5)


def test_without_speech_there_is_no_ratio():
    assert snr_db(np.zeros(RATE), RATE, []) is None


def test_digital_silence_does_not_give_an_infinite_ratio():
    x = speechlike()
    found = snr_db(x, RATE, speech_segments(x, RATE))
    assert found is not None
    assert 3 < found <= 90


@pytest.mark.parametrize("gain", [1.0, 0.05])
@pytest.mark.parametrize("both_sides", [True, False])
def test_flat_tops_are_found_at_any_level(gain, both_sides):
    x = speechlike()
    low = -0.2 if both_sides else -9.0
    truth = float(np.mean((x >= 0.2) | (x <= low)))

    found = clipped_share(np.clip(x, low, 0.2) * gain)

    assert 0.5 * truth < found <= 1.2 * truth


def test_clean_sound_has_no_flat_tops():
    assert clipped_share(speechlike()) < 1e-5
    assert clipped_share(np.zeros(1000)) == 0


@pytest.mark.parametrize("narrow_hz", [8000, 16000, 22050, 32000])
def test_the_band_of_an_upsampled_recording_is_that_of_its_origin(narrow_hz):
    x = resample(speechlike(rate=narrow_hz), narrow_hz, 48000)
    noise = np.random.default_rng(2).normal(0, 1e-5, len(x)).astype(np.float32)

    assert bandwidth_hz(x + noise, 48000) == pytest.approx(narrow_hz / 2, rel=0.06)


@pytest.mark.parametrize("rate", [16000, 24000, 48000])
def test_a_full_band_is_full(rate):
    assert bandwidth_hz(speechlike(rate=rate), rate) == rate / 2


def test_a_short_sound_has_a_band_too():
    assert bandwidth_hz(np.ones(10), 16000) == 8000


def test_nothing_is_refused():
    for measure in (clipped_share, lambda x: bandwidth_hz(x, 16000)):
        with pytest.raises(AudioError):
            measure(np.zeros(0))
