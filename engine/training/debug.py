"""The debug voice: every part of a voice, each so small that it trains a step and speaks within a second.

It babbles; it is for tests of files, runtimes and verification, not for ears. Its first weights come from our own
random numbers, so they are the same under every torch.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from engine.config import AcousticConfig, VocoderConfig, VoiceConfig
from engine.models.g2p import HISTORY, LETTERS, WINDOW
from engine.models.registry import build_acoustic, build_vocoder
from engine.random import normal, uniform
from engine.synthesis.voice_file import Speaker, Statistics, write_speaker, write_voice
from engine.text.symbols import PHONES
from engine.training.loop import arrays
from engine.training.losses import multi_resolution_stft

_CHUNKS = (
    "",
    "ax0",
    "eh1",
    "iy1",
    "ow1",
    "aa1",
    "b",
    "d",
    "f",
    "g",
    "hh",
    "k",
    "l",
    "m",
    "n",
    "p",
    "r",
    "s",
    "t",
    "v",
    "w",
    "z",
)
CONFIG = VoiceConfig(
    rate=16000,
    n_fft=512,
    win=400,
    hop=200,
    n_mels=40,
    acoustic=AcousticConfig(width=16, hidden=32, encoder_layers=1, layers=1),
    vocoder=VocoderConfig(width=16, hidden=32, layers=1),
    phones=PHONES,
    chunks=_CHUNKS,
    origin="debug",
)


def make_debug_voice(out: Path, seed: int = 0) -> tuple[Path, Path]:
    """Write `out`/debug.safetensors and debug.speaker.safetensors, under 200 KB together, after one training step.

    Args:
        out: Folder, made if it is not there.
        seed: Another seed gives another voice.

    Returns:
        The weights file and the speaker file.
    """
    out.mkdir(parents=True, exist_ok=True)
    acoustic, vocoder = build_acoustic(CONFIG), build_vocoder(CONFIG)
    for name, net in (("acoustic", acoustic), ("vocoder", vocoder)):
        _fill(net, seed, name)
    with torch.no_grad():
        head = acoustic.get_submodule("head")
        assert isinstance(head, nn.Linear)
        head.bias[-1] = 1.0  # mostly voiced, so that F0 is there to be compared
    train_step(vocoder, seed=seed)
    base = _statistics(seed, "base", log_f0=5.2)
    tensors = {**arrays(acoustic, "acoustic."), **arrays(vocoder, "vocoder."), **_g2p(seed)}
    weights, speaker = out / "debug.safetensors", out / "debug.speaker.safetensors"
    write_voice(weights, replace(CONFIG), tensors, base)
    direction = normal(seed, "debug-embedding", (256,))
    embedding = (direction / np.linalg.norm(direction)).astype(np.float32)
    write_speaker(speaker, Speaker(embedding, _statistics(seed, "speaker", log_f0=4.9), 0.95))
    return weights, speaker


def train_step(vocoder: nn.Module, *, seed: int) -> tuple[float, float]:
    """Train one step on a made-up half second and return the loss before and after it."""
    frames = 41
    n = (frames - 1) * CONFIG.hop
    time_s = np.arange(n) / CONFIG.rate
    wave = 0.1 * np.sum([np.sin(2 * np.pi * 140 * k * time_s) / k for k in range(1, 12)], axis=0)
    target = torch.from_numpy(wave.astype(np.float32))[None]
    mel = torch.from_numpy(normal(seed, "debug-mel", (1, CONFIG.n_mels, frames)) - 5.0)
    f0 = torch.full((1, frames), 140.0)
    noise = torch.from_numpy(normal(seed, "debug-noise", (1, n)))
    optimiser = torch.optim.SGD(vocoder.parameters(), lr=1e-2)
    vocoder.train()
    losses = []
    for _ in range(2):
        loss = multi_resolution_stft(vocoder(mel, f0, noise), target)
        losses.append(float(loss.detach()))
        if len(losses) == 1:
            optimiser.zero_grad()
            torch.autograd.backward([loss])
            nn.utils.clip_grad_norm_(vocoder.parameters(), 1.0)
            optimiser.step()
    vocoder.eval()
    return losses[0], losses[1]


def _fill(net: nn.Module, seed: int, name: str) -> None:
    """Give every matrix our own random numbers, scaled by its inputs; scales and biases stay as built."""
    state = net.state_dict()
    for key, value in state.items():
        if value.ndim > 1:
            scale = 1.0 / np.sqrt(max(1, int(np.prod(value.shape[1:]))))
            drawn = normal(seed, f"debug-{name}-{key}", tuple(value.shape)) * np.float32(scale)
            state[key] = torch.from_numpy(drawn)
        elif key.endswith("bias"):
            state[key] = torch.zeros_like(value)
    net.load_state_dict(state)


def _statistics(seed: int, name: str, *, log_f0: float) -> Statistics:
    slope = np.linspace(-4.0, -7.0, CONFIG.n_mels, dtype=np.float32)
    wiggle = 0.2 * (uniform(seed, f"debug-{name}", (CONFIG.n_mels,)) - 0.5)
    return Statistics(
        np.array([log_f0, 0.2], np.float32),
        (slope + wiggle).astype(np.float32),
        np.full(CONFIG.n_mels, 1.5, np.float32),
    )


def _g2p(seed: int) -> dict[str, NDArray[Any]]:
    hidden, letter_dim, history_dim = 24, 8, 8
    shapes = {
        "letters": (len(LETTERS), letter_dim),
        "history": (len(_CHUNKS) + 1, history_dim),
        "w1": ((2 * WINDOW + 1) * letter_dim + HISTORY * history_dim, hidden),
        "b1": (hidden,),
        "w2": (hidden, hidden),
        "b2": (hidden,),
        "w3": (hidden, len(_CHUNKS)),
        "b3": (len(_CHUNKS),),
    }
    return {
        f"g2p.{key}": normal(seed, f"debug-g2p-{key}", shape) * np.float32(0.3)
        for key, shape in shapes.items()
    }
