"""Change of sampling rate by a windowed sinc in polyphase form.

Source: Smith, "Digital Audio Resampling", 2002.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from engine.audio.errors import AudioError
from engine.audio.wav import MAX_RATE_HZ

_ZEROS = 48  # zero crossings of the sinc on each side
_ROLLOFF = 0.94  # cut-off as a share of the lower Nyquist frequency: the stop band begins at Nyquist
_POINTS = 4096  # of the stored sinc per zero crossing; the error of straight lines is 7e-8
_BETA = 9.0  # Kaiser window: side lobes about 90 dB down


def resample(x: NDArray[np.floating[Any]], src_hz: int, dst_hz: int) -> NDArray[np.float32]:
    """Resample mono audio; the pass band is flat to 0.88 of the lower Nyquist frequency, images 90 dB down.

    Args:
        x: (N,) finite samples.
        src_hz: Rate of `x` in Hz.
        dst_hz: Rate wanted, in Hz.

    Returns:
        (ceil(N * dst_hz / src_hz),) float32; sample 0 stays at time 0; equal rates give a copy.

    Raises:
        AudioError: Wrong rank, or a rate outside 1..768000 Hz.
    """
    samples = np.asarray(x, dtype=np.float32)
    if samples.ndim != 1:
        raise AudioError(f"resampling needs one row of samples, not shape {samples.shape}")
    for rate in (src_hz, dst_hz):
        if not 1 <= rate <= MAX_RATE_HZ:
            raise AudioError(f"{rate} Hz is not a sampling rate")
    if src_hz == dst_hz or len(samples) == 0:
        return samples.copy()
    shared = math.gcd(src_hz, dst_hz)
    up, down = dst_hz // shared, src_hz // shared
    return _polyphase(samples, up, down)


def _polyphase(x: NDArray[np.float32], up: int, down: int) -> NDArray[np.float32]:
    """Output n lies at input time n * down / up; outputs of equal n mod `up` share one filter.

    Neighbouring phases are computed together as one matrix product: rows are input windows, `down` samples
    apart, columns are the filters of the group, each shifted to its place within the window.
    """
    n_out = -(-len(x) * up // down)
    cutoff = _ROLLOFF * min(1.0, up / down)  # relative to the input's Nyquist frequency
    reach = math.ceil(_ZEROS / cutoff)  # input samples that a filter sees on each side
    n_rows = -(-n_out // up)
    padded = np.pad(x, (reach, reach + down + 1))
    group = max(1, min(up, 2 * reach * up // down, (1 << 16) // reach))  # small enough for the cache
    out = np.empty((n_rows, up), dtype=np.float32)
    for first in range(0, up, group):
        phases = np.arange(first, min(first + group, up))
        start = first * down // up
        width = int(phases[-1]) * down // up - start + 2 * reach + 1
        centres: NDArray[np.float64] = phases.astype(np.float64) * (down / up) - start
        kernel = _kernel(centres, width, reach, cutoff)
        needed = (n_rows - 1) * down + start + width
        if needed > len(padded):
            padded = np.pad(padded, (0, needed - len(padded)))
        windows = sliding_window_view(padded[start:needed], width)[::down]
        rows_at_once = max(1, (1 << 22) // width)
        for row in range(0, n_rows, rows_at_once):
            part = slice(row, row + rows_at_once)
            out[part, first : first + len(phases)] = np.ascontiguousarray(windows[part]) @ kernel
    return out.reshape(-1)[:n_out].copy()


def _kernel(centres: NDArray[np.float64], width: int, reach: int, cutoff: float) -> NDArray[np.float32]:
    """Filters of a group as (width, phases); `centres` are times within the window, less `reach`."""
    distance = np.abs(np.arange(width)[:, None] - reach - centres[None, :]) * (cutoff * _POINTS)
    below = np.minimum(distance, (_ZEROS + 1) * _POINTS - 1).astype(np.int32)
    values, slopes = _prototype()
    taps = values[below] + slopes[below] * (distance - below).astype(np.float32)
    taps /= taps.sum(axis=0, keepdims=True)  # a constant stays the same constant, whatever the phase
    result: NDArray[np.float32] = taps
    return result


@lru_cache(maxsize=1)
def _prototype() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Half of the windowed sinc, _POINTS per zero crossing, and its slopes; straight lines between them."""
    distance = np.arange((_ZEROS + 1) * _POINTS + 1) / _POINTS
    inside = 1.0 - (distance / _ZEROS) ** 2
    window = np.where(inside > 0, np.i0(_BETA * np.sqrt(np.maximum(inside, 0.0))) / np.i0(_BETA), 0.0)
    values = np.sinc(distance) * window
    values[_ZEROS * _POINTS :] = 0.0
    return values[:-1].astype(np.float32), np.diff(values).astype(np.float32)
