"""Import many pairs, beside cp and BLAKE3 of the same files: `python -m benchmarks.import_voices --pairs 10 --mib 240`.

The pairs are GPT-SoVITS checkpoints as torch writes them (295 and 673 half-precision tensors of random bits, so that
nothing can be compressed or found twice), in the WebUI's folders. Each case is a whole process, start-up included; the
cases run in turn, with the files in the page cache. Throughput is the time of cp and BLAKE3 divided by ours. Imports
end durable (each blob and the registry are fsynced); cp is measured with sync, as durable, and without. Before each
case as much is written and removed, so that all find the same free memory.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks.timing import Run, in_turn, run_process, table

MIB = 1 << 20
_GPT_SHARE = 0.645  # of 240 MB: 77.6 M values in the GPT half, 42.4 M in the other
_HASH = """
import blake3, sys
for name in sys.argv[1:]:
    hasher, file = blake3.blake3(), open(name, "rb", 0)
    while piece := file.read(1 << 20):
        hasher.update(piece)
"""
_MAKE = """
import sys, torch
from collections import OrderedDict
path, kind, share, info = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
if kind == "gpt":
    first = {"model.ar_text_embedding.word_embeddings.weight": (732, 512), "model.ar_predict_layer.weight": (1025, 512),
             "model.ar_audio_embedding.word_embeddings.weight": (1025, 512)}
    names = [f"model.h.layers.{l}.{p}" for l in range(24) for p in range(12)] + [f"model.part{i}" for i in range(4)]
    config = {"model": {"phoneme_vocab_size": 732, "n_layer": 24}}
else:
    first = {"enc_p.text_embedding.weight": (732, 192), "ref_enc.spectral.0.fc.weight": (128, 704),
             "dec.conv_pre.weight": (512, 192, 7)}
    names = [f"dec.part.{i}.weight" for i in range(670)]
    config = {"model": {"version": "v2"}}
def bits(*shape):
    return torch.randint(-(1 << 15), 1 << 15, shape, dtype=torch.int16).view(torch.float16)
weight = OrderedDict((n, bits(*s)) for n, s in first.items())
left = share // 2 - sum(t.numel() for t in weight.values())
for name in names:
    weight[name] = bits(max(1, left // len(names)))
torch.save({"weight": weight, "config": config, "info": info}, path)
"""


def make(root: Path, pairs: int, mib: int) -> list[Path]:
    """Write pairs of `mib` MiB each; return their files."""
    files = []
    for folder in ("GPT_weights_v2", "SoVITS_weights_v2"):
        (root / folder).mkdir(parents=True)
    for number in range(pairs):
        gpt = root / "GPT_weights_v2" / f"voice{number}-e15.ckpt"
        sovits = root / "SoVITS_weights_v2" / f"voice{number}_e8_s200.pth"
        share = int(mib * MIB * _GPT_SHARE)
        for path, kind, size, info in (
            (gpt, "gpt", share, "GPT-e15"),
            (sovits, "sovits", mib * MIB - share, "8epoch_200iteration"),
        ):
            subprocess.run([sys.executable, "-c", _MAKE, str(path), kind, str(size), info], check=True)
            files.append(path)
    return files


class Bench:
    """The cases, in a folder of their own."""

    def __init__(self, folder: Path, files: list[Path], vlm: list[str]) -> None:
        self._folder = folder
        self._files = [str(path) for path in files]
        self._vlm = vlm

    def environment(self) -> dict[str, str]:
        """A registry of this benchmark alone."""
        ours = {"VLM_HOME": "home", "VLM_KEYS": "keys", "VLM_RUNTIMES": "runtimes", "VLM_CONFIG": "none"}
        return {**os.environ, **{name: str(self._folder / place) for name, place in ours.items()}}

    def fresh(self) -> None:
        """Make an empty registry."""
        for place in ("home", "keys"):
            shutil.rmtree(self._folder / place, ignore_errors=True)
        subprocess.run(
            [*self._vlm, "init", "-q"], env=self.environment(), check=True, stdout=subprocess.DEVNULL
        )
        self._warm()

    def _warm(self) -> None:
        """Write and remove as many bytes as a case will write: on a virtual machine, memory that was free for a while
        costs the host a fault per page, and whichever case came first would pay for all."""
        scratch = self._folder / "scratch"
        with scratch.open("wb", buffering=0) as file:
            for path in self._files:
                with Path(path).open("rb", buffering=0) as source:
                    while piece := source.read(MIB):
                        file.write(piece)
        scratch.unlink()
        os.sync()

    def imported(self) -> Run:
        """Import everything into an empty registry."""
        self.fresh()
        return self.again()

    def again(self) -> Run:
        """Import what is there already."""
        return run_process([*self._vlm, "import", str(self._folder / "voices.csv"), "-q"], self.environment())

    def copied(self, *, durable: bool) -> Run:
        """Copy the files with cp, and hash the same files with BLAKE3."""
        target = self._folder / "copies"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        self._warm()
        copy = run_process(["cp", *self._files, str(target)])
        synced = (
            run_process(["sync", *map(str, sorted(target.iterdir())), str(target)]) if durable else Run(0, 0)
        )
        hashed = run_process([sys.executable, "-c", _HASH, *self._files])
        shutil.rmtree(target)
        return Run(copy.wall_s + synced.wall_s + hashed.wall_s, copy.cpu_s + synced.cpu_s + hashed.cpu_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--mib", type=int, default=240)
    parser.add_argument("--n", type=int, default=3)
    parser.add_argument("--dir", type=Path, help="on the disk to measure; the temporary folder by default")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="vlm-import-", dir=given.dir))
    try:
        bench = Bench(
            folder, make(folder / "GPT-SoVITS", given.pairs, given.mib), [sys.executable, "-m", "lifecycle"]
        )
        look = ["import", str(folder), "--dry-run", "-o", str(folder / "voices.csv"), "-q"]
        subprocess.run(
            [sys.executable, "-m", "lifecycle", *look],
            env=bench.environment(),
            check=True,
            stdout=subprocess.DEVNULL,
        )
        results = in_turn(
            {
                "cp + BLAKE3": lambda: bench.copied(durable=False),
                "cp + sync + BLAKE3": lambda: bench.copied(durable=True),
                "vlm import": bench.imported,
                "vlm import, again": bench.again,
            },
            n=given.n,
        )
    finally:
        shutil.rmtree(folder)
    print(f"{given.pairs} pairs of {given.mib} MiB\n")
    print(table(results, against="cp + sync + BLAKE3"))
    print()
    for name in ("cp + sync + BLAKE3", "cp + BLAKE3"):
        print(f"throughput of vlm import against {name}: {_ratio(results, name)}")
        print(
            f"  without the start of the program (an import that finds all done): {_ratio(results, name, start=True)}"
        )


def _ratio(results: Mapping[str, list[Run]], name: str, *, start: bool = False) -> str:
    rounds = zip(results[name], results["vlm import"], results["vlm import, again"], strict=True)
    ratios = [theirs.wall_s / (ours.wall_s - start * again.wall_s) for theirs, ours, again in rounds]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}), n = {len(ratios)}"


if __name__ == "__main__":
    main()
