"""Random batches out of utterances in memory: crops for the vocoder, whole sentences for the acoustic model.

Every batch depends on the seed and the step's number alone, so a resumed run goes on with the same data.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.random import normal
from engine.training.features import Utterance

CROP_FRAMES = 65  # 0.8 s at 80 frames a second
CROPS = 10


class Crops:
    """Crops of equal length for the vocoder, from weighted sets of utterances."""

    def __init__(
        self,
        sets: Sequence[tuple[float, Sequence[Utterance]]],
        *,
        hop: int,
        seed: int,
        frames: int = CROP_FRAMES,
        size: int = CROPS,
    ) -> None:
        """Take (weight, utterances) pairs; each set is drawn by its weight, an utterance in it by its length."""
        self._sets = [[u for u in items if u.mel.shape[1] > frames + 1] for _, items in sets]
        weights = np.array([w if items else 0.0 for (w, _), items in zip(sets, self._sets, strict=True)])
        self._weights = weights / weights.sum()
        self._lengths = [np.array([u.mel.shape[1] for u in items], dtype=np.float64) for items in self._sets]
        self._hop, self._frames, self._size, self._seed = hop, frames, size, seed
        self._noise = normal(seed, "vocoder-training", (2_000_000,))

    def __call__(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return mel (B, M, F), F0 (B, F), noise and samples (B, (F - 1) * hop) of step number `step`."""
        rng = np.random.default_rng((self._seed, step))
        parts: list[tuple[NDArray[np.float32], ...]] = []
        n = (self._frames - 1) * self._hop
        for _ in range(self._size):
            which = int(rng.choice(len(self._sets), p=self._weights))
            lengths = self._lengths[which]
            item = self._sets[which][int(rng.choice(len(lengths), p=lengths / lengths.sum()))]
            begin = int(rng.integers(0, item.mel.shape[1] - self._frames))
            gain = float(np.exp(rng.uniform(-0.7, 0.2)))
            samples = item.samples[begin * self._hop : begin * self._hop + n]
            samples = np.pad(samples, (0, n - len(samples)))
            at = int(rng.integers(0, len(self._noise) - n))
            span = slice(begin, begin + self._frames)
            mel = np.maximum(item.mel[:, span] + np.log(gain), np.log(1e-5))
            parts.append((mel, item.f0[span], self._noise[at : at + n], samples * gain))
        columns = [
            torch.from_numpy(np.stack(column).astype(np.float32)) for column in zip(*parts, strict=True)
        ]
        return columns[0], columns[1], columns[2], columns[3]


class Sentences:
    """Padded batches of whole sentences for the acoustic model."""

    def __init__(self, items: Sequence[Utterance], *, size: int, pad: int, seed: int) -> None:
        self._items = sorted(items, key=lambda u: u.mel.shape[1])
        self._size, self._pad, self._seed = size, pad, seed

    def __call__(self, step: int) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return tokens (B, T, 3), durations (B, T) and the targets of `losses.acoustic_loss`."""
        rng = np.random.default_rng((self._seed, step))
        near = min(len(self._items), self._size * 10)  # sentences of like length: little padding
        begin = int(rng.integers(0, len(self._items) - near + 1))
        chosen = rng.choice(near, min(self._size, near), replace=False)
        return self.collate([self._items[begin + int(i)] for i in chosen])

    def collate(self, chosen: Sequence[Utterance]) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Pad the chosen sentences to one batch."""
        n_tokens = max(len(u.tokens) for u in chosen)
        n_frames = max(u.mel.shape[1] for u in chosen)
        tokens = np.zeros((len(chosen), n_tokens, 3), np.int64)
        tokens[..., 0] = self._pad
        durations = np.zeros((len(chosen), n_tokens), np.int64)
        mel = np.zeros((len(chosen), chosen[0].mel.shape[0], n_frames), np.float32)
        f0 = np.zeros((len(chosen), n_frames), np.float32)
        frame_mask, token_mask = np.zeros_like(f0), np.zeros(durations.shape, np.float32)
        for row, u in enumerate(chosen):
            t, f = len(u.tokens), u.mel.shape[1]
            tokens[row, :t], durations[row, :t], mel[row, :, :f], f0[row, :f] = (
                u.tokens,
                u.durations,
                u.mel,
                u.f0,
            )
            frame_mask[row, :f] = 1.0
            token_mask[row, :t] = 1.0
        targets = [torch.from_numpy(a) for a in (durations, mel, f0, frame_mask, token_mask)]
        return torch.from_numpy(tokens), torch.from_numpy(durations), targets
