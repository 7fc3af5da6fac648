"""Verification with a registry: goldens, rows that are kept and used again, and who is blamed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from lifecycle.bootstrap import Rooms
from lifecycle.domain.errors import Refused, Unavailable
from lifecycle.domain.verdicts import Verdict
from lifecycle.runtimes import environments
from lifecycle.runtimes.environments import Runtimes
from lifecycle.services import golden, home, session
from lifecycle.services.registration.register import register
from lifecycle.services.registration.request import RegisterRequest
from lifecycle.services.verify import plan, verify
from lifecycle.services.verify_result import Result, VerifyRequest
from lifecycle.settings import Settings, load_settings
from tests.conftest import TEST_RUNTIMES

pytestmark = pytest.mark.server
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path, torch_runtime: str) -> Settings:
    environment = {
        "VLM_HOME": str(tmp_path / "home"),
        "VLM_KEYS": str(tmp_path / "keys"),
        "VLM_RUNTIMES": str(TEST_RUNTIMES),
        "VLM_CONFIG": str(tmp_path / "vlm.toml"),
        "VLM_DEFAULT_TORCH": torch_runtime,
    }
    settings = load_settings(environment, cwd=tmp_path)
    home.initialise(settings)
    return settings


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtimes]:
    """One warm worker for all tests: starting torch is what takes time."""
    folder = tmp_path_factory.mktemp("warm")
    environment = {"VLM_HOME": str(folder), "VLM_RUNTIMES": str(TEST_RUNTIMES)}
    runtimes = Runtimes(load_settings(environment, cwd=folder))
    yield runtimes
    runtimes.close()


@pytest.fixture
def opened(settings: Settings, warm: Runtimes) -> Iterator[Callable[..., Rooms]]:
    made: list[Rooms] = []

    def open_again(*, own: bool = True, **changes: object) -> Rooms:
        changed = replace(settings, **changes)  # type: ignore[arg-type]
        rooms = session.open_session(changed, clock=lambda: NOW)
        made.append(rooms)
        return rooms if own else replace(rooms, runtimes=warm)

    yield open_again
    for rooms in made:
        rooms.close()


@pytest.fixture
def rooms(opened: Callable[..., Rooms]) -> Rooms:
    return opened(own=False)


@pytest.fixture
def kol(rooms: Rooms, debug_voice: tuple[Path, Path]) -> str:
    told = register(RegisterRequest("kol-a", (debug_voice[0],), debug_voice[1]), rooms=rooms)
    assert told.golden == "recorded"
    return "kol-a"


def verified(rooms: Rooms, *names: str, **changes: object) -> list[Result]:
    request = VerifyRequest(names, **changes)  # type: ignore[arg-type]
    return list(verify(plan(request, rooms=rooms), rooms=rooms).results)


def test_a_voice_that_says_the_same_works_and_is_not_run_again(rooms, kol):
    (first,) = verified(rooms)
    (second,) = verified(rooms, kol)
    (third,) = verified(rooms, kol, again=True)

    assert [r.row.verdict for r in (first, second, third)] == [Verdict.WORKS] * 3
    assert [r.reused for r in (first, second, third)] == [False, True, False]
    assert second.row.uid == first.row.uid != third.row.uid
    assert first.row.sandbox in {"bwrap", "landlock"}


def test_every_row_that_ran_has_one_event_on_the_trail(rooms, kol):
    with rooms.registry.read() as uow:
        before = uow.trail.head()[0]

    rows = verified(rooms, again=True) + verified(rooms)

    with rooms.registry.read() as uow:
        events = [stored.event for stored in uow.trail.stored(start=before)]
    assert [event.verb for event in events] == ["verify"]
    assert events[0].ids["verdict"] == rows[0].row.uid


def test_an_engine_that_changed_what_a_voice_says_is_blamed(rooms, kol, opened, tmp_path, monkeypatch):
    verified(rooms)
    engine = tmp_path / "engine"
    shutil.copytree(environments.engine_folder(), engine, ignore=shutil.ignore_patterns("__pycache__"))
    file = engine / "synthesis" / "prosody.py"
    text = file.read_text()
    assert "QUESTION_RISE_SEMITONES = 7.0" in text
    file.write_text(text.replace("QUESTION_RISE_SEMITONES = 7.0", "QUESTION_RISE_SEMITONES = 9.0"))
    monkeypatch.setattr(environments, "engine_folder", lambda: engine)

    (result,) = verified(opened(), kol)

    assert not result.reused
    assert result.row.verdict is Verdict.DIFFERS
    assert result.row.reason.startswith("step f0")
    assert result.row.next == f"vlm verify {kol} --torch {result.row.torch} --why"
    assert "engine made the difference" in str(result.row.detail["blame"])


def test_a_voice_whose_bytes_changed_is_broken_and_not_run(rooms, kol, settings):
    verified(rooms)
    flip(rooms, settings, kol, "weights")

    (result,) = verified(rooms, kol)

    assert result.row.verdict is Verdict.BROKEN
    assert result.row.reason.startswith("integrity: its weights file changed")
    assert result.row.sandbox == "none"
    assert not result.reused


def test_a_damaged_golden_is_no_golden(rooms, kol, settings):
    flip(rooms, settings, kol, "golden")

    (result,) = verified(rooms, kol)

    assert result.row.verdict is Verdict.BROKEN
    assert "golden" in result.row.reason


def test_weights_that_give_no_numbers_get_no_golden_and_are_broken(rooms, debug_voice, tmp_path):
    import numpy as np

    from engine.safetensors import read, write

    tensors, metadata = read(debug_voice[0])
    name = next(n for n in sorted(tensors) if n.startswith("acoustic.head"))
    tensors[name] = np.full_like(tensors[name], np.nan)
    write(tmp_path / "nan.safetensors", tensors, metadata)

    told = register(RegisterRequest("noise", (tmp_path / "nan.safetensors",), debug_voice[1]), rooms=rooms)
    (result,) = verified(rooms, "noise")

    assert told.golden == "pending"
    assert result.row.verdict is Verdict.BROKEN


def test_a_voice_without_a_golden_is_never_said_to_work(rooms, opened, debug_voice, tmp_path):
    elsewhere = opened(runtimes=tmp_path / "none")
    told = register(RegisterRequest("kol-b", (debug_voice[0],), debug_voice[1]), rooms=elsewhere)
    assert told.golden == "pending"

    (before,) = verified(rooms, "kol-b")
    golden.record("kol-b", rooms=rooms)
    (after,) = verified(rooms, "kol-b")

    assert before.row.verdict is Verdict.NOT_CHECKED
    assert before.row.next == "vlm golden record kol-b"
    assert after.row.verdict is Verdict.WORKS


def test_a_voice_without_a_speaker_file_is_mute_and_not_checked(rooms, debug_voice):
    register(RegisterRequest("mute", (debug_voice[0],)), rooms=rooms)

    (result,) = verified(rooms, "mute")

    assert result.row.verdict is Verdict.NOT_CHECKED
    with pytest.raises(Refused, match="mute"):
        golden.record("mute", rooms=rooms)


def test_a_voice_whose_consent_ended_is_not_run(rooms, debug_voice, tmp_path):
    consent = tmp_path / "consent.txt"
    consent.write_text("I agree\n")
    register(
        RegisterRequest(
            "lin",
            (debug_voice[0],),
            debug_voice[1],
            subject="10042",
            consents=(consent,),
            consent_until=date(2026, 11, 20),
        ),
        rooms=rooms,
    )

    (result,) = verified(rooms, "lin")

    assert result.row.verdict is Verdict.NOT_CHECKED
    assert "consent ended 2026-11-20" in result.row.reason
    assert result.row.sandbox == "none"


def test_a_device_that_is_not_here_is_never_a_works(rooms, kol):
    (result,) = verified(rooms, kol, device="cuda")

    assert result.row.verdict is Verdict.NOT_CHECKED
    assert result.row.device == "cuda"


def test_without_a_fence_nothing_is_opened(opened, rooms, kol):
    (result,) = verified(opened(sandbox="none"), kol, again=True)

    assert result.row.verdict is Verdict.NOT_CHECKED
    assert "neither bubblewrap nor Landlock" in result.row.reason


def test_a_golden_is_never_recorded_on_a_runtime_that_is_not_here(opened, kol, tmp_path):
    with pytest.raises(Unavailable) as caught:
        golden.record(kol, rooms=opened(runtimes=tmp_path / "none"))

    assert (caught.value.hint or "").startswith("vlm runtime add")


def flip(rooms: Rooms, settings: Settings, name: str, role: str) -> None:
    with rooms.registry.read() as uow:
        artifact = next(a for a in uow.voices.artifacts(uow.voices.get(name).uid) if a.role == role)
    path = settings.home / "blobs" / artifact.digest.hex[:2] / artifact.digest.hex[2:]
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)


def test_rows_stay_when_a_later_voice_is_interrupted(rooms, kol, debug_voice, monkeypatch):
    from lifecycle.services import bench as module

    register(RegisterRequest("zoe", (debug_voice[0],), debug_voice[1]), rooms=rooms)
    kept = module.Bench.row

    def interrupted(self: module.Bench, name: str) -> Result:
        if name == "zoe":
            raise KeyboardInterrupt
        return kept(self, name)

    monkeypatch.setattr(module.Bench, "row", interrupted)
    with pytest.raises(KeyboardInterrupt):
        verified(rooms)

    with rooms.registry.read() as uow:
        assert [row.voice for row in uow.verdicts.latest()] == [kol]
