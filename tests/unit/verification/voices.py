"""A made-up voice's output, for tests that compare it with itself."""

from __future__ import annotations

import numpy as np

from lifecycle.verification.golden import SENTENCES, Golden, Made, Spoken

RATE, HOP = 16000, 200
MADE = Made("sha256:e", "2.13.0", "cpu", "3.11.7", "sha256:l", "AVX2", 2, 20, "blake3:" + "0" * 64)


def spoken(text: str = "hello", *, seed: int = 0) -> Spoken:
    """Return a sentence of four phones: a buzz with a mel, an F0 and samples that fit each other."""
    rng = np.random.default_rng(seed)
    raw = np.array([3.2, 10.1, 12.4, 6.9], dtype=np.float32)
    durations = np.rint(raw).astype(np.int64)
    n_frames = int(durations.sum())
    time = np.arange(n_frames * HOP) / RATE
    samples = 0.3 * np.sin(2 * np.pi * 120 * time) + 0.01 * rng.standard_normal(len(time))
    return Spoken(
        text=text,
        language="en",
        rate=RATE,
        phones=("pau", "h", "ow", "pau"),
        raw_durations=raw,
        durations=durations,
        mel=rng.normal(-5, 2, (80, n_frames)).astype(np.float32),
        f0=np.where(np.arange(n_frames) < 4, 0, 120).astype(np.float32),
        samples=samples.astype(np.float32),
    )


def embedding() -> np.ndarray:
    """Return a unit vector."""
    vector = np.random.default_rng(7).standard_normal(256).astype(np.float32)
    return vector / np.linalg.norm(vector)


def golden() -> Golden:
    """Return a golden of two sentences."""
    return Golden(MADE, embedding(), tuple(spoken(text, seed=i) for i, text in enumerate(SENTENCES["en"])))
