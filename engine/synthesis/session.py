"""A loaded voice that speaks: text to phones, durations, mel and F0, timbre, samples; every stage can be looked at."""

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from engine.audio.mel import FLOOR, log_mel
from engine.compat import pick_device, reproducible
from engine.config import VoiceConfig
from engine.errors import BadOption, BadVoice, Mute
from engine.models.g2p import G2pWeights, LetterToPhone
from engine.models.interfaces import AcousticModel, Vocoder
from engine.models.registry import build_acoustic, build_vocoder
from engine.random import normal
from engine.synthesis.prosody import question, transpose, whole_frames
from engine.synthesis.timbre import loudness, mel_spec, move
from engine.synthesis.voice_file import Speaker, Voice, read_speaker, read_voice
from engine.text.frontend import Sentence, sentences
from engine.text.symbols import PAUSE

_SENTENCE_GAP_S = 0.12
_RANGES = {"speed": (0.25, 4.0), "pitch_semitones": (-24.0, 24.0), "pause": (0.0, 10.0)}


@dataclass(frozen=True)
class SpeakOptions:
    """How to speak.

    Attributes:
        speed: 2 is twice as fast; 0.25 to 4.
        pitch_semitones: Added to the whole contour; -24 to 24.
        pause: Factor of every pause; 0 to 10.
        seed: Of the noise part; the same seed gives the same samples.
        language: ISO 639 code.
    """

    speed: float = 1.0
    pitch_semitones: float = 0.0
    pause: float = 1.0
    seed: int = 0
    language: str = "en"

    def check(self) -> None:
        """Raise `BadOption` for a value out of its range."""
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not low <= value <= high:
                raise BadOption(f'"{name}" is {value!r}, which is not between {low:g} and {high:g}')


@dataclass(frozen=True)
class Utterance:
    """What was spoken, stage by stage.

    Attributes:
        phones: Every phone, pauses included.
        durations: (T,) frames per phone.
        mel: (n_mels, F) natural log, as the vocoder got it.
        f0: (F,) in Hz, 0 where unvoiced.
        samples: (N,) in [-1, 1], N = F * hop.
        rate: Samples per second.
    """

    phones: tuple[str, ...]
    durations: NDArray[np.int64]
    mel: NDArray[np.float32]
    f0: NDArray[np.float32]
    samples: NDArray[np.float32]
    rate: int


class Session:
    """One voice on one device; calls on it come one at a time."""

    def __init__(self, voice: Voice, speaker: Speaker | None, *, device: str = "cpu") -> None:
        """Build the models from a voice that was read; `Session.load` reads it from files.

        Raises:
            BadVoice: The tensors do not fit the configuration.
        """
        self.config: VoiceConfig = voice.config
        self.rate = voice.config.rate
        self.embedding = None if speaker is None else speaker.embedding
        self._voice, self._speaker = voice, speaker
        self._device = pick_device(device)
        groups = _groups(voice.tensors)
        self._acoustic = cast(
            "AcousticModel", self._fill(build_acoustic(self.config), groups["acoustic"], "acoustic")
        )
        self._vocoder = cast("Vocoder", self._fill(build_vocoder(self.config), groups["vocoder"], "vocoder"))
        if set(groups["g2p"]) != set(G2pWeights.__annotations__):
            raise BadVoice("the voice's letter-to-phone network is not complete")
        self._pronounce = LetterToPhone(groups["g2p"], self.config.chunks)
        self._index = {phone: index for index, phone in enumerate(self.config.phones)}

    @classmethod
    def load(cls, weights: Path, *, speaker: Path | None, device: str = "cpu") -> "Session":
        """Read a voice; without a speaker file it loads, but is mute.

        Raises:
            BadVoice: A file is damaged, hostile or of another kind.
            FileNotFoundError: There is no such file.
        """
        voice = read_voice(weights)
        return cls(voice, None if speaker is None else read_speaker(speaker, voice.config), device=device)

    def speak(
        self,
        text: str,
        *,
        options: SpeakOptions = SpeakOptions(),
        progress: Callable[[float], None] | None = None,
    ) -> Utterance:
        """Speak a text; the same voice, text and options give the same samples on the same machine.

        Args:
            text: Up to 20,000 characters.
            options: Speed, pitch, pauses, seed, language.
            progress: Called with the share that is done, after every sentence.

        Raises:
            Mute: The voice has no speaker file.
            UnknownLanguage: No front end for the language.
            BadText: Nothing to speak, or too long.
            BadOption: A setting out of its range.
        """
        options.check()
        speaker = self._speaker_or_mute()
        found = sentences(text, language=options.language, pronounce=self._pronounce)
        spoken = []
        with reproducible():
            for number, sentence in enumerate(found):
                durations = self._durations(sentence, options)
                spoken.append(self._render(sentence, durations, speaker, options, number))
                if progress is not None:
                    progress((number + 1) / len(found))
        return self._join(spoken, options)

    def stages(
        self, text: str, *, seed: int = 0, durations: NDArray[np.int64] | None = None
    ) -> "OrderedDict[str, NDArray[Any]]":
        """Speak and return every stage by name, in the order in which they are made, for comparison.

        Args:
            text: One or more English sentences.
            seed: Of the noise.
            durations: (T,) whole frames to use in place of the predicted ones: a golden's, so that a rounding
                that fell the other way does not shift everything behind it.

        Returns:
            phones (T,) indices; duration_frames (T,) not rounded; durations (T,); mel (n_mels, F); f0 (F,);
            samples (N,); log_mel of the samples (n_mels, F + 1); embedding (256,).

        Raises:
            Mute, BadText: As for `speak`.
            BadOption: `durations` does not fit the text.
        """
        speaker = self._speaker_or_mute()
        options = SpeakOptions(seed=seed)
        found = sentences(text, language="en", pronounce=self._pronounce)
        count = sum(len(sentence.phones) for sentence in found)
        if durations is not None and (
            durations.shape != (count,) or durations.min() < 1 or durations.sum() > 200_000
        ):
            raise BadOption("the given durations do not fit the text")
        raw, spoken, at = [], [], 0
        with reproducible():
            for number, sentence in enumerate(found):
                frames = self._predicted(sentence)
                raw.append(frames)
                given = (
                    None if durations is None else durations[at : at + len(sentence.phones)].astype(np.int64)
                )
                at += len(sentence.phones)
                chosen = self._whole(frames, sentence, options) if given is None else given
                spoken.append(self._render(sentence, chosen, speaker, options, number))
        joined = self._join(spoken, SpeakOptions(pause=0.0))
        return OrderedDict(
            phones=np.array([self._index[phone] for phone in joined.phones], np.int64),
            duration_frames=np.concatenate(raw),
            durations=joined.durations,
            mel=joined.mel,
            f0=joined.f0,
            samples=joined.samples,
            log_mel=log_mel(joined.samples, mel_spec(self.config)),
            embedding=speaker.embedding,
        )

    def _fill(self, net: torch.nn.Module, tensors: dict[str, NDArray[Any]], part: str) -> torch.nn.Module:
        want = {name: tuple(value.shape) for name, value in net.state_dict().items()}
        wrong = sorted(set(tensors) ^ set(want)) or sorted(
            n for n in want if tuple(tensors[n].shape) != want[n]
        )
        if wrong:
            raise BadVoice(
                f'the voice does not fit its configuration: {len(wrong)} tensors, first "{part}.{wrong[0][:60]}"'
            )
        net.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()})
        return net.eval().to(self._device)

    def _speaker_or_mute(self) -> Speaker:
        if self._speaker is None:
            raise Mute("the voice has no speaker file, so it is mute")
        return self._speaker

    def _tokens(self, sentence: Sentence) -> torch.Tensor:
        phones = [self._index[phone] for phone in sentence.phones]
        rows = np.array([phones, sentence.stress, sentence.first], np.int64).T
        return torch.from_numpy(rows.copy())[None].to(self._device)

    def _predicted(self, sentence: Sentence) -> NDArray[np.float32]:
        frames: NDArray[np.float32] = (
            self._acoustic.durations(self._tokens(sentence))[0].float().cpu().numpy()
        )
        return frames

    def _whole(
        self, frames: NDArray[np.float32], sentence: Sentence, options: SpeakOptions
    ) -> NDArray[np.int64]:
        pauses = np.array([phone == PAUSE for phone in sentence.phones])
        weights = np.array(sentence.weights)
        return whole_frames(frames, pauses=pauses, weights=weights, speed=options.speed, pause=options.pause)

    def _durations(self, sentence: Sentence, options: SpeakOptions) -> NDArray[np.int64]:
        return self._whole(self._predicted(sentence), sentence, options)

    def _render(
        self,
        sentence: Sentence,
        durations: NDArray[np.int64],
        speaker: Speaker,
        options: SpeakOptions,
        number: int,
    ) -> Utterance:
        """Speak one sentence whose durations are known."""
        out = self._acoustic(self._tokens(sentence), torch.from_numpy(durations)[None].to(self._device))
        mel, log_f0, voicing = (part[0].float().cpu().numpy() for part in out)
        mel, log_f0 = move(mel, log_f0, base=self._voice.base, speaker=speaker, config=self.config)
        voiced = voicing > 0
        if sentence.question:
            log_f0 = question(log_f0, voiced, frame_rate=self.rate / self.config.hop)
        f0 = np.where(voiced, np.exp(transpose(log_f0, options.pitch_semitones)), 0.0)
        f0 = np.where(voiced, f0.clip(40.0, self.rate / 8), 0.0).astype(np.float32)
        return Utterance(
            sentence.phones, durations, mel, f0, self._samples(mel, f0, options.seed, number), self.rate
        )

    def _samples(
        self, mel: NDArray[np.float32], f0: NDArray[np.float32], seed: int, number: int
    ) -> NDArray[np.float32]:
        """Run the vocoder; the last frame is given twice, so that F frames become F * hop samples."""
        mel, f0 = np.pad(mel, ((0, 0), (0, 1)), mode="edge"), np.pad(f0, (0, 1), mode="edge")
        noise = normal(seed, f"vocoder-noise-{number}", (1, (mel.shape[1] - 1) * self.config.hop))
        inputs = (torch.from_numpy(part).to(self._device) for part in (mel[None], f0[None], noise))
        samples: NDArray[np.float32] = self._vocoder(*inputs)[0].float().cpu().numpy()
        return samples * self._gain()

    def _gain(self) -> np.float32:
        """Return the factor that makes every speaker as loud as the base, however quiet the recording was."""
        levels = [self._voice.base] + ([self._speaker.statistics] if self._speaker else [])
        loud = [float(loudness(statistics.mel_mean[:, None])[0]) for statistics in levels]
        return np.float32(math.exp(min(3.0, max(-3.0, loud[0] - loud[-1]))))

    def _join(self, spoken: list[Utterance], options: SpeakOptions) -> Utterance:
        """Put sentences together with silence between them, added to each last pause; then bound the peak."""
        gap = round(_SENTENCE_GAP_S * options.pause / options.speed * self.rate / self.config.hop)
        silence = np.full((self.config.n_mels, gap), math.log(FLOOR), np.float32)
        for number in range(len(spoken) - 1 if gap else 0):
            one = spoken[number]
            durations = one.durations.copy()
            durations[-1] += gap
            spoken[number] = Utterance(
                one.phones,
                durations,
                np.concatenate([one.mel, silence], axis=1),
                np.pad(one.f0, (0, gap)),
                np.pad(one.samples, (0, gap * self.config.hop)),
                one.rate,
            )
        samples = np.concatenate([one.samples for one in spoken])
        peak = float(np.abs(samples).max())
        return Utterance(
            tuple(phone for one in spoken for phone in one.phones),
            np.concatenate([one.durations for one in spoken]),
            np.concatenate([one.mel for one in spoken], axis=1),
            np.concatenate([one.f0 for one in spoken]),
            (samples * min(1.0, 0.98 / max(peak, 1e-6))).astype(np.float32),
            self.rate,
        )


def _groups(tensors: dict[str, NDArray[Any]]) -> dict[str, dict[str, NDArray[Any]]]:
    """Sort tensors named "part.rest" by part.

    Raises:
        BadVoice: A tensor belongs to no part.
    """
    groups: dict[str, dict[str, NDArray[Any]]] = {"acoustic": {}, "vocoder": {}, "g2p": {}, "base": {}}
    for name, value in tensors.items():
        part, _, rest = name.partition(".")
        if part not in groups or not rest:
            raise BadVoice(f'the voice holds a tensor "{name[:60]}" that belongs to no part')
        groups[part][rest] = value
    return groups
