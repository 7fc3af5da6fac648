"""The debug voice on every torch that is installed: `python -m benchmarks.compatibility > docs/compatibility.md`.

Needs runtimes: `vlm runtime add 2.0`, `vlm runtime add newest` and so on. The default torch is the reference.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.training.debug import make_debug_voice
from lifecycle.domain.defaults import DEFAULT_TORCH
from lifecycle.runtimes import sandbox
from lifecycle.runtimes.model import Runtime
from lifecycle.runtimes.snapshot import snapshot
from lifecycle.runtimes.store import RuntimeStore, engine_folder, size_bytes
from lifecycle.runtimes.worker import Reply, Worker, WorkerCrashed, WorkerFailure
from lifecycle.settings import load_settings

TEXT = "The old radio still says the same."
STEPS = ("embedding", "0/duration_frames", "0/mel", "0/samples")


@dataclass
class Row:
    """One runtime: what it is, how long it took to start, what the voice gave."""

    runtime: Runtime
    size_mb: float
    start_s: float = 0.0
    reply: Reply | None = None
    why: str = ""


def measure(store: RuntimeStore, runtime: Runtime, voice: tuple[Path, Path]) -> Row:
    """Start a worker and let the voice speak."""
    row = Row(runtime, size_bytes(runtime.path) / 1e6)
    fence = sandbox.choose()
    if fence is None:
        sys.exit("no fence works on this machine")
    copy = snapshot(engine_folder(), store.root)
    begun = time.monotonic()
    try:
        with Worker.start(runtime, sandbox=fence, engine=copy) as worker:
            row.start_s = time.monotonic() - begun
            files = {"weights": worker.put(voice[0]), "speaker": worker.put(voice[1])}
            row.reply = worker.call("stages", {**files, "texts": [TEXT], "seed": 20, "threads": 1})
    except (WorkerCrashed, WorkerFailure) as error:
        row.why = str(error)
    return row


def line(row: Row, reference: Reply) -> str:
    """One line of the table."""
    if row.reply is None:
        said = row.why
    elif [u["phones"] for u in row.reply.values["utterances"]] != [
        u["phones"] for u in reference.values["utterances"]
    ]:
        said = "other phones"
    else:
        furthest = [float(np.abs(row.reply.arrays[name] - reference.arrays[name]).max()) for name in STEPS]
        said = " · ".join(f"{value:.0e}" if value else "0" for value in furthest)
    runtime = row.runtime
    arch = " ".join(each.removeprefix("sm_") for each in runtime.cuda_arch)
    cells = [runtime.torch, runtime.build, runtime.python, str(runtime.numpy), arch or "-"]
    return "| " + " | ".join([*cells, f"{row.size_mb:.0f}", f"{row.start_s:.1f}", said]) + " |"


def main() -> None:
    """Print the page."""
    store = RuntimeStore(load_settings(os.environ).runtimes)
    with tempfile.TemporaryDirectory() as folder:
        voice = make_debug_voice(Path(folder), seed=0)
        rows = [measure(store, runtime, voice) for runtime in store.list()]
    reference = next((row.reply for row in rows if row.runtime.torch == DEFAULT_TORCH and row.reply), None)
    if reference is None:
        sys.exit(f"the reference is missing; make it with: vlm runtime add {DEFAULT_TORCH}")
    sys.stdout.write(
        "# The debug voice on every torch that was tried\n\n"
        "Made by `python -m benchmarks.compatibility`. The last column is how far each step is from torch "
        f"{DEFAULT_TORCH}:\nspeaker vector · lengths in frames · mel (natural log) · samples; the phones are equal "
        "everywhere unless it says otherwise.\nOne sentence, one thread, on the CPU.\n\n"
        "| torch | build | Python | numpy | compute capabilities in the wheel | MB on disk | start s | furthest |\n"
        "|---|---|---|---|---|---|---|---|\n"
    )
    sys.stdout.write("\n".join(line(row, reference) for row in rows) + "\n")
    sys.stdout.write(
        "\nBuilds named `-stubs` are the package index's CUDA builds without CUDA (ADR 4). Not tried: a GPU, aarch64, "
        "macOS, Windows.\n"
    )


if __name__ == "__main__":
    main()
