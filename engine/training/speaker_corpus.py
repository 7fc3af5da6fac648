"""Speech for the speaker encoder: synthetic voices, multiplied into many pseudo-speakers.

Needs the programs flite and festival with the voices named in docs/speaker-encoder.md. A pseudo-speaker is a
voice whose pitch (by resampling) and whose vocal tract (by stretching the spectral envelope) are changed.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from engine.audio.io import read_audio
from engine.audio.mel import FLOOR, hann, mel_bank
from engine.audio.pitch import f0
from engine.audio.resample import resample
from engine.models.speaker import RATE_HZ, SPEC

FLITE_VOICES = ("rms", "awb", "kal16", "slt")
FESTIVAL_VOICES = ("ked_diphone", "cmu_us_slt_arctic_hts")
_LIFTER_S = 0.0022  # longer quefrencies are pitch, shorter ones the vocal tract
_F0_RANGE_HZ = (75.0, 290.0)

_SUBJECTS = (
    "the old captain", "my younger sister", "every second visitor", "a patient teacher",
    "the quiet neighbour", "our new doctor", "nobody in the village", "the tall woman by the window",
    "a careful gardener", "the last train to the coast", "this letter", "the small brown dog",
    "an honest answer", "the whole orchestra", "one of the children", "the morning paper",
)  # fmt: skip
_VERBS = (
    "has forgotten", "will bring back", "could never find", "often talks about", "slowly walks towards",
    "carefully measured", "watched", "painted", "is looking for", "asked us for", "would rather keep",
    "left behind", "described", "has finally reached", "needs", "quietly opened",
)  # fmt: skip
_OBJECTS = (
    "the wooden bridge", "a bottle of fresh milk", "seven yellow flowers", "the way to the harbour",
    "what we said in june", "a rather long story", "the keys of the blue house",
    "their first journey by ship", "some bread and cheese", "the sound of heavy rain",
    "a box full of photographs", "the price of good shoes", "an empty chair",
    "the other side of the valley", "thirty pages of music", "the answer to your question",
)  # fmt: skip
_ENDS = (
    "before the shop closes", "in spite of the weather", "for the third time this year",
    "without saying a word", "just after breakfast", "because the night was cold",
    "while the others were asleep", "as far as I know", "near the edge of the forest",
    "with both hands", "since nobody else would", "on a bright winter morning",
)  # fmt: skip


@dataclass(frozen=True)
class Pseudo:
    """One pseudo-speaker.

    Attributes:
        voice: Name of the voice it comes from.
        pitch: Factor on F0.
        tract: Factor on the formants.
        mels: Log-mel spectrograms (80, F) of SPEC in float16, one per utterance.
    """

    voice: str
    pitch: float
    tract: float
    mels: list[NDArray[np.float16]]


def sentences(count: int, rng: np.random.Generator) -> list[str]:
    """Sentences of our own, built from parts: `count` of them, in lower case with a full stop."""
    parts = (_SUBJECTS, _VERBS, _OBJECTS, _ENDS)
    return [" ".join(part[rng.integers(len(part))] for part in parts) + "." for _ in range(count)]


def speak_all(count: int, seed: int, *, russian: Path | None = None) -> dict[str, list[NDArray[np.float32]]]:
    """Utterances at 24 kHz by voice: `count` sentences from every synthesiser, and recordings if given.

    Args:
        count: Utterances per voice.
        seed: Chooses the sentences, and the recordings.
        russian: Folder of WAV files of one speaker (Debian's festvox-ru), or None.

    Raises:
        FileNotFoundError: flite or festival is not installed.
        subprocess.CalledProcessError: A voice is not installed.
    """
    rng = np.random.default_rng(seed)
    voices: dict[str, list[NDArray[np.float32]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for voice in FLITE_VOICES:
            voices[f"flite-{voice}"] = _flite(voice, sentences(count, rng), work, rng)
        for voice in FESTIVAL_VOICES:
            voices[f"festival-{voice}"] = _festival(voice, sentences(count, rng), work)
    if russian is not None:
        paths = sorted(russian.glob("*.wav"))
        chosen = rng.choice(len(paths), size=min(count, len(paths)), replace=False)
        voices["festvox-ru"] = [_heard(paths[i])[: 6 * RATE_HZ] for i in sorted(chosen)]
    return voices


def pseudo_speakers(
    voices: dict[str, list[NDArray[np.float32]]], per_voice: int, seed: int, *, utterances: int = 12
) -> list[Pseudo]:
    """Multiply voices into speakers that differ in pitch and vocal tract.

    Within a speaker the pitch of each utterance varies by 8 % and the vocal tract by 1.2 % (standard
    deviations), as they do between sentences of a real reader.
    """
    rng = np.random.default_rng(seed)
    made: list[Pseudo] = []
    for voice, sounds in sorted(voices.items()):
        own_hz = _median_f0(sounds[:8])
        low, high = (max(0.72, _F0_RANGE_HZ[0] / own_hz), min(1.45, _F0_RANGE_HZ[1] / own_hz))
        for i in range(per_voice):
            pitch = 1.0 if i == 0 else float(np.exp(rng.uniform(np.log(low), np.log(high))))
            tract = 1.0 if i == 0 else float(np.exp(rng.uniform(np.log(0.84), np.log(1.19))))
            chosen = rng.choice(len(sounds), size=min(utterances, len(sounds)), replace=False)
            mels = []
            for j in chosen:
                own_pitch = pitch * float(np.exp(rng.normal(0, 0.08)))
                own_tract = tract * float(np.exp(rng.normal(0, 0.012)))
                mels.append(warped_mel(sounds[j], pitch=own_pitch, tract=own_tract).astype(np.float16))
            made.append(Pseudo(voice, pitch, tract, mels))
    return made


def warped_mel(x: NDArray[np.float32], *, pitch: float, tract: float) -> NDArray[np.float32]:
    """Log-mel of SPEC with F0 times `pitch` and formants times `tract`: (N,) at 24 kHz -> (80, F).

    Resampling moves both; the envelope, the smooth part of the log spectrum, is then stretched by the rest.
    """
    moved = resample(x, round(RATE_HZ / 100 * pitch) * 100, RATE_HZ).astype(np.float64)
    half = SPEC.n_fft // 2
    frames = sliding_window_view(np.pad(moved, (half, half), mode="reflect"), SPEC.n_fft)[:: SPEC.hop]
    power = np.abs(np.fft.rfft(frames * hann(SPEC), axis=1)) ** 2 + 1e-9
    level = np.log(power)
    cepstrum = np.fft.irfft(level, axis=1)
    keep = int(_LIFTER_S * RATE_HZ)
    cepstrum[:, keep : SPEC.n_fft - keep + 1] = 0.0
    envelope = np.fft.rfft(cepstrum, axis=1).real
    source = np.minimum(
        np.arange(half + 1) * (pitch / tract), half
    )  # where the stretched envelope comes from
    below = np.minimum(source.astype(np.int64), half - 1)
    share = source - below
    stretched = envelope[:, below] * (1 - share) + envelope[:, below + 1] * share
    mel = np.exp(level + stretched - envelope) @ mel_bank(SPEC).T
    result: NDArray[np.float32] = np.log(np.maximum(mel.T, FLOOR)).astype(np.float32)
    return result


def _flite(
    voice: str, texts: Sequence[str], work: Path, rng: np.random.Generator
) -> list[NDArray[np.float32]]:
    target = work / "flite.wav"
    sounds = []
    for text in texts:
        stretch = f"duration_stretch={rng.uniform(0.85, 1.25):.2f}"
        command = ["flite", "-voice", voice, "--setf", stretch, "-t", text, "-o", str(target)]
        subprocess.run(command, check=True, capture_output=True)
        sounds.append(_heard(target))
    return sounds


def _festival(voice: str, texts: Sequence[str], work: Path) -> list[NDArray[np.float32]]:
    """All sentences in one process; starting festival costs more than speaking."""
    lines = [f"(voice_{voice})"]
    targets = [work / f"{voice}-{i}.wav" for i in range(len(texts))]
    for text, target in zip(texts, targets, strict=True):
        lines.append(f'(utt.save.wave (utt.synth (Utterance Text "{text}")) "{target}" \'riff)')
    script = work / "speak.scm"
    script.write_text("\n".join(lines), encoding="ascii")
    subprocess.run(["festival", "-b", str(script)], check=True, capture_output=True)
    return [_heard(target) for target in targets]


def _heard(path: Path) -> NDArray[np.float32]:
    """A recording at 24 kHz, at a level of -26 dB of full scale."""
    samples, rate = read_audio(path)
    samples = samples * (0.05 / max(float(np.sqrt(np.mean(samples**2))), 1e-6))
    return resample(samples.astype(np.float32), rate, RATE_HZ)


def _median_f0(sounds: Sequence[NDArray[np.float32]]) -> float:
    pitch = np.concatenate([f0(sound, RATE_HZ, 240) for sound in sounds])
    return float(np.median(pitch[pitch > 0]))
