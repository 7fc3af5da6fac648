"""How good a recording is: noise, clipping, the band that really holds sound."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from engine.audio.errors import AudioError
from engine.audio.slice import STEP_S, levels_db

MAX_SNR_DB = 90.0  # 16 bits hold no more
_BAND_HZ = 100.0  # resolution of the bandwidth
_WALL_DB = 20.0  # a fall by this much within a kilohertz is a filter, not speech
_CLIP_SHARE = 0.995  # of the extreme value: a coder after the clipping roughens flat tops a little
_BATCH_FRAMES = 1024


def snr_db(x: NDArray[np.floating[Any]], rate: int, segments: list[tuple[float, float]]) -> float | None:
    """Speech over the noise between speech, in dB, at most MAX_SNR_DB; None without speech.

    Where the pauses are digital silence, the quietest 2 % of the speech stand for the noise.

    Args:
        x: (N,) samples.
        rate: Sampling rate in Hz.
        segments: Speech, in seconds.
    """
    if not segments:
        return None
    level = levels_db(x, rate).astype(np.float64)
    at_s = np.arange(len(level)) * STEP_S
    speaking = np.zeros(len(level), dtype=bool)
    for start, end in segments:
        speaking |= (at_s >= start) & (at_s <= end)
    speech = 10.0 ** (level[speaking] / 10.0)
    pauses = level[~speaking]
    pauses = pauses[pauses > -90.0]
    if len(pauses) >= 20:
        noise = float(np.mean(10.0 ** (np.sort(pauses)[: max(10, len(pauses) * 3 // 4)] / 10.0)))
    else:
        noise = float(np.percentile(speech, 2))
    signal = max(float(speech.mean()) - noise, 1e-12)
    return float(min(MAX_SNR_DB, 10.0 * np.log10(signal / max(noise, 1e-12))))


def clipped_share(x: NDArray[np.floating[Any]]) -> float:
    """Share of samples that lie in flat tops: three or more in a row at the highest or the lowest value.

    Found at any level, since recordings are often made quieter after they were clipped.
    """
    samples = np.asarray(x, dtype=np.float32)
    if samples.ndim != 1 or len(samples) == 0:
        raise AudioError(f"clipping needs one row of samples, not shape {samples.shape}")
    count = 0
    for extreme, side in ((float(samples.max()), 1.0), (float(-samples.min()), -1.0)):
        if extreme <= 1e-3:
            continue
        flat = (samples * side >= _CLIP_SHARE * extreme).astype(np.int8)
        edges = np.flatnonzero(np.diff(np.concatenate((np.zeros(1, np.int8), flat, np.zeros(1, np.int8)))))
        lengths = edges[1::2] - edges[::2]
        count += int(lengths[lengths >= 3].sum())
    return count / len(samples)


def bandwidth_hz(x: NDArray[np.floating[Any]], rate: int) -> float:
    """The frequency up to which the recording holds sound, in Hz, to about 100 Hz; at most rate / 2.

    The mean spectrum is searched from 1 kHz upwards for the first wall: a fall by 20 dB within a kilohertz
    beyond which nothing comes back. Upsampled and telephone recordings have one, speech does not.

    Raises:
        AudioError: Empty or not one row.
    """
    spectrum = _mean_spectrum_db(x, rate)
    n = len(spectrum)
    reach = 5  # bands compared on either side: half a kilohertz
    for i in range(10, n - 2):
        below = spectrum[max(0, i - reach) : i].mean()
        above = spectrum[i + 1 : i + 1 + reach].mean()
        if below - above >= _WALL_DB and spectrum[i + 1 :].max() < below - 0.6 * _WALL_DB:
            foot = i + int(np.argmin(spectrum[i : i + 2 * reach] > below - _WALL_DB))
            while foot < n - 1 and spectrum[foot + 1] < spectrum[foot] - 1.0:  # down to where it ends
                foot += 1
            return float(min(foot * _BAND_HZ, rate / 2))
    return rate / 2


def _mean_spectrum_db(x: NDArray[np.floating[Any]], rate: int) -> NDArray[np.float64]:
    """Mean power per band of 100 Hz, in dB."""
    samples = np.asarray(x, dtype=np.float64)
    if samples.ndim != 1 or len(samples) == 0:
        raise AudioError(f"a spectrum needs one row of samples, not shape {samples.shape}")
    n_fft = 1 << int(np.ceil(np.log2(4 * rate / _BAND_HZ)))
    if len(samples) < n_fft:
        samples = np.pad(samples, (0, n_fft - len(samples)))
    frames = sliding_window_view(samples, n_fft)[:: n_fft // 2]
    window = np.hanning(n_fft) ** 2  # far side lobes fall fast enough to see a wall of 60 dB
    power = np.zeros(n_fft // 2 + 1)
    for at in range(0, len(frames), _BATCH_FRAMES):
        power += (np.abs(np.fft.rfft(frames[at : at + _BATCH_FRAMES] * window, axis=1)) ** 2).sum(axis=0)
    band = (np.arange(len(power)) * (rate / n_fft) / _BAND_HZ).astype(np.int64)
    n_bands = int(band[-1])
    total = np.bincount(band, weights=power)[: max(1, n_bands)]
    width = np.maximum(np.bincount(band)[: max(1, n_bands)], 1)
    level: NDArray[np.float64] = 10.0 * np.log10(total / width + 1e-20)
    return level
