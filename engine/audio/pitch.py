"""Fundamental frequency by normalised autocorrelation and a Viterbi path.

Source: Boersma, "Accurate short-term analysis of the fundamental frequency...", IFA Proceedings 17, 1993.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from engine.audio.errors import AudioError
from engine.audio.resample import resample

_ANALYSIS_HZ = 16_000
_CANDIDATES = 8  # voiced ones per frame, beside "unvoiced"
_BATCH_FRAMES = 2048


@dataclass(frozen=True, slots=True)
class PitchCosts:
    """Weights of the path; the defaults are those of the paper.

    Attributes:
        voicing: Correlation that a frame needs to count as voiced.
        silence: Level, as a share of the loudest frame, under which frames tend to unvoiced.
        octave: Favour of higher candidates per octave.
        jump: Cost of a jump by one octave between frames 10 ms apart.
        switch: Cost of a change between voiced and unvoiced between frames 10 ms apart.
    """

    voicing: float = 0.45
    silence: float = 0.03
    octave: float = 0.01
    jump: float = 0.35
    switch: float = 0.14


def f0(
    x: NDArray[np.floating[Any]],
    rate: int,
    hop: int,
    *,
    fmin: float = 60.0,
    fmax: float = 500.0,
    costs: PitchCosts = PitchCosts(),
) -> NDArray[np.float32]:
    """Fundamental frequency per frame; frame i is centred on sample i * hop.

    Args:
        x: (N,) samples, N > 0.
        rate: Sampling rate in Hz, at least 4 * fmax.
        hop: Samples between frames.
        fmin: Lowest pitch looked for, in Hz.
        fmax: Highest pitch looked for, in Hz.
        costs: Weights of the path.

    Returns:
        (F,) float32 in Hz, 0 where unvoiced; F = 1 + N // hop.

    Raises:
        AudioError: Empty, not one row, or a range that the rate cannot show.
    """
    samples = np.asarray(x, dtype=np.float32)
    if samples.ndim != 1 or len(samples) == 0:
        raise AudioError(f"pitch needs one row of samples, not shape {samples.shape}")
    if hop < 1 or not 0 < fmin < fmax <= rate / 4:
        raise AudioError(f"no pitch between {fmin} and {fmax} Hz can be found at {rate} Hz with hop {hop}")
    n_frames = 1 + len(samples) // hop
    analysis_hz = min(rate, _ANALYSIS_HZ)
    signal = resample(samples - samples.mean(), rate, analysis_hz).astype(np.float64)
    centres = np.rint(np.arange(n_frames) * (hop * analysis_hz / rate)).astype(np.int64)
    pitch, strength = _candidates(signal, centres, analysis_hz, (fmin, fmax), costs)
    path = _viterbi(pitch, strength, costs, hop / rate)
    return np.take_along_axis(pitch, path[:, None], axis=1)[:, 0].astype(np.float32)


def _candidates(
    x: NDArray[np.float64],
    centres: NDArray[np.int64],
    rate: int,
    span: tuple[float, float],
    costs: PitchCosts,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pitches and strengths, both (F, 1 + _CANDIDATES); column 0 is "unvoiced"."""
    fmin, fmax = span
    width = 2 * (int(3 * rate / fmin) // 2) + 1  # three periods of the lowest pitch
    n_fft = 1 << int(np.ceil(np.log2(2 * width)))
    lags = (max(2, int(rate / fmax)), int(np.ceil(rate / fmin)))
    window = np.hanning(width + 2)[1:-1]
    own = np.fft.irfft(np.abs(np.fft.rfft(window, n_fft)) ** 2)[: lags[1] + 2]
    own /= own[0]
    padded = np.pad(x, (width // 2, width // 2 + 1))
    frames = sliding_window_view(padded, width)
    loudest = max(float(np.max(np.abs(x))), 1e-9)
    pitch = np.zeros((len(centres), 1 + _CANDIDATES))
    strength = np.full_like(pitch, -np.inf)
    for at in range(0, len(centres), _BATCH_FRAMES):
        part = slice(at, at + _BATCH_FRAMES)
        block = frames[np.minimum(centres[part], len(x) - 1)]
        block = block - block.mean(axis=1, keepdims=True)
        level = np.max(np.abs(block), axis=1) / loudest
        power = np.abs(np.fft.rfft(block * window, n_fft, axis=1)) ** 2
        correlation = np.fft.irfft(power, axis=1)[:, : lags[1] + 2]
        correlation = correlation / np.maximum(correlation[:, :1], 1e-20) / own
        pitch[part, 1:], strength[part, 1:] = _peaks(correlation, lags, rate, fmin, costs)
        quiet = 2.0 - level / costs.silence * (1.0 + costs.voicing)
        strength[part, 0] = costs.voicing + np.maximum(0.0, quiet)
    return pitch, strength


def _peaks(
    correlation: NDArray[np.float64], lags: tuple[int, int], rate: int, fmin: float, costs: PitchCosts
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The strongest local maxima per frame, placed between samples by a parabola."""
    left, middle, right = (correlation[:, lags[0] + d : lags[1] + d] for d in (-1, 0, 1))
    is_peak = (middle > left) & (middle >= right) & (middle > 0.3 * costs.voicing)
    curve = np.where(is_peak, left - 2 * middle + right, -1.0)
    shift = np.where(is_peak, np.clip(0.5 * (left - right) / np.minimum(curve, -1e-12), -0.5, 0.5), 0.0)
    height = np.minimum(middle - 0.25 * (left - right) * shift, 1.0)
    lag = np.arange(lags[0], lags[1])[None, :] + shift
    score = np.where(is_peak, height - costs.octave * np.log2(fmin * lag / rate), -np.inf)
    count = min(_CANDIDATES, score.shape[1])
    best = np.argpartition(-score, count - 1, axis=1)[:, :count]
    strength = np.take_along_axis(score, best, axis=1)
    pitch = np.where(np.isfinite(strength), rate / np.take_along_axis(lag, best, axis=1), 0.0)
    missing = _CANDIDATES - count
    return (
        np.pad(pitch, ((0, 0), (0, missing))),
        np.pad(strength, ((0, 0), (0, missing)), constant_values=-np.inf),
    )


def _viterbi(
    pitch: NDArray[np.float64], strength: NDArray[np.float64], costs: PitchCosts, step_s: float
) -> NDArray[np.int64]:
    """The best path through the candidates: (F,) column numbers."""
    scale = 0.01 / step_s  # the paper's costs are per 10 ms
    octaves = np.log2(np.where(pitch > 0, pitch, 1.0))
    voiced = pitch > 0
    n_frames = len(pitch)
    back = np.zeros(pitch.shape, dtype=np.int64)
    total = strength[0]
    columns = np.arange(pitch.shape[1])
    for i in range(1, n_frames):
        jump = costs.jump * scale * np.abs(octaves[i - 1][:, None] - octaves[i][None, :])
        switch = voiced[i - 1][:, None] != voiced[i][None, :]
        both = voiced[i - 1][:, None] & voiced[i][None, :]
        move = total[:, None] - np.where(switch, costs.switch * scale, np.where(both, jump, 0.0))
        back[i] = np.argmax(move, axis=0)
        total = move[back[i], columns] + strength[i]
    path = np.empty(n_frames, dtype=np.int64)
    path[-1] = int(np.argmax(total))
    for i in range(n_frames - 1, 0, -1):
        path[i - 1] = back[i, path[i]]
    return path
