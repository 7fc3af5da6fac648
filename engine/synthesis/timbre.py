"""Statistics of a speaker, and moving a mel and an F0 contour from the base's statistics to a speaker's.

Nothing is learned here: log F0 and every mel band get the speaker's mean and variance, after the frequency axis
was warped by a constant, which moves the formants. Measured on one voice: a resemblance, not a clone.
"""

import numpy as np
from numpy.typing import NDArray

from engine.audio.mel import FLOOR, MelSpec, band_edges
from engine.config import VoiceConfig
from engine.errors import BadAudio
from engine.synthesis.voice_file import Speaker, Statistics

_SPEECH_BELOW_PEAK = 4.5  # natural log: frames this far under the loud ones are not speech
_MIN_FRAMES = 40
_SCALE_BOUNDS = (0.5, 1.6)


def mel_spec(config: VoiceConfig) -> MelSpec:
    """Return the spectrogram that a voice's configuration describes."""
    c = config
    return MelSpec(
        rate=c.rate, n_fft=c.n_fft, win=c.win, hop=c.hop, n_mels=c.n_mels, fmin=c.fmin, fmax=c.fmax
    )


def loudness(mel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (F,) log of the mean over bands of a log-mel (n_mels, F): how loud each frame is."""
    level: NDArray[np.float32] = np.log(np.exp(mel.astype(np.float64)).mean(axis=0) + 1e-9).astype(np.float32)
    return level


def statistics_of(mels: list[NDArray[np.float32]], f0s: list[NDArray[np.float32]]) -> Statistics:
    """Return the statistics over the speech frames of several recordings.

    Args:
        mels: Each (n_mels, F).
        f0s: Each (F,), 0 where unvoiced.

    Raises:
        BadAudio: Fewer than 40 speech frames or 40 voiced frames in all.
    """
    mel, f0 = np.concatenate(mels, axis=1), np.concatenate(f0s)
    level = loudness(mel)
    speech = mel[:, level > np.percentile(level, 95) - _SPEECH_BELOW_PEAK]
    voiced = np.log(f0[f0 > 0])
    if speech.shape[1] < _MIN_FRAMES or len(voiced) < _MIN_FRAMES:
        raise BadAudio("the recording holds too little voiced speech to describe a speaker")
    middle = float(np.median(voiced))
    voiced = voiced[np.abs(voiced - middle) < 0.6]  # octave errors would widen the range
    log_f0 = np.array([voiced.mean(), max(0.02, voiced.std())], np.float32)
    return Statistics(
        log_f0, speech.mean(axis=1).astype(np.float32), np.maximum(speech.std(axis=1), 0.1).astype(np.float32)
    )


def band_places(config: VoiceConfig, warp: float) -> NDArray[np.float64]:
    """Return for each mel band the place, in bands, that its content comes from: at the frequency divided by `warp`."""
    centres = band_edges(mel_spec(config))[1:-1]
    return np.interp(centres / warp, centres, np.arange(config.n_mels, dtype=np.float64))


def warp_bands(values: NDArray[np.float32], places: NDArray[np.float64]) -> NDArray[np.float32]:
    """Take (n_mels, ...) values at fractional band places, by linear interpolation."""
    below = np.floor(places).astype(np.int64).clip(0, len(values) - 1)
    above = np.minimum(below + 1, len(values) - 1)
    share = (places - below).astype(np.float32).reshape(-1, *([1] * (values.ndim - 1)))
    mixed: NDArray[np.float32] = values[below] * (1 - share) + values[above] * share
    return mixed


def move(
    mel: NDArray[np.float32],
    log_f0: NDArray[np.float32],
    *,
    base: Statistics,
    speaker: Speaker,
    config: VoiceConfig,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return mel (n_mels, F) and log F0 (F,) with the speaker's statistics in place of the base's."""
    target = speaker.statistics
    pitch = (log_f0 - base.log_f0[0]) * (target.log_f0[1] / base.log_f0[1]) + target.log_f0[0]
    places = band_places(config, speaker.warp)
    warped = warp_bands(mel, places)
    mean, std = warp_bands(base.mel_mean, places), warp_bands(base.mel_std, places)
    scale = np.clip(target.mel_std / std, *_SCALE_BOUNDS)
    moved = (warped - mean[:, None]) * scale[:, None] + target.mel_mean[:, None]
    # pauses keep their silence: there the shift would only lift noise
    level = loudness(warped) - float(loudness(mean[:, None])[0])
    speech = np.clip((level + 5.0) / 2.0, 0.0, 1.0)
    quiet = np.minimum(warped, moved)
    result = speech * moved + (1.0 - speech) * quiet
    return np.maximum(result, np.log(FLOOR)).astype(np.float32), pitch.astype(np.float32)
