"""Measure the speaker encoder on recordings of several people: `python -m engine.evaluation.speakers NAME=PATH ...`.

Each PATH is a recording or a folder of them, of one person. Clips of three seconds of speech are compared with
one another; the table is Markdown, as in the encoder's card.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from engine.audio.io import AudioError, read_audio
from engine.audio.resample import resample
from engine.audio.slice import speech_only, speech_segments
from engine.evaluation.similarity import equal_error_rate
from engine.models.speaker import ASSET, RATE_HZ, SpeakerEncoder

CLIP_S = 3.0
MAX_CLIPS = 24


@dataclass(frozen=True)
class Separation:
    """What the pairs of clips gave.

    Attributes:
        names: Speakers, in order.
        table: (S, S) mean cosine; the diagonal leaves each clip's pair with itself out.
        same: Cosines of pairs of one speaker.
        different: Cosines of pairs of two speakers.
    """

    names: list[str]
    table: NDArray[np.float64]
    same: NDArray[np.float64]
    different: NDArray[np.float64]


def clips(path: Path, *, band_hz: int | None = None, clip_s: float = CLIP_S) -> list[NDArray[np.float32]]:
    """Clips of `clip_s` seconds of speech at 24 kHz, at most MAX_CLIPS, spread over the recordings.

    Args:
        path: A recording, or a folder whose recordings of one person are joined.
        band_hz: Narrow the band to that of recordings with this sampling rate, such as 8000.
    """
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    if len(files) > 200:
        files = files[:: len(files) // 200]
    speech: list[NDArray[np.float32]] = []
    for file in files:
        try:
            samples, rate = read_audio(file)
        except AudioError:
            continue  # transcripts and the like lie between recordings
        if band_hz is not None:
            samples, rate = resample(samples, rate, band_hz), band_hz
        heard = resample(samples, rate, RATE_HZ)
        speech.append(speech_only(heard, RATE_HZ, speech_segments(heard, RATE_HZ)))
    joined = np.concatenate(speech) if speech else np.zeros(0, dtype=np.float32)
    length = round(clip_s * RATE_HZ)
    starts = np.arange(0, len(joined) - length + 1, length)
    if len(starts) > MAX_CLIPS:
        starts = starts[np.linspace(0, len(starts) - 1, MAX_CLIPS).astype(int)]
    return [joined[at : at + length] for at in starts]


def separate(encoder: SpeakerEncoder, people: Mapping[str, list[NDArray[np.float32]]]) -> Separation:
    """Embed every clip and compare all with all.

    Raises:
        ValueError: Fewer than two people, or one without two clips.
    """
    if len(people) < 2 or any(len(sounds) < 2 for sounds in people.values()):
        raise ValueError("a comparison needs two people with two clips each")
    vectors = {name: np.stack([encoder.embed(x, RATE_HZ) for x in sounds]) for name, sounds in people.items()}
    names = list(vectors)
    table = np.zeros((len(names), len(names)))
    same: list[NDArray[np.float64]] = []
    different: list[NDArray[np.float64]] = []
    for i, a in enumerate(names):
        for j, b in enumerate(names[i:], start=i):
            cosine = vectors[a] @ vectors[b].T
            pairs = cosine[np.triu_indices(len(cosine), 1)] if i == j else cosine.ravel()
            values = pairs.astype(np.float64)
            table[i, j] = table[j, i] = values.mean()
            (same if i == j else different).append(values)
    return Separation(names, table, np.concatenate(same), np.concatenate(different))


def as_markdown(found: Separation) -> str:
    """The table and the figures under it."""
    lines = ["| | " + " | ".join(found.names) + " |", "|---" * (len(found.names) + 1) + "|"]
    for name, row in zip(found.names, found.table, strict=True):
        lines.append(f"| {name} | " + " | ".join(f"{value:.2f}" for value in row) + " |")
    error, threshold = equal_error_rate(found.same, found.different)
    low, middle = np.percentile(found.same, [5, 50])
    typical, high, most = np.percentile(found.different, [50, 95, 99])
    lines += [
        "",
        f"{len(found.same)} pairs of one speaker: median {middle:.3f}, 5 % below {low:.3f}.",
        f"{len(found.different)} pairs of two: median {typical:.3f}, 5 % above {high:.3f}, 1 % above {most:.3f}.",
        f"Equal error rate {100 * error:.1f} % at {threshold:.3f}.",
    ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Read the recordings, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("people", nargs="+", metavar="NAME=PATH")
    parser.add_argument("--weights", type=Path, default=ASSET)
    parser.add_argument("--band", type=int, help="narrow everything to this sampling rate first, in Hz")
    parser.add_argument("--clip", type=float, default=CLIP_S, help="seconds of speech per clip")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    people = {}
    for entry in options.people:
        name, _, path = entry.partition("=")
        people[name] = clips(Path(path), band_hz=options.band, clip_s=options.clip)
    sys.stdout.write(as_markdown(separate(SpeakerEncoder.pretrained(options.weights), people)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
