"""Train the speaker encoder that comes with the engine: `python -m engine.training.speaker_base --out FILE`.

Source: Wan et al., "Generalized end-to-end loss for speaker verification", 2018. Recipe, data and licences:
docs/speaker-encoder.md. Seeded, one thread, about ten CPU-minutes.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from engine.models.speaker import SPEC, SpeakerEncoder, floored
from engine.training.speaker_corpus import Pseudo, pseudo_speakers, speak_all

_DB = math.log(10.0) / 10.0  # one dB in natural log of power


@dataclass(frozen=True)
class Recipe:
    """Everything that shapes the weights.

    Attributes:
        seed: Of sentences, warps, crops, augmentation and initial weights.
        sentences: Utterances per voice.
        pseudo: Pseudo-speakers per voice.
        steps: Optimiser steps.
        speakers: Speakers per batch.
        crops: Utterances per speaker and batch.
        frames: Shortest and longest crop, at 60 frames per second.
        peak_rate: Of AdamW, after a warm-up of 30 steps, falling to zero on a cosine.
    """

    seed: int = 0
    sentences: int = 70
    pseudo: int = 40
    steps: int = 1500
    speakers: int = 24
    crops: int = 3
    frames: tuple[int, int] = (80, 180)
    peak_rate: float = 2e-3


class Augment:
    """What a channel and a room do to a log-mel: equaliser, limited band, reverberation, noise."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._bands = np.arange(SPEC.n_mels) / SPEC.n_mels

    def __call__(self, mel: NDArray[np.float32]) -> NDArray[np.float32]:
        """(80, F) natural log of power -> the same shape, as another microphone would have heard it."""
        rng = self._rng
        level = float(np.log(np.mean(np.exp(mel))))
        out = mel.astype(np.float64)
        if rng.random() < 0.35:
            out = self._reverberant(out)
        out = out + self._equaliser()[:, None]
        if rng.random() < 0.5:
            out = out + self._band()[:, None]
        snr_db = rng.uniform(8, 50)
        tilt = rng.uniform(-25, 5) * _DB * self._bands
        noise = level - snr_db * _DB + tilt[:, None] + np.log(rng.gamma(3.0, 1 / 3.0, size=out.shape) + 1e-3)
        return np.logaddexp(out, noise).astype(np.float32)

    def _equaliser(self) -> NDArray[np.float64]:
        """A smooth curve of a few dB."""
        curve = np.zeros(SPEC.n_mels)
        for k in range(1, 5):
            size_db = self._rng.normal(0, 4.0 / k)
            curve += size_db * np.cos(math.pi * (k * self._bands + self._rng.uniform(0, 2)))
        return curve * _DB

    def _band(self) -> NDArray[np.float64]:
        """Cut-offs of a telephone or of a codec, at random bands."""
        top = self._rng.integers(52, SPEC.n_mels + 1)  # band 52 of 80 lies near 3.4 kHz
        bottom = self._rng.integers(0, 9)
        cut = np.zeros(SPEC.n_mels)
        cut[top:] = -self._rng.uniform(25, 60) * _DB
        cut[:bottom] = -self._rng.uniform(5, 30) * _DB
        return cut

    def _reverberant(self, mel: NDArray[np.float64]) -> NDArray[np.float64]:
        """Each frame keeps some power of those before it."""
        seconds = self._rng.uniform(0.15, 0.6)
        decay = 10 ** (-6.0 * SPEC.hop / SPEC.rate / seconds)
        wet = 10 ** (-self._rng.uniform(6, 18) / 10)
        power = np.exp(mel)
        tail = np.zeros(SPEC.n_mels)
        out = np.empty_like(power)
        for i in range(power.shape[1]):
            out[:, i] = power[:, i] + wet * tail
            tail = decay * (tail + power[:, i])
        return np.log(out + 1e-12)


class Ge2eLoss(nn.Module):
    """Each utterance belongs nearer to its own speaker's centre (without itself) than to any other's."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(10.0))
        self.offset = nn.Parameter(torch.tensor(-5.0))

    def forward(self, embeddings: Tensor) -> Tensor:
        """(S, U, D) unit vectors of S speakers with U utterances each -> a scalar."""
        S, U, _ = embeddings.shape
        total = embeddings.sum(dim=1)  # (S, D)
        centres = functional.normalize(total, dim=-1)
        own = functional.normalize(total[:, None] - embeddings, dim=-1)  # (S, U, D)
        cosine = torch.einsum("sud,td->sut", embeddings, centres)
        same = (embeddings * own).sum(-1)  # (S, U)
        mask = torch.eye(S, dtype=torch.bool)[:, None, :].expand(S, U, S)
        cosine = torch.where(mask, same[:, :, None].expand(S, U, S), cosine)
        logits = self.scale.clamp(min=1.0) * cosine + self.offset
        target = torch.arange(S).repeat_interleave(U)
        return functional.cross_entropy(logits.reshape(S * U, S), target)


def batch(people: list[Pseudo], recipe: Recipe, augment: Augment, rng: np.random.Generator) -> Tensor:
    """Crops of as many speakers as the recipe says: (S * U, 80, F)."""
    frames = int(rng.integers(recipe.frames[0], recipe.frames[1] + 1))
    chosen = rng.choice(len(people), size=recipe.speakers, replace=False)
    crops = []
    for i in chosen:
        mels = people[i].mels
        for j in rng.choice(len(mels), size=recipe.crops, replace=False):
            crops.append(augment(_crop(mels[j].astype(np.float32), frames, rng)))
    return torch.from_numpy(np.stack(crops))


def _crop(mel: NDArray[np.float32], frames: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """A random stretch of `frames` frames; a short utterance is repeated."""
    if mel.shape[1] < frames:
        mel = np.tile(mel, (1, math.ceil(frames / mel.shape[1])))
    start = int(rng.integers(0, mel.shape[1] - frames + 1))
    return mel[:, start : start + frames]


def train(people: list[Pseudo], recipe: Recipe) -> tuple[SpeakerEncoder, list[float]]:
    """Fit a new encoder; returns it with the loss per step."""
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed + 1)
    augment = Augment(rng)
    encoder, loss_of = SpeakerEncoder(), Ge2eLoss()
    shortest = recipe.frames[0]
    drawn = [batch(people, recipe, augment, rng)[:, :, :shortest] for _ in range(4)]
    _set_statistics(encoder, torch.cat(drawn))
    parameters = [*encoder.parameters(), *loss_of.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=recipe.peak_rate, weight_decay=0.01)
    losses: list[float] = []
    started = time.process_time()
    for step in range(recipe.steps):
        share = min(1.0, (step + 1) / 30) * 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
        optimiser.param_groups[0]["lr"] = recipe.peak_rate * share
        embeddings = encoder.embed_mel(batch(people, recipe, augment, rng))
        loss = loss_of(embeddings.view(recipe.speakers, recipe.crops, -1))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 3.0)
        optimiser.step()
        losses.append(float(loss.detach()))
        if step % 50 == 49:
            mean = sum(losses[-50:]) / 50
            seconds = time.process_time() - started
            sys.stderr.write(f"step {step + 1}/{recipe.steps}  loss {mean:.3f}  {seconds:.0f} CPU-s\n")
    return encoder.eval(), losses


@torch.no_grad()
def _set_statistics(encoder: SpeakerEncoder, mels: Tensor) -> None:
    """Centre and scale each band as the training data have it: (B, 80, F)."""
    mels = floored(mels)
    centred = mels - mels.mean(dim=(1, 2), keepdim=True)
    encoder.mel_mean.copy_(centred.mean(dim=(0, 2)))
    encoder.mel_scale.copy_(1.0 / centred.std(dim=(0, 2)))


def main(arguments: list[str] | None = None) -> int:
    """Make the speech, train, write the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--russian", type=Path, help="WAV folder of Debian's festvox-ru")
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    recipe = Recipe(seed=options.seed, steps=options.steps)
    voices = speak_all(recipe.sentences, recipe.seed, russian=options.russian)
    people = pseudo_speakers(voices, recipe.pseudo, recipe.seed + 1)
    encoder, losses = train(people, recipe)
    metadata = {
        "recipe": json.dumps(recipe.__dict__),
        "voices": json.dumps(sorted(voices)),
        "final_loss": f"{sum(losses[-50:]) / len(losses[-50:]):.4f}",
        "licence": "Apache-2.0; see LICENSES.md beside it for the voices it was trained on",
    }
    encoder.save(options.out, metadata=metadata)
    return 0


if __name__ == "__main__":
    sys.exit(main())
