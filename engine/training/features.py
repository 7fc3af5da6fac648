"""Recordings and labels as arrays for training: mel, F0, tokens and durations, in one file per set."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.audio.io import read_audio
from engine.audio.mel import log_mel
from engine.audio.pitch import f0 as track_f0
from engine.audio.resample import resample
from engine.config import VoiceConfig
from engine.synthesis.timbre import mel_spec
from engine.text.symbols import INDEX, VOWELS
from engine.training.teacher import read_labels


@dataclass(frozen=True)
class Utterance:
    """One recording: (N,) samples, (n_mels, F) mel, (F,) F0; tokens (T, 3) and durations (T,) where labelled."""

    samples: NDArray[np.float32]
    mel: NDArray[np.float32]
    f0: NDArray[np.float32]
    tokens: NDArray[np.int64]
    durations: NDArray[np.int64]


def analyse(samples: NDArray[np.float32], config: VoiceConfig, *, labels: Path | None = None) -> Utterance:
    """Return the features of samples at the voice's rate, with the tokens of a label file if one is given."""
    spec = mel_spec(config)
    mel = log_mel(samples, spec)
    f0 = track_f0(samples, config.rate, config.hop)
    n = mel.shape[1]
    if len(f0) != n:
        raise ValueError(f"pitch has {len(f0)} frames, mel has {n}")
    tokens, durations = (
        tokens_of(labels, config, n) if labels is not None else (np.zeros((0, 3), np.int64),) * 2
    )
    return Utterance(samples.astype(np.float32), mel, f0.astype(np.float32), tokens, durations)


def tokens_of(
    labels: Path, config: VoiceConfig, n_frames: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (T, 3) tokens and (T,) whole frames that add up to `n_frames`."""
    rows = read_labels(labels)
    # stress stands on the vowel alone, so that speaking needs no syllables
    marked = [(INDEX[phone], stress * (phone in VOWELS), first) for phone, _, stress, first in rows]
    tokens = np.array(marked, dtype=np.int64)
    ends = np.round(np.array([end for _, end, _, _ in rows]) * config.rate / config.hop).astype(np.int64)
    ends = np.minimum(ends, n_frames)
    ends[-1] = n_frames
    return tokens, np.diff(ends, prepend=0)


def load_folder(
    folder: Path, config: VoiceConfig, *, labelled: bool, factors: Sequence[float] = ()
) -> list[Utterance]:
    """Return the features of every WAV in `folder`, in name order.

    Args:
        folder: WAV files, with `.lab` beside them where `labelled`.
        config: Frames and rate.
        labelled: Read the labels too.
        factors: Where given, each recording in turn is played faster or slower by one of these: its formants and
            F0 move together, which gives the vocoder speakers that nobody recorded.
    """
    found = []
    for number, path in enumerate(sorted(folder.glob("*.wav"))):
        samples, rate = read_audio(path)
        if factors:
            rate = round(rate * factors[number % len(factors)] / 100) * 100
        if rate != config.rate:
            samples = resample(samples, rate, config.rate)
        if len(samples) < config.rate // 2:
            continue
        found.append(analyse(samples, config, labels=path.with_suffix(".lab") if labelled else None))
    return found
