"""Integrated loudness of mono audio.

Source: ITU-R BS.1770-4; its filters for any rate as De Man derived them, "Evaluation of implementations of
the EBU R128 loudness measurement", 2018.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.audio.errors import AudioError

_BLOCK_S, _STEP_S = 0.4, 0.1
_ABSOLUTE_GATE_LUFS, _RELATIVE_GATE_LU = -70.0, -10.0
_CHUNK = 1 << 19


def lufs(x: NDArray[np.floating[Any]], rate: int) -> float:
    """Gated loudness in LUFS; minus infinity for silence.

    Audio shorter than one block of 400 ms is measured as one block.

    Args:
        x: (N,) samples in [-1, 1], N > 0.
        rate: Sampling rate in Hz.

    Raises:
        AudioError: Empty or not one row of samples.
    """
    samples = np.asarray(x, dtype=np.float64)
    if samples.ndim != 1 or len(samples) == 0:
        raise AudioError(f"loudness needs one row of samples, not shape {samples.shape}")
    energy = np.concatenate(([0.0], np.cumsum(_k_weighted(samples, rate) ** 2)))
    block, step = max(1, round(_BLOCK_S * rate)), max(1, round(_STEP_S * rate))
    starts = np.arange(0, max(1, len(samples) - block + 1), step)
    ends = np.minimum(starts + block, len(samples))
    power = np.maximum(energy[ends] - energy[starts], 0.0) / (ends - starts)
    loud = power[_to_lufs(power) > _ABSOLUTE_GATE_LUFS]
    if len(loud) == 0:
        return -math.inf
    gate = float(_to_lufs(np.array([loud.mean()]))[0]) + _RELATIVE_GATE_LU
    return float(_to_lufs(np.array([loud[_to_lufs(loud) > gate].mean()]))[0])


def _to_lufs(power: NDArray[np.float64]) -> NDArray[np.float64]:
    return -0.691 + 10.0 * np.log10(np.maximum(power, 1e-30))


def _k_weighted(x: NDArray[np.float64], rate: int) -> NDArray[np.float64]:
    """Apply the standard's two filters by multiplication in the frequency domain, chunk by chunk.

    Both filters forget within a few milliseconds (38 Hz, Q 0.5), so a quarter of a second before each
    chunk stands for everything earlier.
    """
    warm = max(1, rate // 4)
    out = np.empty_like(x)
    for at in range(0, len(x), _CHUNK):
        begin = max(0, at - warm)
        part = x[begin : at + _CHUNK]
        n_fft = 1 << math.ceil(math.log2(len(part) + warm))
        bins_hz = np.arange(n_fft // 2 + 1, dtype=np.float64) * (rate / n_fft)
        response = _k_response(bins_hz, rate)
        filtered = np.fft.irfft(np.fft.rfft(part, n_fft) * response, n_fft)
        out[at : at + _CHUNK] = filtered[at - begin : len(part)]
    return out


def _k_response(hz: NDArray[np.float64], rate: int) -> NDArray[np.complex128]:
    """Frequency response of the high shelf and the high pass, as biquads at this rate."""
    z = np.exp(-2j * math.pi * hz / rate)
    gain_db, corner, q = 3.999843853973347, 1681.974450955533, 0.7071752369554196
    k = math.tan(math.pi * min(corner, 0.49 * rate) / rate)
    high, bend = 10 ** (gain_db / 20), 10 ** (gain_db / 20 * 0.4996667741545416)
    shelf = _biquad(
        z, (high + bend * k / q + k * k, 2 * (k * k - high), high - bend * k / q + k * k), k=k, q=q
    )
    corner, q = 38.13547087602444, 0.5003270373238773
    k = math.tan(math.pi * corner / rate)
    return shelf * _biquad(
        z, (1.0 + k / q + k * k, -2 * (1.0 + k / q + k * k), 1.0 + k / q + k * k), k=k, q=q
    )


def _biquad(
    z: NDArray[np.complex128], numerator: tuple[float, float, float], *, k: float, q: float
) -> NDArray[np.complex128]:
    """(b0 + b1 z + b2 z^2) / (a0 + a1 z + a2 z^2) with the denominator of a bilinear section."""
    b0, b1, b2 = numerator
    a0, a1, a2 = 1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k
    result: NDArray[np.complex128] = (b0 + b1 * z + b2 * z * z) / (a0 + a1 * z + a2 * z * z)
    return result
