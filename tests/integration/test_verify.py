"""Voices in real workers behind a real fence: what loads, what is refused, what dies."""

from __future__ import annotations

import argparse
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lifecycle.domain.verdicts import Verdict
from lifecycle.domain.voices import Artifact, DataClass, Role
from lifecycle.formats import inspect
from lifecycle.runtimes.environments import Runtimes
from lifecycle.runtimes.model import Runtime
from lifecycle.runtimes.worker import Worker
from lifecycle.services.trial import Material, Outcome, failures_as_outcomes, load, speak
from lifecycle.settings import load_settings
from lifecycle.vault.blobs import BlobStore
from lifecycle.verification.compare import compare
from lifecycle.verification.golden import SENTENCES, Golden, Made
from lifecycle.verification.plan import subject_of
from tests.conftest import TEST_RUNTIMES

pytestmark = [
    pytest.mark.server,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning"),
]
TEXTS = SENTENCES["en"][:1]


@dataclass(frozen=True)
class Bench:
    """A store of blobs and one runtime."""

    runtimes: Runtimes
    runtime: Runtime
    rooms: Any

    def artifact(self, data: bytes, role: Role = Role.WEIGHTS) -> Artifact:
        stored = self.rooms.vault.blobs.put(io.BytesIO(data))
        seen = inspect(io.BytesIO(data), name="file", size=len(data))
        assert seen.safe
        return Artifact(
            uid=os.urandom(16).hex(),
            version_uid=None,
            role=role,
            data_class=DataClass.MODEL,
            digest=stored.digest,
            size_bytes=stored.size,
            key_id=None,
            kind=seen.kind,
            facts=seen.facts,
            label=None,
            fingerprint=None,
            added_at=datetime.now(UTC),
        )

    def material(self, *artifacts: Artifact) -> Material:
        nobody: Any = None
        return Material(nobody, nobody, subject_of(artifacts))

    def loaded(self, data: bytes, *, before: Callable[[Worker], None] = lambda _: None) -> Outcome:
        caught: list[Outcome] = []
        with failures_as_outcomes(caught, code="own"), self.runtimes.start_worker(self.runtime) as worker:
            before(worker)
            caught.append(load(worker, self.material(self.artifact(data)), self.rooms, timeout_s=120))
        return caught[-1]


@pytest.fixture(scope="module")
def bench(torch_runtime: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    home = tmp_path_factory.mktemp("home")
    (home / "work").mkdir()
    settings = load_settings({"VLM_HOME": str(home), "VLM_RUNTIMES": str(TEST_RUNTIMES)}, cwd=home)
    runtimes = Runtimes(settings)
    vault = SimpleNamespace(blobs=BlobStore(home / "blobs"))
    rooms = SimpleNamespace(settings=settings, vault=vault, new_uid=lambda: os.urandom(16).hex())
    yield Bench(runtimes, runtimes.get(torch_runtime), rooms)
    runtimes.close()


def saved(save: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    save(buffer)
    return buffer.getvalue()


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = torch.nn.GRU(4, 5)
        self.register_buffer("steps", torch.arange(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.gru(x)[0]
        return out


def script() -> bytes:
    traced = torch.jit.trace(Net(), torch.zeros(2, 1, 4))
    return saved(lambda b: torch.jit.save(traced, b))


def checkpoint() -> bytes:
    told = {
        "weight": Net().state_dict(),
        "half": torch.ones(3, 4).half().t(),
        "bf": torch.ones(2, dtype=torch.bfloat16),
    }
    return saved(lambda b: torch.save(told, b))


@pytest.mark.parametrize("data", [script, checkpoint], ids=lambda make: make.__name__)
def test_a_foreign_file_whose_tensors_load_as_they_were_read_is_not_checked(bench, data):
    outcome = bench.loaded(data())

    assert outcome.verdict is Verdict.NOT_CHECKED
    assert outcome.reason == "it loads; nothing here can run it"
    assert outcome.ran


def test_a_checkpoint_that_torch_refuses_is_broken_and_the_class_is_named(bench):
    data = saved(lambda b: torch.save({"w": torch.ones(3), "hps": argparse.Namespace(a=1)}, b))

    outcome = bench.loaded(data)

    assert outcome.verdict is Verdict.BROKEN
    assert "argparse.Namespace" in outcome.reason


def test_a_worker_that_dies_is_a_crash_and_not_an_error(bench):
    outcome = bench.loaded(checkpoint(), before=lambda worker: worker._process.kill())

    assert outcome.verdict is Verdict.CRASHED
    assert "died" in outcome.reason


def test_a_damaged_blob_never_reaches_a_worker(bench):
    artifact = bench.artifact(checkpoint())
    path = next((bench.rooms.settings.home / "blobs").rglob(artifact.digest.hex[2:]))
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)
    caught: list[Outcome] = []

    with failures_as_outcomes(caught, code="own"), bench.runtimes.start_worker(bench.runtime) as worker:
        load(worker, bench.material(artifact), bench.rooms, timeout_s=60)

    assert caught[0].verdict is Verdict.BROKEN
    assert caught[0].reason.startswith("integrity")


def test_a_voice_of_ours_says_the_same_twice_and_other_weights_do_not(bench, debug_voice, tmp_path):
    from engine.training.debug import make_debug_voice

    first = bench.material(*_ours(bench, debug_voice))
    other = bench.material(*_ours(bench, (make_debug_voice(tmp_path, seed=5)[0], debug_voice[1])))
    worker = bench.runtimes.worker(bench.runtime)

    spoken, embedding = speak(worker, first, bench.rooms, texts=TEXTS, device="cpu", timeout_s=120)
    golden = Golden.from_bytes(Golden(_MADE, embedding, spoken).to_bytes())
    again, same = speak(worker, first, bench.rooms, texts=TEXTS, device="cpu", timeout_s=120)
    differs, _ = speak(worker, other, bench.rooms, texts=TEXTS, device="cpu", timeout_s=120)

    assert compare(golden, again, same, device="cpu").judge() == (Verdict.WORKS, "")
    verdict, reason = compare(golden, differs, embedding, device="cpu").judge()
    assert verdict is Verdict.DIFFERS
    assert reason.startswith("step ")


def test_nothing_of_a_voice_stays_in_the_warm_worker_s_folders(bench, debug_voice):
    worker = bench.runtimes.worker(bench.runtime)

    speak(
        worker,
        bench.material(*_ours(bench, debug_voice)),
        bench.rooms,
        texts=TEXTS,
        device="cpu",
        timeout_s=120,
    )

    left = [path for path in (bench.rooms.settings.home / "work").rglob("*") if path.is_file()]
    assert left == []


_MADE = Made("blake3:e", "2.13.0", "cpu", "3.11", "sha256:l", "cpu", 2, 20, "blake3:i")


def _ours(bench: Bench, files: tuple[Path, Path]) -> tuple[Artifact, Artifact]:
    weights, speaker = files
    return bench.artifact(weights.read_bytes()), bench.artifact(speaker.read_bytes(), Role.EMBEDDING)
