"""Pitch, loudness and speech segments against signals whose values are known."""

import math

import numpy as np
import pytest

from engine.audio.errors import AudioError
from engine.audio.loudness import lufs
from engine.audio.pitch import f0
from engine.audio.slice import levels_db, speech_only, speech_segments


def pulses(track_hz, rate):
    """A band-limited pulse train whose F0 follows `track_hz`, one value per sample."""
    phase = 2 * np.pi * np.cumsum(track_hz) / rate
    top = int(0.4 * rate / track_hz.max())
    return sum(np.cos(k * phase) / k**0.5 for k in range(1, top + 1)) * 0.05


def syllables(rate, spans, total_s, *, hz=120.0):
    """Pulse trains within `spans` (seconds), silence elsewhere."""
    x = np.zeros(int(total_s * rate))
    for start, end in spans:
        part = slice(int(start * rate), int(end * rate))
        x[part] = pulses(np.full(part.stop - part.start, hz), rate)
    return x.astype(np.float32)


class TestPitch:
    @pytest.mark.parametrize("rate", [16000, 24000, 48000])
    @pytest.mark.parametrize("hz", [65.0, 113.7, 220.0, 430.0])
    def test_a_pulse_train_has_its_pitch(self, rate, hz):
        track = f0(pulses(np.full(rate, hz), rate), rate, 256)
        inner = track[8:-8]
        assert (inner > 0).mean() > 0.98
        assert np.abs(inner / hz - 1).max() < 0.01

    def test_a_glide_is_followed(self):
        rate, hop = 24000, 256
        truth = np.geomspace(100, 250, 2 * rate)
        track = f0(pulses(truth, rate), rate, hop)
        at = np.minimum(np.arange(len(track)) * hop, len(truth) - 1)
        assert np.abs(track / truth[at] - 1)[10:-10].max() < 0.03

    def test_frames_are_centred_on_their_sample(self):
        rate, hop = 24000, 300
        x = syllables(rate, [(0.5, 1.0)], 1.5)
        voiced = np.flatnonzero(f0(x, rate, hop)) * hop / rate
        assert voiced[0] == pytest.approx(0.5, abs=0.03)
        assert voiced[-1] == pytest.approx(1.0, abs=0.03)

    def test_noise_and_silence_are_unvoiced(self):
        noise = np.random.default_rng(0).normal(0, 0.1, 24000)
        assert (f0(noise, 24000, 256) > 0).mean() < 0.05
        assert not f0(np.zeros(24000), 24000, 256).any()

    def test_a_missing_fundamental_is_found(self):
        t = np.arange(24000) / 24000
        x = sum(np.sin(2 * np.pi * 150 * k * t) for k in range(3, 9)) * 0.1
        track = f0(x, 24000, 256)[8:-8]
        assert np.abs(track / 150 - 1).max() < 0.01

    def test_noise_at_10_db_costs_no_octaves(self):
        x = pulses(np.full(48000, 140.0), 24000)
        x = x + np.random.default_rng(1).normal(0, x.std() * 10**-0.5, len(x))
        track = f0(x, 24000, 256)
        voiced = track[track > 0]
        assert len(voiced) > 0.9 * len(track)
        assert np.abs(np.log2(voiced / 140)).max() < 0.2

    @pytest.mark.parametrize("n", [1, 255, 256, 10000])
    def test_there_is_one_frame_per_hop_and_one_more(self, n):
        assert len(f0(np.ones(n), 24000, 256)) == 1 + n // 256

    def test_what_cannot_be_measured_is_refused(self):
        for samples, rate, hop in (
            (np.zeros(0), 24000, 256),
            (np.zeros((2, 2)), 24000, 256),
            (np.ones(9), 1000, 9),
        ):
            with pytest.raises(AudioError):
                f0(samples, rate, hop)


class TestLoudness:
    """The values of BS.1770 and EBU Tech 3341."""

    @pytest.mark.parametrize("rate", [48000, 44100, 24000])
    def test_a_full_scale_tone_of_997_hz_is_minus_3_01(self, rate):
        tone = np.sin(2 * np.pi * 997 * np.arange(5 * rate) / rate)
        assert lufs(tone, rate) == pytest.approx(-3.01, abs=0.05)

    def test_quieter_by_20_db_is_20_lu_less(self):
        x = np.random.default_rng(0).normal(0, 0.2, 96000)
        assert lufs(x, 48000) - lufs(x / 10, 48000) == pytest.approx(20, abs=0.01)

    def test_pauses_are_gated_out(self):
        tone = np.sin(2 * np.pi * 997 * np.arange(480000) / 48000)
        assert lufs(np.concatenate([tone, np.zeros(960000)]), 48000) == pytest.approx(
            lufs(tone, 48000), abs=0.1
        )

    def test_low_rumble_counts_little(self):
        t = np.arange(240000) / 48000
        assert lufs(np.sin(2 * np.pi * 20 * t), 48000) < lufs(np.sin(2 * np.pi * 997 * t), 48000) - 10

    def test_silence_is_minus_infinity_and_a_short_sound_is_measured(self):
        assert lufs(np.zeros(48000), 48000) == -math.inf
        assert lufs(np.sin(np.arange(2000) / 8), 48000) == pytest.approx(-3.0, abs=1.5)

    def test_chunks_leave_no_seams(self):
        x = np.random.default_rng(0).normal(0, 0.1, (1 << 19) + 30000)
        assert lufs(x, 8000) == pytest.approx(lufs(x[: 1 << 18], 8000), abs=0.1)


class TestSegments:
    SPANS = ((0.5, 1.2), (2.0, 3.1), (4.0, 4.6))

    @pytest.mark.parametrize("noise", [0.0, 0.002])
    def test_speech_between_pauses_is_found(self, noise):
        x = syllables(24000, self.SPANS, 5.0)
        x = x + np.random.default_rng(0).normal(0, noise, len(x)).astype(np.float32)
        found = speech_segments(x, 24000)
        assert len(found) == 3
        for (start, end), (a, b) in zip(found, self.SPANS, strict=True):
            assert start == pytest.approx(a, abs=0.08)
            assert end == pytest.approx(b, abs=0.08)

    def test_short_pauses_do_not_cut(self):
        assert len(speech_segments(syllables(16000, [(0.5, 1.0), (1.2, 1.8)], 3.0), 16000)) == 1

    def test_a_click_is_not_speech(self):
        x = syllables(16000, [(0.5, 1.5)], 4.0)
        x[48000:48160] = 0.2
        assert len(speech_segments(x, 16000)) == 1

    def test_silence_hiss_and_hum_are_not_speech(self):
        rng = np.random.default_rng(0)
        hum = 0.1 * np.sin(2 * np.pi * 50 * np.arange(80000) / 16000)
        for x in (
            np.zeros(80000),
            rng.normal(0, 0.1, 80000),
            hum,
            np.full(80000, 0.3),
            rng.normal(0, 1e-5, 80000),
        ):
            assert speech_segments(x, 16000) == []

    def test_segments_lie_within_the_recording_and_apart(self):
        x = syllables(16000, [(0.0, 0.7), (1.1, 2.0)], 2.0)
        found = speech_segments(x, 16000)
        flat = [t for span in found for t in span]
        assert flat == sorted(flat)
        assert flat[0] >= 0
        assert flat[-1] <= 2.0
        assert len(speech_only(x, 16000, found)) == pytest.approx(16000 * sum(b - a for a, b in found), abs=4)

    def test_levels_are_those_of_full_scale(self):
        tone = np.sin(2 * np.pi * 200 * np.arange(16000) / 16000)
        level = levels_db(tone, 16000)
        assert len(level) == 101
        assert level[20:80] == pytest.approx(-3.01, abs=0.1)

    def test_nothing_is_refused(self):
        with pytest.raises(AudioError):
            speech_segments(np.zeros(0), 16000)
