"""Where somebody speaks: segments found by their energy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.audio.errors import AudioError

FRAME_S, STEP_S = 0.025, 0.010
SILENCE_DBFS = -60.0  # nothing under this level counts as speech


@dataclass(frozen=True, slots=True)
class SliceRules:
    """What makes a segment.

    Attributes:
        min_range_db: Loud and quiet frames of speech differ by at least this; hum and hiss do not.
        threshold: Where the limit lies between the quiet level (0) and the loud level (1), in dB.
        max_below_db: The limit is never lower than this under the loud level.
        join_s: Shorter pauses belong to the segment.
        min_s: Shorter segments are clicks.
        pad_s: Kept before and after each segment.
    """

    min_range_db: float = 8.0
    threshold: float = 0.30
    max_below_db: float = 35.0
    join_s: float = 0.30
    min_s: float = 0.10
    pad_s: float = 0.05


def levels_db(x: NDArray[np.floating[Any]], rate: int) -> NDArray[np.float32]:
    """Level of each 25 ms frame in dB of full scale (RMS), one frame per 10 ms: (1 + N // step,)."""
    samples = np.asarray(x, dtype=np.float64)
    if samples.ndim != 1 or len(samples) == 0:
        raise AudioError(f"levels need one row of samples, not shape {samples.shape}")
    width, step = max(1, round(FRAME_S * rate)), max(1, round(STEP_S * rate))
    energy = np.concatenate(([0.0], np.cumsum((samples - samples.mean()) ** 2)))
    centres = np.arange(0, len(samples) + 1, step)
    first = np.maximum(0, centres - width // 2)
    last = np.minimum(len(samples), centres + (width + 1) // 2)
    power = np.maximum(energy[last] - energy[first], 0.0) / np.maximum(last - first, 1)
    level: NDArray[np.float32] = (10.0 * np.log10(np.maximum(power, 1e-12))).astype(np.float32)
    return level


def speech_segments(
    x: NDArray[np.floating[Any]], rate: int, *, rules: SliceRules = SliceRules()
) -> list[tuple[float, float]]:
    """Segments of speech as (start, end) in seconds, in order, apart from each other.

    Silence, a steady tone and steady noise give none.

    Args:
        x: (N,) samples, N > 0.
        rate: Sampling rate in Hz.
        rules: Limits.

    Raises:
        AudioError: Empty or not one row of samples.
    """
    level = levels_db(x, rate)
    length_s = len(x) / rate
    loud = float(np.percentile(level, 95))
    heard = level[level > -90.0]  # digital silence says nothing about the room
    quiet = float(np.percentile(heard, 10)) if len(heard) else loud
    if len(heard) < 0.98 * len(level):  # pauses were cut to digital silence, whatever the speech does
        quiet = min(quiet, loud - rules.max_below_db)
    if loud < SILENCE_DBFS or loud - quiet < rules.min_range_db:
        return []
    limit = max(quiet + rules.threshold * (loud - quiet), loud - rules.max_below_db, SILENCE_DBFS)
    joined = _runs(level > limit, round(rules.join_s / STEP_S))
    segments: list[tuple[float, float]] = []
    for first, last in joined:
        if (last - first) * STEP_S < rules.min_s:
            continue
        start = max(0.0, first * STEP_S - rules.pad_s)
        end = min(length_s, last * STEP_S + rules.pad_s)
        if segments and start <= segments[-1][1]:
            start = segments.pop()[0]
        segments.append((start, end))
    return segments


def speech_only(
    x: NDArray[np.float32], rate: int, segments: list[tuple[float, float]]
) -> NDArray[np.float32]:
    """The segments of `x`, one after the other."""
    parts = [x[round(start * rate) : round(end * rate)] for start, end in segments]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.float32)


def _runs(active: NDArray[np.bool_], join: int) -> list[tuple[int, int]]:
    """Half-open runs of True; gaps of at most `join` frames are closed."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], active.astype(np.int8), [0]))))
    runs: list[tuple[int, int]] = []
    for first, last in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if runs and first - runs[-1][1] <= join:
            runs[-1] = (runs[-1][0], last)
        else:
            runs.append((first, last))
    return runs
