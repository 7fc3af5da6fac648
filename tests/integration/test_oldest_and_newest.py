"""The debug voice says the same on the oldest and on the newest torch that can be had here."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from lifecycle.domain.errors import Unavailable
from lifecycle.runtimes import pythons, sandbox
from lifecycle.runtimes.model import Runtime
from lifecycle.runtimes.snapshot import snapshot
from lifecycle.runtimes.store import RuntimeStore, engine_folder
from lifecycle.runtimes.worker import Reply, Worker
from tests.conftest import TEST_RUNTIMES

TEXT = "The old radio still says the same."
#: Steps that are compared, with the furthest that two torches may be apart.
TOLERANCES = {
    "embedding": 0.0,
    "0/duration_frames": 1e-3,
    "0/mel": 1e-3,
    "0/log_mel": 1e-2,
    "0/samples": 1e-3,
}


def runtime(spec: str) -> Runtime:
    store = RuntimeStore(TEST_RUNTIMES, environment=os.environ)
    try:
        return store.add(store.plan(spec))
    except Unavailable as error:
        pytest.skip(f"torch {spec} cannot be had here: {error.message}")


def spoken_on(spec: str, weights: Path, speaker: Path) -> Reply:
    fence = sandbox.choose()
    if fence is None:
        pytest.skip("no fence works on this machine")
    copy = snapshot(engine_folder(), TEST_RUNTIMES)
    with Worker.start(runtime(spec), sandbox=fence, engine=copy) as worker:
        return worker.call(
            "stages",
            {
                "weights": worker.put(weights),
                "speaker": worker.put(speaker),
                "texts": [TEXT],
                "seed": 20,
                "threads": 1,
            },
        )


@pytest.fixture(scope="module")
def expected(torch_runtime: str, debug_voice: tuple[Path, Path]) -> Reply:
    return spoken_on(torch_runtime, *debug_voice)


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.parametrize("end", ["oldest", "newest"])
def test_the_debug_voice_speaks_the_same_on_the(end, expected, debug_voice):
    spec = pythons.oldest_torch(next(pythons.installed())) if end == "oldest" else "newest"

    heard = spoken_on(spec, *debug_voice)

    assert heard.values == expected.values
    assert (heard.arrays["0/durations"] == expected.arrays["0/durations"]).all()
    apart = {name: float(np.abs(heard.arrays[name] - expected.arrays[name]).max()) for name in TOLERANCES}
    assert {name: apart[name] for name in apart if apart[name] > TOLERANCES[name]} == {}
