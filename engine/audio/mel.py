"""Log-mel spectrograms, once in numpy and once in torch, equal to 1e-4.

Source: Slaney, "Auditory Toolbox", 1998 (scale, triangles of equal area); O'Shaughnessy, 1987 (HTK scale).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from engine.audio.errors import AudioError

if TYPE_CHECKING:
    from torch import Tensor

FLOOR = 1e-5  # below it a band counts as silent; ln(FLOOR) = -11.51
_FRAMES_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class MelSpec:
    """How a spectrogram is made.

    Attributes:
        rate: Sampling rate in Hz.
        n_fft: Transform size in samples.
        win: Length of the periodic Hann window in samples, at most `n_fft`, centred in it.
        hop: Samples between frames.
        n_mels: Bands.
        fmin: Lower edge of the first band in Hz.
        fmax: Upper edge of the last band in Hz, at most rate / 2.
        power: 1 sums magnitudes in each band, 2 sums powers.
        scale: "slaney" with triangles of unit area, or "htk" with triangles of unit height.
    """

    rate: int
    n_fft: int
    win: int
    hop: int
    n_mels: int
    fmin: float
    fmax: float
    power: Literal[1, 2] = 1
    scale: Literal["slaney", "htk"] = "slaney"

    def __post_init__(self) -> None:
        """Refuse what cannot be computed, before a long run starts."""
        sizes_fit = self.hop > 0 and self.n_mels > 0 and 0 < self.win <= self.n_fft
        if not sizes_fit or not 0 <= self.fmin < self.fmax <= self.rate / 2:
            raise AudioError(f"no such spectrogram: {self}")

    def frames(self, n_samples: int) -> int:
        """F = 1 + N // hop: frame i is centred on sample i * hop."""
        return 1 + n_samples // self.hop


def log_mel(x: NDArray[np.floating[Any]], spec: MelSpec) -> NDArray[np.float32]:
    """Natural log of the mel spectrogram, floored at FLOOR.

    Args:
        x: (N,) samples, N > 0.
        spec: Sizes and bands.

    Returns:
        (n_mels, F) float32, F = 1 + N // hop; the edges see the signal mirrored.

    Raises:
        AudioError: Empty or not one row of samples.
    """
    samples = np.asarray(x, dtype=np.float64)
    if samples.ndim != 1 or len(samples) == 0:
        raise AudioError(f"a spectrogram needs one row of samples, not shape {samples.shape}")
    padded = samples[reflected(len(samples), spec.n_fft // 2, spec.n_fft - spec.n_fft // 2)]
    frames = sliding_window_view(padded, spec.n_fft)[:: spec.hop][: spec.frames(len(samples))]
    window, bank = hann(spec), mel_bank(spec)
    out = np.empty((spec.n_mels, len(frames)), dtype=np.float32)
    for at in range(0, len(frames), _FRAMES_AT_ONCE):  # bounded memory for long recordings
        part = slice(at, at + _FRAMES_AT_ONCE)
        bins = np.fft.rfft(frames[part] * window, axis=1)
        spectrum = np.abs(bins) if spec.power == 1 else bins.real**2 + bins.imag**2
        out[:, part] = np.log(np.maximum(bank @ spectrum.T, FLOOR))
    return out


def log_mel_torch(x: Tensor, spec: MelSpec) -> Tensor:
    """The same in torch, with gradients: (B, N) samples -> (B, n_mels, F) in the dtype of `x`.

    Inside it counts in float64 where the device has it: float32 transforms err by 1e-5 of the loudest bin,
    which is more than quiet bands hold.

    Raises:
        AudioError: Empty or not of rank 2.
    """
    import torch

    if x.ndim != 2 or x.shape[1] == 0:
        raise AudioError(f"a spectrogram needs samples of shape (B, N), not {tuple(x.shape)}")
    work = torch.float32 if x.device.type == "mps" else torch.float64
    n_samples = int(x.shape[1])
    index = reflected(n_samples, spec.n_fft // 2, spec.n_fft - spec.n_fft // 2)
    padded = x.to(work)[:, torch.from_numpy(index).to(x.device)]
    window = torch.from_numpy(hann(spec).copy()).to(x.device, work)
    bank = torch.from_numpy(mel_bank(spec).copy()).to(x.device, work)
    frames = padded.unfold(1, spec.n_fft, spec.hop)[:, : spec.frames(n_samples)]  # (B, F, n_fft)
    bins = torch.fft.rfft(frames * window, dim=-1)
    spectrum = bins.abs() if spec.power == 1 else bins.real.square() + bins.imag.square()
    return torch.log(torch.clamp(bank @ spectrum.transpose(1, 2), min=FLOOR)).to(x.dtype)


def reflected(n: int, before: int, after: int) -> NDArray[np.int64]:
    """Indices that mirror n samples beyond both ends, as often as needed, without repeating the ends."""
    period = max(1, 2 * (n - 1))
    index = np.arange(-before, n + after) % period
    return np.where(index < n, index, period - index).astype(np.int64)


@lru_cache(maxsize=32)
def hann(spec: MelSpec) -> NDArray[np.float64]:
    """Periodic Hann window of `win` samples, centred among n_fft zeros."""
    window = np.zeros(spec.n_fft)
    left = (spec.n_fft - spec.win) // 2
    window[left : left + spec.win] = 0.5 - 0.5 * np.cos(2 * math.pi * np.arange(spec.win) / spec.win)
    window.flags.writeable = False
    return window


@lru_cache(maxsize=32)
def mel_bank(spec: MelSpec) -> NDArray[np.float64]:
    """Triangular filters (n_mels, n_fft // 2 + 1)."""
    edges = band_edges(spec)
    bins = np.arange(spec.n_fft // 2 + 1) * (spec.rate / spec.n_fft)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    bank = np.maximum(0.0, np.minimum(rising, falling))
    if spec.scale == "slaney":
        bank *= (2.0 / (edges[2:] - edges[:-2]))[:, None]
    bank.flags.writeable = False
    return bank


def band_edges(spec: MelSpec) -> NDArray[np.float64]:
    """Corners of the triangles in Hz (n_mels + 2,): band i rises from i, peaks at i + 1, ends at i + 2."""
    to_mel, to_hz = (_slaney_mel, _slaney_hz) if spec.scale == "slaney" else (_htk_mel, _htk_hz)
    low, high = to_mel(np.array([spec.fmin, spec.fmax]))
    return to_hz(np.linspace(low, high, spec.n_mels + 2))


def _slaney_mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear below 1 kHz (15 mels), logarithmic above: 27 mels for a factor of 6.4."""
    log_part = 15.0 + np.log(np.maximum(hz, 1e-9) / 1000.0) * (27.0 / math.log(6.4))
    return np.where(hz < 1000.0, hz * 3.0 / 200.0, log_part)


def _slaney_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mel < 15.0, mel * 200.0 / 3.0, 1000.0 * np.exp((mel - 15.0) * (math.log(6.4) / 27.0)))


def _htk_mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = 2595.0 * np.log10(1.0 + hz / 700.0)
    return result


def _htk_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    return result
