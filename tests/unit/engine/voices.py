"""Two people made of formulas: a pulse train through formants, syllable by syllable."""

import numpy as np

RATE = 24000
LOW = {"hz": 105.0, "tract": 0.9}
HIGH = {"hz": 235.0, "tract": 1.2}
_VOWELS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))


def _shaped(source, formants, rate):
    """`source` filtered by resonances of 90 Hz width."""
    hz = np.fft.rfftfreq(len(source), 1 / rate)
    gain = sum(1.0 / (1.0 + ((hz - f) / (60 + 0.04 * f)) ** 2) * 0.6**i for i, f in enumerate(formants))
    return np.fft.irfft(np.fft.rfft(source) * (gain + 0.005), len(source))


def speech(seconds, *, hz, tract, seed=0, rate=RATE, noise=0.0005):
    """(N,) float32: syllables of 180 to 320 ms, a pause of 0.4 s after every sixth, room noise below."""
    rng = np.random.default_rng(seed)
    parts, n, count = [np.zeros(int(0.3 * rate))], 0, 0
    while n < seconds * rate:
        length = int(rng.uniform(0.18, 0.32) * rate)
        track = hz * np.exp(rng.normal(0, 0.05) + 0.1 * np.sin(np.linspace(0, np.pi, length)))
        phase = 2 * np.pi * np.cumsum(track) / rate
        source = sum(np.cos(k * phase) / k for k in range(1, int(7000 / track.max()))) * 0.2
        source = source + rng.normal(0, 0.02, length)
        formants = [f * tract for f in _VOWELS[rng.integers(len(_VOWELS))]]
        envelope = np.sin(np.linspace(0, np.pi, length)) ** 0.5
        parts.append(_shaped(source, formants, rate) * envelope)
        count += 1
        parts.append(np.zeros(int((0.4 if count % 6 == 0 else 0.04) * rate)))
        n = sum(map(len, parts))
    x = np.concatenate(parts)[: int(seconds * rate)]
    x = 0.08 * x / x.std() + rng.normal(0, noise, len(x))
    return x.astype(np.float32)
