"""Train the acoustic model and the vocoder on prepared utterances; the base recipe and `fit` call these."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from engine.compat import fast_bfloat16
from engine.config import VoiceConfig
from engine.models.acoustic import DirectAcoustic
from engine.random import normal
from engine.training.batches import Crops, Sentences
from engine.training.features import Utterance
from engine.training.loop import Progress, Schedule, run
from engine.training.losses import acoustic_loss, multi_resolution_stft

SENTENCES = 6


def mixed_precision() -> torch.autocast:
    """Return the context for a forward pass in training: bfloat16 where it helps; the losses stay in float32."""
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=fast_bfloat16())


def train_acoustic(
    net: DirectAcoustic,
    items: Sequence[Utterance],
    schedule: Schedule,
    *,
    seed: int,
    checkpoint: Path | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> list[float]:
    """Train on labelled utterances and return the losses."""
    batches = Sentences(items, size=SENTENCES, pad=net.pad, seed=seed)

    def step(number: int) -> Tensor:
        tokens, durations, targets = batches(number)
        with mixed_precision():
            outputs = net.train_forward(tokens, durations)
        return acoustic_loss([out.float() for out in outputs], targets)[0]

    return run(net, step, schedule, checkpoint=checkpoint, progress=progress)


def acoustic_figures(net: DirectAcoustic, items: Sequence[Utterance]) -> dict[str, float]:
    """Return the parts of the loss on utterances that training did not see, with their own durations."""
    batches = Sentences(items, size=1, pad=net.pad, seed=0)
    sums: dict[str, float] = {}
    with torch.no_grad():
        for item in items:
            tokens, durations, targets = batches.collate([item])
            _, parts = acoustic_loss(net.train_forward(tokens, durations), targets)
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + value / len(items)
    return sums


def train_vocoder(
    net: nn.Module,
    crops: Crops,
    schedule: Schedule,
    *,
    checkpoint: Path | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> list[float]:
    """Train on crops and return the losses."""

    def step(number: int) -> Tensor:
        mel, f0, noise, samples = crops(number)
        with mixed_precision():
            made = net(mel, f0, noise)
        return multi_resolution_stft(made.float(), samples)

    return run(net, step, schedule, checkpoint=checkpoint, progress=progress, cancelled=cancelled)


def vocoder_figure(net: nn.Module, items: Sequence[Utterance], config: VoiceConfig) -> float:
    """Return the mean loss of whole utterances resynthesised from their own mel and F0."""
    losses = []
    with torch.no_grad():
        for number, item in enumerate(items):
            n = (item.mel.shape[1] - 1) * config.hop
            noise = torch.from_numpy(normal(0, f"vocoder-figure-{number}", (1, n)))
            made = net(torch.from_numpy(item.mel)[None], torch.from_numpy(item.f0)[None], noise)
            losses.append(float(multi_resolution_stft(made, torch.from_numpy(item.samples[:n])[None])))
    return float(np.mean(losses))


def aligned_to_model(net: DirectAcoustic, items: Sequence[Utterance]) -> list[Utterance]:
    """Return the utterances with the model's mel in place of their own, in their own timing.

    A vocoder that also trains on these learns to sharpen what the acoustic model smooths.
    """
    found = []
    with torch.no_grad():
        for item in items:
            tokens, durations = (torch.from_numpy(a)[None] for a in (item.tokens, item.durations))
            mel = net(tokens, durations)[0][0].numpy().astype(np.float32)
            found.append(Utterance(item.samples, mel, item.f0, item.tokens, item.durations))
    return found
