"""Train the letter-to-phone network on festival's CMU lexicon, read where Debian's festlex-cmu puts it."""

import math
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.compat import fast_bfloat16
from engine.models.g2p import HISTORY, LETTERS, WINDOW, LetterToPhone, window
from engine.training.sentences import sentences

DOCUMENTS = (Path("/usr/share/doc"), Path("/usr/share/perl"), Path("/usr/share/common-licenses"))
Lexicon = Mapping[str, tuple[str, ...]]
Chunking = tuple[str, ...]


def word_counts(roots: Iterable[Path] = DOCUMENTS, *, limit_bytes: int = 60_000_000) -> Counter[str]:
    """Count the words of the system's documents: which words are common, so that training sees them more often."""
    counts: Counter[str] = Counter()
    read = 0
    for root in roots:
        for path in sorted(root.rglob("*")) if root.is_dir() else ():
            if path.suffix not in {"", ".txt", ".pod", ".html"} or not path.is_file() or read > limit_bytes:
                continue
            data = path.read_bytes()[:400_000]
            read += len(data)
            counts.update(re.findall(r"[a-z']+", data.decode("latin-1").lower()))
    return counts


class Aligner:
    """Viterbi alignment of letters with chunks of 0 to 2 phones, its probabilities re-estimated from the result."""

    def __init__(self) -> None:
        self._cost: dict[str, dict[str, float]] = {}

    def align(self, word: str, phones: Sequence[str]) -> Chunking | None:
        """Return one chunk per letter, or None where the phones are more than two per letter."""
        width = len(phones) + 1
        best = [math.inf] * width
        best[0] = 0.0
        back: list[list[int]] = []
        for letter in word:
            costs = self._cost.get(letter, {})
            row, steps = [math.inf] * width, [0] * width
            for end in range(width):
                for size in range(min(2, end) + 1):
                    chunk = " ".join(phones[end - size : end])
                    cost = best[end - size] + costs.get(chunk, 9.0 + 2.0 * abs(size - 1))
                    if cost < row[end]:
                        row[end], steps[end] = cost, size
            best = row
            back.append(steps)
        if best[-1] == math.inf:
            return None
        chunks, end = [], width - 1
        for steps in reversed(back):
            chunks.append(" ".join(phones[end - steps[end] : end]))
            end -= steps[end]
        return tuple(reversed(chunks))

    def fit(self, lexicon: Lexicon, *, rounds: int = 6) -> None:
        """Re-estimate the chunk costs of every letter on the lexicon, `rounds` times."""
        for word, phones in lexicon.items():  # a first guess: what stands at the same relative place
            for i, letter in enumerate(word):
                self._cost.setdefault(letter, {})[phones[i * len(phones) // len(word)]] = 4.0
        for _ in range(rounds):
            counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
            for word, phones in lexicon.items():
                for letter, chunk in zip(word, self.align(word, phones) or (), strict=False):
                    counts[letter][chunk] += 1
            self._cost = {
                letter: {chunk: -math.log(n / sum(seen.values())) for chunk, n in seen.items() if n > 1}
                for letter, seen in counts.items()
            }


class G2pNet(nn.Module):
    """The network that `LetterToPhone` runs, in torch, for training."""

    def __init__(
        self, n_chunks: int, *, letter_dim: int = 24, history_dim: int = 32, hidden: int = 512
    ) -> None:
        super().__init__()
        self.letters = nn.Embedding(len(LETTERS), letter_dim)
        self.history = nn.Embedding(n_chunks + 1, history_dim)
        self.l1 = nn.Linear((2 * WINDOW + 1) * letter_dim + HISTORY * history_dim, hidden)
        self.l2 = nn.Linear(hidden, hidden)
        self.l3 = nn.Linear(hidden, n_chunks)
        self.drop = nn.Dropout(0.1)

    def forward(self, letters: Tensor, history: Tensor) -> Tensor:
        """Give (B, C) logits for (B, 13) letters and (B, 3) last chunks."""
        x = torch.cat([self.letters(letters).flatten(1), self.history(history).flatten(1)], dim=1)
        x = self.drop(torch.relu(self.l1(x)))
        logits: Tensor = self.l3(self.drop(torch.relu(self.l2(x))))
        return logits

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Return the weights by the names of `G2pWeights`."""
        out = {"letters": self.letters.weight, "history": self.history.weight}
        for index, layer in enumerate((self.l1, self.l2, self.l3), 1):
            out[f"w{index}"], out[f"b{index}"] = layer.weight.t(), layer.bias
        return {name: value.detach().float().contiguous().numpy() for name, value in out.items()}


@dataclass(frozen=True)
class G2pResult:
    """A trained network: its arrays, its chunk names and what it gets right."""

    arrays: dict[str, NDArray[np.float32]]
    chunks: tuple[str, ...]
    figures: dict[str, float]


def _rows(
    aligned: Mapping[str, Chunking], index: Mapping[str, int], repeats: Callable[[str], int]
) -> tuple[NDArray[np.int8], NDArray[np.int16], NDArray[np.int16]]:
    letters, history, target = [], [], []
    for word, chunks in aligned.items():
        ids = [index[chunk] for chunk in chunks]
        padded = [len(index)] * HISTORY + ids
        tails = np.array([padded[i : i + HISTORY] for i in range(len(ids))])
        for _ in range(repeats(word)):
            letters.append(window(word))
            history.append(tails)
            target.append(ids)
    return (
        np.concatenate(letters).astype(np.int8),
        np.concatenate(history).astype(np.int16),
        np.concatenate(target).astype(np.int16),
    )


def accuracy(model: LetterToPhone, lexicon: Lexicon, words: Sequence[str]) -> tuple[float, float]:
    """Return the share of words whose phones are right, with stress and without."""
    full = plain = 0
    for word in words:
        got, want = model(word), lexicon[word]
        full += got == want
        plain += [p.rstrip("012") for p in got] == [p.rstrip("012") for p in want]
    return full / max(1, len(words)), plain / max(1, len(words))


def train_g2p(
    lexicon: Lexicon, *, seed: int, cpu_s: float, log: Callable[[str], None] = print, hidden: int = 512
) -> G2pResult:
    """Align, train for `cpu_s` seconds of one thread, and measure on words that training never saw.

    Three in a hundred words that the documents do not contain often are held out; they are what an unknown
    word looks like. The rest is repeated by the logarithm of its count.
    """
    rng = random.Random(seed)
    torch.manual_seed(seed)
    counts = word_counts()
    for text in sentences(seed, 4000, ()):  # ordinary words, which manuals seldom use
        counts.update(re.findall(r"[a-z']+", text.lower()))
    aligner = Aligner()
    aligner.fit({word: lexicon[word] for word in rng.sample(sorted(lexicon), min(15000, len(lexicon)))})
    aligned = {word: chunks for word in sorted(lexicon) if (chunks := aligner.align(word, lexicon[word]))}
    seen = Counter(chunk for chunks in aligned.values() for chunk in chunks)
    names = tuple(sorted(chunk for chunk, n in seen.items() if n >= 15))
    index = {chunk: i for i, chunk in enumerate(names)}
    aligned = {word: chunks for word, chunks in aligned.items() if all(chunk in index for chunk in chunks)}
    rare = [word for word in aligned if counts[word] < 20]
    held = set(rng.sample(rare, len(rare) * 3 // 100))
    log(f"g2p: {len(aligned)} of {len(lexicon)} words aligned, {len(names)} chunks, {len(held)} held out")
    train = {word: chunks for word, chunks in aligned.items() if word not in held}
    rows = _rows(train, index, lambda word: 1 + min(9, int(math.log2(1 + counts[word]))))
    net = _fit(G2pNet(len(names), hidden=hidden), rows, cpu_s=cpu_s, log=log)
    model = LetterToPhone(net.arrays(), names)
    common = [word for word, _ in counts.most_common() if word in aligned and len(word) > 1][:3000]
    sample = rng.sample(sorted(train), 3000)
    figures: dict[str, float] = {"words": len(lexicon), "held_out_words": len(held), "chunks": len(names)}
    for key, words in (("held_out", sorted(held)), ("seen", sample), ("common", common)):
        figures[f"{key}_exact"], figures[f"{key}_without_stress"] = accuracy(model, lexicon, words)
    log(f"g2p: {figures}")
    return G2pResult(net.arrays(), names, figures)


def _fit(
    net: G2pNet,
    rows: tuple[NDArray[np.int8], NDArray[np.int16], NDArray[np.int16]],
    *,
    cpu_s: float,
    log: Callable[[str], None],
    batch: int = 4096,
) -> G2pNet:
    letters, history, target = (torch.from_numpy(part) for part in rows)
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-3)
    start, step, done = time.process_time(), 0, 0.0
    while done < 1.0:
        order = torch.randperm(len(target))
        for i in range(0, len(order) - batch + 1, batch):
            done = (time.process_time() - start) / cpu_s
            if done >= 1.0:
                break
            rate = 3e-3 * min(1.0, (step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * done)) + 1e-5
            for group in optimiser.param_groups:
                group["lr"] = rate
            pick = order[i : i + batch]
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=fast_bfloat16()):
                logits = net(letters[pick].long(), history[pick].long())
            loss = nn.functional.cross_entropy(logits.float(), target[pick].long(), label_smoothing=0.02)
            optimiser.zero_grad()
            torch.autograd.backward([loss])
            optimiser.step()
            step += 1
            if step % 200 == 0:
                log(f"g2p: step {step} loss {loss.item():.3f} {done:.0%}")
    return net.eval()
