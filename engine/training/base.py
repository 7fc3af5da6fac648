"""The recipe of the base voice: `python -m engine.training.base --out DIR`, in stages that resume.

Stages: data, g2p, acoustic, vocoder, sharpen, pack. Each leaves a file in DIR and is passed over where that file is; a
training stage goes on from its checkpoint. Needs Debian's festival, festvox-us-slt-hts, festlex-cmu and flite.
Costs and figures: docs/training.md.
"""

import argparse
import json
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from engine import safetensors
from engine.config import VoiceConfig
from engine.models.acoustic import DirectAcoustic
from engine.models.vocoder import SourceFilterVocoder
from engine.synthesis.timbre import statistics_of
from engine.synthesis.voice_file import Speaker, Statistics, write_speaker, write_voice
from engine.text.symbols import PHONES
from engine.training import teacher
from engine.training.batches import Crops
from engine.training.features import Utterance, load_folder
from engine.training.loop import Progress, Schedule, arrays, load_arrays
from engine.training.sentences import sentences
from engine.training.train_g2p import train_g2p
from engine.training.train_models import (
    acoustic_figures,
    aligned_to_model,
    train_acoustic,
    train_vocoder,
    vocoder_figure,
)

STAGES = ("data", "g2p", "acoustic", "vocoder", "sharpen", "pack")
# how much faster or slower each recording of a flite voice is played, in turn: speakers that nobody recorded
_FLITE: dict[str, tuple[float, ...]] = {
    "rms": (1.0, 0.92, 1.08, 0.85), "awb": (1.0, 0.9, 1.12, 1.05), "kal16": (1.0, 0.88, 1.1, 0.95),
}  # fmt: skip
_HELD_OUT = 40
_Weighted = Sequence[tuple[float, Sequence[Utterance]]]


@dataclass(frozen=True)
class Recipe:
    """Everything that shapes the base; the seconds are those of one thread."""

    seed: int = 1
    sentences: int = 1500
    flite_sentences: int = 140
    g2p_s: float = 360.0
    acoustic_s: float = 420.0
    vocoder_s: float = 330.0
    sharpen_s: float = 210.0


class Workshop:
    """Runs stages in one folder."""

    def __init__(self, out: Path, recipe: Recipe, *, log: Callable[[str], None]) -> None:
        self.out, self.recipe, self.log = out, recipe, log
        self.config = VoiceConfig(phones=PHONES, origin="base-en")
        self._sets: dict[str, list[Utterance]] = {}
        out.mkdir(parents=True, exist_ok=True)

    def data(self) -> None:
        """Speak the sentences with festival's HTS voice and three flite voices."""
        if (self.out / "data.json").is_file():
            return
        words = sorted(word for word in teacher.read_lexicon() if len(word) > 2 and "'" not in word)
        texts = list(sentences(self.recipe.seed, self.recipe.sentences, words))
        teacher.speak_festival(texts, self.out / "hts")
        count = self.recipe.flite_sentences
        more = list(sentences(self.recipe.seed + 1, count * len(_FLITE), words))
        random.Random(self.recipe.seed + 4).shuffle(more)
        for number, voice in enumerate(_FLITE):
            teacher.speak_flite(
                more[number * count : (number + 1) * count], voice, self.out / f"flite-{voice}"
            )
        self._note("data", {"sentences": len(texts), "flite_sentences": len(more)})

    def g2p(self) -> None:
        """Train the letter-to-phone network on the lexicon."""
        if (self.out / "g2p.json").is_file():
            return
        result = train_g2p(
            teacher.read_lexicon(), seed=self.recipe.seed, cpu_s=self.recipe.g2p_s, log=self.log
        )
        safetensors.write(self.out / "g2p.safetensors", result.arrays, {"chunks": json.dumps(result.chunks)})
        self._note("g2p", result.figures)

    def acoustic(self) -> None:
        """Train the acoustic model on the HTS voice."""
        if (self.out / "acoustic.json").is_file():
            return
        torch.manual_seed(self.recipe.seed)
        net = DirectAcoustic(self.config)
        hts = self._utterances()["hts"]
        schedule = Schedule(self.recipe.acoustic_s, 1.5e-3, betas=(0.9, 0.98))
        checkpoint = self.out / "acoustic.checkpoint.safetensors"
        losses = train_acoustic(
            net,
            hts[:-_HELD_OUT],
            schedule,
            seed=self.recipe.seed,
            checkpoint=checkpoint,
            progress=self._progress("acoustic"),
        )
        safetensors.write(self.out / "acoustic.safetensors", arrays(net), {})
        self._note("acoustic", {"steps": len(losses), **acoustic_figures(net, hts[-_HELD_OUT:])})

    def vocoder(self) -> None:
        """Train the vocoder on the true mels of all voices."""
        if (self.out / "vocoder.json").is_file():
            return
        torch.manual_seed(self.recipe.seed)
        net, sets = SourceFilterVocoder(self.config), self._utterances()
        weighted = [(0.4, sets["hts"][:-_HELD_OUT]), *((0.2, sets[name][:-5]) for name in _FLITE)]
        self._train_vocoder(net, weighted, Schedule(self.recipe.vocoder_s, 1.5e-3, clip=10.0), name="vocoder")

    def sharpen(self) -> None:
        """Train the vocoder on the acoustic model's own mels beside the true ones: they are smoother."""
        if (self.out / "sharpen.json").is_file():
            return
        net, sets = SourceFilterVocoder(self.config), self._utterances()
        load_arrays(net, safetensors.read(self.out / "vocoder.safetensors")[0])
        acoustic = DirectAcoustic(self.config)
        load_arrays(acoustic, safetensors.read(self.out / "acoustic.safetensors")[0])
        hts = sets["hts"][:-_HELD_OUT]
        made = aligned_to_model(acoustic.eval(), hts[::2])
        weighted = [(0.2, hts), (0.35, made), *((0.15, sets[name][:-5]) for name in _FLITE)]
        self._train_vocoder(net, weighted, Schedule(self.recipe.sharpen_s, 8e-4, clip=10.0), name="sharpen")

    def _train_vocoder(
        self, net: SourceFilterVocoder, weighted: _Weighted, schedule: Schedule, *, name: str
    ) -> None:
        losses = train_vocoder(
            net, Crops(weighted, hop=self.config.hop, seed=self.recipe.seed), schedule,
            checkpoint=self.out / f"{name}.checkpoint.safetensors", progress=self._progress(name),
        )  # fmt: skip
        safetensors.write(self.out / f"{name}.safetensors", arrays(net), {})
        sets = self._utterances()
        figures = {key: vocoder_figure(net, items[-5:], self.config) for key, items in sets.items()}
        self._note(name, {"steps": len(losses), **figures})

    def pack(self) -> None:
        """Write base.safetensors and base.speaker.safetensors."""
        hts = self._utterances()["hts"]
        statistics = statistics_of([u.mel for u in hts], [u.f0 for u in hts])
        pack_base(self.out, self.config, statistics, hts[:12])
        self.log(f"packed {self.out / 'base.safetensors'}")

    def _utterances(self) -> dict[str, list[Utterance]]:
        if not self._sets:
            self.log("reading recordings")
            self._sets["hts"] = load_folder(self.out / "hts", self.config, labelled=True)
            for voice, factors in _FLITE.items():
                self._sets[voice] = load_folder(
                    self.out / f"flite-{voice}", self.config, labelled=False, factors=factors
                )
        return self._sets

    def _note(self, stage: str, figures: dict[str, float]) -> None:
        safetensors.write_bytes(self.out / f"{stage}.json", json.dumps(figures, indent=1).encode())
        self.log(f"{stage}: {json.dumps(figures)}")

    def _progress(self, name: str) -> Callable[[Progress], None]:
        def show(now: Progress) -> None:
            if now.step % 100 == 0:
                self.log(f"{name}: step {now.step} loss {now.loss:.3f} {now.done:.0%} {now.seconds:.0f} s")

        return show


def pack_base(out: Path, config: VoiceConfig, statistics: Statistics, heard: Sequence[Utterance]) -> None:
    """Join the parts that lie in `out` to the two files of the base.

    Args:
        out: Folder with g2p, acoustic and sharpen safetensors.
        config: Sizes; the chunk names come from the g2p file.
        statistics: Of the base's speaker.
        heard: Recordings that its embedding is computed from.
    """
    from engine.models.speaker import SpeakerEncoder

    tensors = {}
    for part, name in (("g2p", "g2p"), ("acoustic", "acoustic"), ("vocoder", "sharpen")):
        values, metadata = safetensors.read(out / f"{name}.safetensors")
        tensors.update({f"{part}.{name}": value for name, value in values.items()})
        if part == "g2p":
            config = replace(config, chunks=tuple(json.loads(metadata["chunks"])))
    samples = np.concatenate([u.samples for u in heard])
    embedding = SpeakerEncoder.pretrained().embed(samples, config.rate)
    write_voice(out / "base.safetensors", config, tensors, statistics)
    write_speaker(out / "base.speaker.safetensors", Speaker(embedding, statistics, 1.0))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stages that are missing; see `--help`."""
    parser = argparse.ArgumentParser(prog="python -m engine.training.base", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="work folder, about 400 MB")
    parser.add_argument("--stage", choices=STAGES, action="append", help="only this stage (repeatable)")
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--scale", type=float, default=1.0, help="factor of all training times")
    parser.add_argument(
        "--sentences", type=int, default=Recipe.sentences, help="how many festival speaks, at least 60"
    )
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    count = max(60, given.sentences)
    flite = max(8, count * Recipe.flite_sentences // Recipe.sentences)
    recipe = Recipe(seed=given.seed, sentences=count, flite_sentences=flite)
    times = {
        name: getattr(recipe, name) * given.scale
        for name in ("g2p_s", "acoustic_s", "vocoder_s", "sharpen_s")
    }

    def log(line: str) -> None:
        sys.stderr.write(line + "\n")

    shop = Workshop(given.out, replace(recipe, **times), log=log)
    for stage in given.stage or STAGES:
        getattr(shop, stage)()
    return 0


if __name__ == "__main__":
    sys.exit(main())
