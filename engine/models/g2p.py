"""Letters to phones: a small network over a window of letters and its own last answers, with a beam; numpy only.

Every letter gives a chunk of zero, one or two phones (vowels carry their stress digit). The network sees the
letters around it and the last chunks. Source of the idea: NETtalk, Sejnowski and Rosenberg 1987; the feedback
and the beam are as in joint-sequence models, Bisani and Ney 2008.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LETTERS = "_abcdefghijklmnopqrstuvwxyz'"
WINDOW = 6
HISTORY = 3
LETTER_INDEX = {letter: index for index, letter in enumerate(LETTERS)}
_MAX_LETTERS = 40


@dataclass(frozen=True)
class G2pWeights:
    """Weights of the network: letter table (28, E), chunk table (C + 1, H), and three dense layers."""

    letters: NDArray[np.float32]
    history: NDArray[np.float32]
    w1: NDArray[np.float32]
    b1: NDArray[np.float32]
    w2: NDArray[np.float32]
    b2: NDArray[np.float32]
    w3: NDArray[np.float32]
    b3: NDArray[np.float32]


def window(word: str) -> NDArray[np.int64]:
    """Return (len(word), 2 * WINDOW + 1) letter indices, 0 outside the word."""
    padded = [0] * WINDOW + [LETTER_INDEX.get(letter, 0) for letter in word] + [0] * WINDOW
    return np.array([padded[i : i + 2 * WINDOW + 1] for i in range(len(word))], dtype=np.int64)


class LetterToPhone:
    """Pronounces one word at a time; equal words give equal phones, and each is computed once."""

    def __init__(
        self, weights: Mapping[str, NDArray[np.float32]], chunks: Sequence[str], *, beam: int = 5
    ) -> None:
        """Take the tensors of `G2pWeights` by name, and the chunk names ("" for silent, "k s1" and so on)."""
        self._w = G2pWeights(
            **{name: np.asarray(weights[name], np.float32) for name in G2pWeights.__annotations__}
        )
        self._chunks = tuple(chunks)
        self._beam = beam
        self._known: dict[str, tuple[str, ...]] = {}

    def __call__(self, word: str) -> tuple[str, ...]:
        """Return the phones of a lower-case word; unknown letters are silent; words are cut after 40 letters."""
        word = word[:_MAX_LETTERS]
        if word not in self._known:
            self._known[word] = self._decode(word) if word else ()
        return self._known[word]

    def _decode(self, word: str) -> tuple[str, ...]:
        start = len(self._chunks)
        letters = self._w.letters[window(word)].reshape(len(word), -1)
        beams: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
        for row in letters:
            tails = np.array([((start,) * HISTORY + chosen)[-HISTORY:] for _, chosen in beams])
            scores = self._log_probabilities(row, tails)
            grown: list[tuple[float, tuple[int, ...]]] = []
            for (score, chosen), line in zip(beams, scores, strict=True):
                best = np.argsort(-line, kind="stable")[: self._beam]
                grown += [(score + float(line[index]), (*chosen, int(index))) for index in best]
            beams = sorted(grown, key=lambda item: (-item[0], item[1]))[: self._beam]
        return tuple(phone for index in beams[0][1] for phone in self._chunks[index].split())

    def _log_probabilities(self, row: NDArray[np.float32], tails: NDArray[np.int64]) -> NDArray[np.float32]:
        w = self._w
        history = w.history[tails].reshape(len(tails), -1)
        x = np.concatenate([np.broadcast_to(row, (len(tails), row.size)), history], axis=1)
        x = np.maximum(x @ w.w1 + w.b1, 0.0)
        x = np.maximum(x @ w.w2 + w.b2, 0.0)
        logits = x @ w.w3 + w.b3
        logits -= logits.max(axis=1, keepdims=True)
        result: NDArray[np.float32] = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return result
