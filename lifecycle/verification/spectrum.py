"""The log-mel spectrum by which the parent judges samples; the worker has no part in it."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

_FLOOR: Final = 1e-4
_WINDOW_S: Final = 0.064
_HOP_S: Final = 0.016
N_MELS: Final = 40


def log_mel(samples: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    """Return the natural-log mel spectrum of a waveform in [-1, 1], for comparing two waveforms.

    Own and coarse on purpose (64 ms windows, 40 bands, floor -80 dB of full scale): it hears what a listener
    hears and is deaf to the phase, which differs between CPUs. Scale: mel, O'Shaughnessy 1987.

    Args:
        samples: (N,), N >= 0, finite.
        rate: Samples per second, >= 8000.

    Returns:
        (N_MELS, F); F is 1 for anything shorter than a window.
    """
    window = max(int(rate * _WINDOW_S), 16)
    hop = max(int(rate * _HOP_S), 4)
    padded = np.pad(samples.astype(np.float64), (0, max(0, window - len(samples))))
    starts = np.arange(0, len(padded) - window + 1, hop)
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[starts]
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(window), axis=1)) / (window / 2)
    bands = np.asarray(_bands(rate, window)) @ spectrum.T
    return np.log(np.maximum(bands, _FLOOR))


@lru_cache(maxsize=8)
def _bands(rate: int, window: int) -> NDArray[np.float64]:
    top = 2595.0 * np.log10(1.0 + rate / 2 / 700.0)
    edges_hz = 700.0 * (10.0 ** (np.linspace(0.0, top, N_MELS + 2) / 2595.0) - 1.0)
    bins_hz = np.fft.rfftfreq(window, 1.0 / rate)
    rising = (bins_hz[None, :] - edges_hz[:-2, None]) / (edges_hz[1:-1] - edges_hz[:-2])[:, None]
    falling = (edges_hz[2:, None] - bins_hz[None, :]) / (edges_hz[2:] - edges_hz[1:-1])[:, None]
    weights: NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling))
    # The lowest bands may be narrower than a bin: give each at least its nearest bin.
    nearest = np.abs(bins_hz[None, :] - edges_hz[1:-1, None]).argmin(axis=1)
    empty = weights.sum(axis=1) == 0
    weights[empty, nearest[empty]] = 1.0
    return weights


def level_db(samples: NDArray[np.float32]) -> float:
    """Return the root-mean-square level in dB of full scale; -200 for silence and for nothing at all."""
    if len(samples) == 0:
        return -200.0
    power = float(np.mean(np.square(samples.astype(np.float64))))
    return -200.0 if power < 1e-20 else 10.0 * float(np.log10(power))
