"""The two files of a voice: weights (class model) and speaker (class template); a voice without the second is mute."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import safetensors
from engine.config import SPEAKER_FORMAT, VOICE_FORMAT, VoiceConfig
from engine.errors import BadVoice

EMBEDDING_SIZE = 256


@dataclass(frozen=True)
class Statistics:
    """How somebody sounds on average, over speech frames.

    Attributes:
        log_f0: (2,) mean and standard deviation of log F0 over voiced frames.
        mel_mean: (n_mels,) mean of the natural log-mels.
        mel_std: (n_mels,) standard deviation, > 0.
    """

    log_f0: NDArray[np.float32]
    mel_mean: NDArray[np.float32]
    mel_std: NDArray[np.float32]


@dataclass(frozen=True)
class Speaker:
    """What the speaker file holds: embedding (256,) of unit norm, statistics, and the warp of the frequency axis."""

    embedding: NDArray[np.float32]
    statistics: Statistics
    warp: float


@dataclass(frozen=True)
class Voice:
    """What the weights file holds: configuration, tensors as float32, and the base's own statistics."""

    config: VoiceConfig
    tensors: dict[str, NDArray[Any]]
    base: Statistics


def read_voice(path: Path) -> Voice:
    """Read a weights file.

    Raises:
        BadVoice: Not such a file, or a tensor is missing or not finite.
        FileNotFoundError: There is no such file.
    """
    tensors, metadata = safetensors.read(path, as_float32=True)
    if metadata.get("format") != VOICE_FORMAT:
        raise BadVoice(f'"{path.name}" is not a voice of format {VOICE_FORMAT}')
    config = VoiceConfig.from_json(metadata.get("config", ""))
    for name, tensor in tensors.items():
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            raise BadVoice(f'"{path.name}" holds a number that is not finite in "{name[:60]}"')
    return Voice(config, tensors, _statistics(tensors, "base.", config.n_mels))


def write_voice(
    path: Path, config: VoiceConfig, tensors: Mapping[str, NDArray[Any]], base: Statistics
) -> None:
    """Write a weights file with float16 tensors, in one step."""
    every = {**tensors, **_named(base, "base.")}
    safetensors.write(path, every, {"format": VOICE_FORMAT, "config": config.to_json()}, half=True)


def read_speaker(path: Path, config: VoiceConfig) -> Speaker:
    """Read a speaker file that fits a voice.

    Raises:
        BadVoice: Not such a file, or it does not fit the voice.
        FileNotFoundError: There is no such file.
    """
    tensors, metadata = safetensors.read(path, as_float32=True)
    if metadata.get("format") != SPEAKER_FORMAT:
        raise BadVoice(f'"{path.name}" is not a speaker of format {SPEAKER_FORMAT}')
    embedding, warp = tensors.get("embedding"), tensors.get("warp")
    if embedding is None or embedding.shape != (EMBEDDING_SIZE,) or not np.isfinite(embedding).all():
        raise BadVoice(f'"{path.name}" has no embedding of {EMBEDDING_SIZE} numbers')
    if warp is None or warp.shape != (1,) or not 0.5 <= float(warp[0]) <= 2.0:
        raise BadVoice(f'"{path.name}" has no warp between 0.5 and 2')
    statistics = _statistics(tensors, "", config.n_mels)
    return Speaker(embedding.astype(np.float32), statistics, float(warp[0]))


def write_speaker(path: Path, speaker: Speaker, metadata: Mapping[str, str] | None = None) -> None:
    """Write a speaker file, in one step."""
    tensors = {
        "embedding": speaker.embedding.astype(np.float32),
        "warp": np.array([speaker.warp], np.float32),
        **_named(speaker.statistics, ""),
    }
    safetensors.write(path, tensors, {"format": SPEAKER_FORMAT, **(metadata or {})})


def _named(statistics: Statistics, prefix: str) -> dict[str, NDArray[np.float32]]:
    return {
        f"{prefix}f0_stats": statistics.log_f0,
        f"{prefix}mel_stats": np.stack([statistics.mel_mean, statistics.mel_std]),
    }


def _statistics(tensors: Mapping[str, NDArray[Any]], prefix: str, n_mels: int) -> Statistics:
    f0, mel = tensors.get(f"{prefix}f0_stats"), tensors.get(f"{prefix}mel_stats")
    if f0 is None or mel is None or f0.shape != (2,) or mel.shape != (2, n_mels):
        raise BadVoice(
            f'the file has no statistics "{prefix}f0_stats" and "{prefix}mel_stats" of the right shape'
        )
    good = (
        np.isfinite(f0).all()
        and np.isfinite(mel).all()
        and f0[1] > 0
        and (mel[1] > 0).all()
        and 3 < f0[0] < 7
    )
    if not good:
        raise BadVoice("the file's statistics are not possible")
    return Statistics(f0.astype(np.float32), mel[0].astype(np.float32), mel[1].astype(np.float32))
