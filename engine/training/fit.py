"""Fit the base to somebody's recording: embedding, statistics, warp, and the vocoder tuned for a bounded time.

What it gives is a resemblance, and its figures say how much of one: the acoustic model stays that of the base, so
the rhythm and the melody are the base's; only level, range, formants and the sound of the vocoder move.
"""

import hashlib
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import safetensors
from engine.audio.io import read_audio, write_wav
from engine.audio.resample import resample
from engine.audio.slice import speech_segments
from engine.config import VoiceConfig
from engine.errors import BadAudio
from engine.evaluation.similarity import SAME_ABOVE, STRANGERS_BELOW
from engine.models.registry import build_vocoder
from engine.models.speaker import SpeakerEncoder
from engine.synthesis.session import Session, SpeakOptions
from engine.synthesis.timbre import statistics_of
from engine.synthesis.voice_file import Speaker, Voice, read_voice, write_speaker, write_voice
from engine.training.batches import CROP_FRAMES, Crops
from engine.training.features import Utterance, analyse
from engine.training.loop import Progress, Schedule, arrays, load_arrays
from engine.training.train_models import train_vocoder, vocoder_figure

MIN_SPEECH_S = 10.0
MAX_AUDIO_S = 3600.0
SAMPLE_TEXT = "The morning was quiet, and the old road by the river was empty."
SCALE = (
    f"cosine of the engine's speaker encoder: the same person above {SAME_ABOVE:.2f}, "
    f"strangers below {STRANGERS_BELOW:.2f}"
)
_PROBES = (
    "We measured the long wooden table twice.",
    "A small boat waited near the island, but nobody came.",
)
_WARPS = (0.84, 0.88, 0.92, 0.96, 1.0, 1.05, 1.1, 1.16)
_WARP_COST = 0.3  # per unit of |log warp|: a warp must earn what it costs in clearness
_PIECE_S = 8.0
_HELD_OUT_SHARE, _HELD_OUT_MAX_S = 0.25, 15.0


@dataclass(frozen=True)
class FitProgress:
    """Where the fit stands.

    Attributes:
        stage: "read", "embed", "tune", "warp" or "write".
        done: Share of the whole, 0 to 1.
        step: Training steps so far.
        loss: Of the last step; 0 before the first.
        left_s: Seconds still to go, estimated.
    """

    stage: str
    done: float
    step: int = 0
    loss: float = 0.0
    left_s: float = 0.0


@dataclass(frozen=True)
class FitResult:
    """What a fit wrote and how good it is.

    Attributes:
        weights: The voice's weights file.
        speaker: Its speaker file.
        sample: A sentence spoken by it, WAV.
        similarity: Cosine of new text spoken by the voice to the training part of the recording.
        similarity_held_out: The same for the part of the recording that training never heard: the ceiling.
        similarity_base: The same for the base before the fit: the floor.
        scale: How to read the three.
        loss_held_out_before: Vocoder loss on the held-out part, resynthesised, before the tuning.
        loss_held_out_after: The same after it.
        losses: At most 100 points of the training curve.
        warp: Chosen warp of the frequency axis.
        steps: Training steps.
        speech_s: Seconds of speech found.
        train_s: Seconds of recording trained on.
        seconds: Wall time.
    """

    weights: Path
    speaker: Path
    sample: Path
    similarity: float
    similarity_held_out: float
    similarity_base: float
    scale: str
    loss_held_out_before: float
    loss_held_out_after: float
    losses: tuple[float, ...]
    warp: float
    steps: int
    speech_s: float
    train_s: float
    seconds: float


def fit(
    audio: Sequence[Path],
    *,
    name: str,
    out: Path,
    base: Path,
    budget_s: float = 60.0,
    seed: int = 0,
    progress: Callable[[FitProgress], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> FitResult:
    """Fit `base` to recordings of one person and write `out`/NAME.safetensors and NAME.speaker.safetensors.

    Args:
        audio: Recordings, at least 10 s of speech in all.
        name: File name of the results, without ending.
        out: Folder; `out`/NAME.work holds the checkpoint, and goes when the fit has ended.
        base: Weights file of the base.
        budget_s: Wall seconds of vocoder training; the rest takes some 10 s more.
        seed: Of crops and noise.
        progress: Called several times a second.
        cancelled: Asked before every step.

    Raises:
        BadAudio: Unreadable, or less than 10 s of speech.
        BadVoice: `base` is not a voice.
        Cancelled: `cancelled` said so; calling again with the same arguments goes on.
    """
    begin = time.monotonic()
    progress(FitProgress("read", 0.0))
    voice = read_voice(base)
    samples, speech_s = _recording(audio, voice.config)
    work = _work_folder(out / f"{name}.work", _identity(samples, base, seed, budget_s))
    train, held = _pieces(samples, voice.config)
    progress(FitProgress("embed", 0.04))
    encoder = SpeakerEncoder.pretrained()
    heard = np.concatenate([piece.samples for piece in train])
    embedding = encoder.embed(heard, voice.config.rate)
    statistics = statistics_of([piece.mel for piece in train], [piece.f0 for piece in train])
    tuned = _tune(_Job(voice, train, held, budget_s, seed, work), progress, cancelled)
    fitted = replace(voice, config=replace(voice.config, origin="fit"), tensors=tuned.tensors)
    steps, last = len(tuned.losses), (tuned.losses or [0.0])[-1]
    progress(FitProgress("warp", 0.9, steps, last))
    speaker = _choose_warp(fitted, Speaker(embedding, statistics, 1.0), encoder)
    progress(FitProgress("write", 0.97, steps, last))
    files = _write(out, name, fitted, speaker, seed)
    rest = np.concatenate([piece.samples for piece in held])
    result = FitResult(
        *files,
        similarity=_likeness(Session(fitted, speaker), encoder, embedding),
        similarity_held_out=_cosine(encoder, rest, voice.config.rate, embedding),
        similarity_base=_likeness(Session(voice, Speaker(embedding, voice.base, 1.0)), encoder, embedding),
        scale=SCALE,
        loss_held_out_before=tuned.before,
        loss_held_out_after=tuned.after,
        losses=tuple(tuned.losses[:: -(-steps // 100) or 1]),
        warp=speaker.warp,
        steps=steps,
        speech_s=speech_s,
        train_s=len(heard) / voice.config.rate,
        seconds=time.monotonic() - begin,
    )
    shutil.rmtree(work)
    progress(FitProgress("write", 1.0, steps, last))
    return result


def _write(out: Path, name: str, voice: Voice, speaker: Speaker, seed: int) -> tuple[Path, Path, Path]:
    """Write weights, speaker file and a sample spoken from them; return the three paths."""
    weights, beside, sample = (
        out / f"{name}{end}" for end in (".safetensors", ".speaker.safetensors", ".wav")
    )
    write_voice(weights, voice.config, voice.tensors, voice.base)
    write_speaker(beside, speaker)
    spoken = Session.load(weights, speaker=beside).speak(SAMPLE_TEXT, options=SpeakOptions(seed=seed))
    write_wav(sample, spoken.samples, spoken.rate)
    return weights, beside, sample


def _recording(audio: Sequence[Path], config: VoiceConfig) -> tuple[NDArray[np.float32], float]:
    """Return all recordings joined at the voice's rate, and the seconds of speech in them."""
    parts, speech_s, total_s = [], 0.0, 0.0
    for path in audio:
        samples, rate = read_audio(path)
        total_s += len(samples) / rate
        if total_s > MAX_AUDIO_S:
            raise BadAudio(f"the recordings are longer than {MAX_AUDIO_S / 60:.0f} minutes; give fewer")
        samples = resample(samples, rate, config.rate)
        speech_s += sum(end - start for start, end in speech_segments(samples, config.rate))
        parts.append(samples)
    if speech_s < MIN_SPEECH_S:
        raise BadAudio(
            f"the recordings hold {speech_s:.1f} s of speech; a voice needs at least {MIN_SPEECH_S:.0f} s"
        )
    return np.concatenate(parts).astype(np.float32), speech_s


def _pieces(samples: NDArray[np.float32], config: VoiceConfig) -> tuple[list[Utterance], list[Utterance]]:
    """Return pieces of about 8 s to train on, and the last quarter (at most 15 s) that is held out."""
    held = int(min(_HELD_OUT_SHARE * len(samples), _HELD_OUT_MAX_S * config.rate))
    parts = []
    for block in (samples[: len(samples) - held], samples[len(samples) - held :]):
        count = max(1, round(len(block) / (_PIECE_S * config.rate)))
        parts.append([analyse(piece, config) for piece in np.array_split(block, count)])
    return parts[0], parts[1]


@dataclass(frozen=True)
class _Job:
    voice: Voice
    train: list[Utterance]
    held: list[Utterance]
    budget_s: float
    seed: int
    work: Path


@dataclass(frozen=True)
class _Tuned:
    """Held-out loss before and after, the curve, and all tensors of the voice but the base's statistics."""

    before: float
    after: float
    losses: list[float]
    tensors: dict[str, NDArray[Any]]


def _tune(job: _Job, progress: Callable[[FitProgress], None], cancelled: Callable[[], bool]) -> _Tuned:
    """Tune the vocoder."""
    voice, train, held, budget_s = job.voice, job.train, job.held, job.budget_s
    net = build_vocoder(voice.config)
    load_arrays(net, {k: v for k, v in voice.tensors.items() if k.startswith("vocoder.")}, "vocoder.")
    net.eval()
    before = vocoder_figure(net, held, voice.config)

    def show(now: Progress) -> None:
        left = max(0.0, budget_s - now.seconds)
        progress(FitProgress("tune", 0.06 + 0.84 * now.done, now.step, now.loss, left))

    frames = min(CROP_FRAMES, min(piece.mel.shape[1] for piece in train) - 2)
    schedule = Schedule(budget_s, 5e-4, warmup=10, clip=10.0, checkpoint_s=5.0, clock=time.monotonic)
    losses = train_vocoder(
        net,
        Crops([(1.0, train)], hop=voice.config.hop, seed=job.seed, frames=frames),
        schedule,
        checkpoint=job.work / "vocoder.checkpoint.safetensors",
        progress=show,
        cancelled=cancelled,
    )
    after = vocoder_figure(net, held, voice.config)
    kept = {k: v for k, v in voice.tensors.items() if not k.startswith(("vocoder.", "base."))}
    return _Tuned(before, after, losses, {**kept, **arrays(net, "vocoder.")})


def _choose_warp(voice: Voice, speaker: Speaker, encoder: SpeakerEncoder) -> Speaker:
    """Return the speaker with the warp whose speech is nearest to the embedding, less what the warp costs."""
    scored = []
    for warp in _WARPS:
        candidate = replace(speaker, warp=warp)
        score = _likeness(Session(voice, candidate), encoder, speaker.embedding)
        scored.append((score - _WARP_COST * abs(float(np.log(warp))), candidate))
    return max(scored, key=lambda item: item[0])[1]


def _likeness(session: Session, encoder: SpeakerEncoder, embedding: NDArray[np.float32]) -> float:
    """Return the cosine between new sentences spoken by the session and an embedding; 0 where it speaks no speech."""
    spoken = np.concatenate([session.speak(text).samples for text in _PROBES])
    return _cosine(encoder, spoken, session.rate, embedding)


def _cosine(
    encoder: SpeakerEncoder, samples: NDArray[np.float32], rate: int, embedding: NDArray[np.float32]
) -> float:
    try:
        return float(encoder.embed(samples, rate) @ embedding)
    except BadAudio:
        return 0.0


def _identity(samples: NDArray[np.float32], base: Path, seed: int, budget_s: float) -> str:
    digest = hashlib.sha256(samples.tobytes())
    digest.update(base.read_bytes())
    digest.update(f"{seed} {budget_s}".encode())
    return digest.hexdigest()


def _work_folder(folder: Path, identity: str) -> Path:
    """Return the work folder, emptied unless it belongs to the same recording, base, seed and budget."""
    mark = folder / "identity"
    if folder.is_dir() and not (mark.is_file() and mark.read_text("ascii") == identity):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    safetensors.write_bytes(mark, identity.encode("ascii"))
    return folder
