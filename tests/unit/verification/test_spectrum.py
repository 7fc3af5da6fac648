from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.verification.spectrum import N_MELS, level_db, log_mel


@given(n=st.integers(0, 5000), rate=st.sampled_from([8000, 16000, 24000, 48000]))
def test_any_length_has_a_finite_spectrum(n, rate):
    bands = log_mel(np.full(n, 0.5, np.float32), rate)

    assert bands.shape[0] == N_MELS
    assert np.isfinite(bands).all()


def test_a_higher_tone_lies_in_a_higher_band():
    time = np.arange(16000) / 16000
    low, high = (
        log_mel(np.sin(2 * np.pi * hz * time).astype(np.float32), 16000).mean(axis=1) for hz in (200, 3000)
    )

    assert int(low.argmax()) < int(high.argmax())


def test_a_full_scale_sine_is_three_decibels_below_full_scale():
    tone = np.sin(2 * np.pi * 100 * np.arange(16000) / 16000).astype(np.float32)

    assert level_db(tone) == pytest.approx(-3.01, abs=0.01)
    assert level_db(np.zeros(10, np.float32)) == level_db(np.zeros(0, np.float32)) == -200
