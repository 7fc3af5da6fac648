"""A voice is made and heard, through the command line and a real runtime."""

from __future__ import annotations

import math
import shutil
import signal
import struct
import wave
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Vlm

pytestmark = pytest.mark.server


def sound(path: Path, seconds: float, sample: Callable[[float], float], *, rate: int = 16000) -> Path:
    """Write a WAV from a function of time."""
    values = [round(32767 * max(-1.0, min(1.0, sample(i / rate)))) for i in range(int(seconds * rate))]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(struct.pack(f"<{len(values)}h", *values))
    return path


def syllables(time: float, *, level: float = 0.3) -> float:
    """Four syllables a second of a buzzing voice: enough for whoever looks for speech by its energy."""
    beat = max(0.0, math.sin(2 * math.pi * 4 * time)) if time % 2 < 1.6 else 0.0
    return level * beat * sum(math.sin(2 * math.pi * 120 * k * time) / k for k in range(1, 20))


@pytest.fixture(scope="module")
def template(
    tmp_path_factory: pytest.TempPathFactory, torch_runtime: str, debug_voice: tuple[Path, Path]
) -> Vlm:
    """A registry with a voice that speaks; each test works on a copy of it."""
    vlm = Vlm(tmp_path_factory.mktemp("make"), {"VLM_DEFAULT_TORCH": torch_runtime})
    vlm.ok("init")
    weights, speaker = debug_voice
    vlm.ok("register", "mine", "--weights", weights, "--embedding", speaker, "--own-voice")
    return vlm


@pytest.fixture
def vlm(template: Vlm, tmp_path: Path) -> Vlm:
    for name in ("home", "keys"):
        shutil.copytree(template.folder / name, tmp_path / name)
    return Vlm(tmp_path, template.extra)


def test_a_voice_speaks_into_a_file_and_the_trail_remembers(vlm: Vlm) -> None:
    events = vlm.ok("trail", "verify", "--json").json["size"]

    told = vlm.ok("speak", "mine", "--text", "The old road is quiet.", "-o", "mine.wav", "--json").json

    with wave.open(str(vlm.folder / "mine.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, told["sample_rate"])
        assert file.getnframes() / file.getframerate() == pytest.approx(told["seconds"], abs=0.01)
    assert vlm.ok("trail", "verify", "--json").json["size"] == events + 1
    assert list((vlm.home / "work").iterdir()) == []


def test_the_same_seed_says_the_same(vlm: Vlm) -> None:
    for name in ("a.wav", "b.wav"):
        vlm.ok("speak", "mine", "--text", "Again.", "--seed", "7", "-o", name)

    assert (vlm.folder / "a.wav").read_bytes() == (vlm.folder / "b.wav").read_bytes()


def test_a_file_that_is_there_is_kept(vlm: Vlm) -> None:
    (vlm.folder / "mine.wav").write_text("precious")

    answer = vlm.run("speak", "mine", "--text", "Hello.", "-o", "mine.wav")

    assert answer.code == 4
    assert (vlm.folder / "mine.wav").read_text() == "precious"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--text", "  "), 2),
        (("--text", "Hello.", "--speed", "99"), 2),
        (("--text", "Hello.", "--language", "xx"), 2),
    ],
)
def test_what_cannot_be_said_is_refused_in_one_sentence(
    vlm: Vlm, arguments: tuple[str, ...], code: int
) -> None:
    answer = vlm.run("speak", "mine", *arguments, "-o", "out.wav")

    assert answer.code == code
    assert answer.err.splitlines()[0].startswith("vlm: ")
    assert not (vlm.folder / "out.wav").exists()


def test_a_voice_without_a_speaker_file_is_mute(vlm: Vlm, debug_voice: tuple[Path, Path]) -> None:
    vlm.ok("register", "silent", "--weights", debug_voice[0])

    answer = vlm.run("speak", "silent", "--text", "Hello.", "-o", "out.wav", "--json")

    assert (answer.code, answer.json["error"]["code"]) == (4, "mute")


def test_a_retired_voice_does_not_speak(vlm: Vlm) -> None:
    vlm.ok("retire", "mine")

    answer = vlm.run("speak", "mine", "--text", "Hello.", "-o", "out.wav")

    assert answer.code == 4
    assert "vlm restore mine" in answer.err


def test_what_a_killed_speaker_decrypted_is_emptied_by_the_next_command(vlm: Vlm) -> None:
    dying = vlm.with_env(VLM_FAILPOINTS_ENABLED="1", VLM_FAILPOINT="job.after_row")

    killed = dying.run("speak", "mine", "--text", "Hello.", "-o", "out.wav")

    assert killed.code == -signal.SIGKILL
    vlm.ok("list")
    assert list((vlm.home / "work").iterdir()) == []
    assert [found for found in vlm.ok("doctor", "--json").json["findings"] if not found["advice"]] == []


@pytest.mark.parametrize(
    ("seconds", "sample", "words"),
    [
        (3.0, syllables, "at least 10 s"),
        (12.0, lambda time: 0.0, "speech"),
        (14.0, lambda time: syllables(time, level=8.0), "clip"),
    ],
    ids=["3 s", "silence", "clipped"],
)
def test_recordings_that_make_no_voice_are_refused_with_the_reason(
    vlm: Vlm, seconds: float, sample: Callable[[float], float], words: str
) -> None:
    path = sound(vlm.folder / "take.wav", seconds, sample)

    judged = vlm.run("prepare", path)
    trained = vlm.run("train", "new", "--audio", path, "--own-voice")

    for answer in (judged, trained):
        assert answer.code == 6
        assert words in answer.err.splitlines()[-2]
    assert [voice["name"] for voice in vlm.ok("list", "--json").json["voices"]] == ["mine"]
    assert [found for found in vlm.ok("doctor", "--json").json["findings"] if not found["advice"]] == []


def test_a_judgement_names_every_figure(vlm: Vlm) -> None:
    path = sound(vlm.folder / "take.wav", 3.0, syllables)

    answer = vlm.run("prepare", path, "--out", "report.json", "--json")

    assert answer.code == 6
    assert answer.json["verdict"] == "refused"
    assert {"speech_s", "speakers", "snr_db", "clipping", "bandwidth_hz", "lufs", "advice"} <= set(
        answer.json
    )
    assert (vlm.folder / "report.json").exists()


def test_training_needs_a_right_to_the_recordings(vlm: Vlm) -> None:
    path = sound(vlm.folder / "take.wav", 3.0, syllables)

    nobody = vlm.run("train", "new", "--audio", path)
    unasked = vlm.run("train", "new", "--audio", path, "--subject", "10042")

    assert (nobody.code, unasked.code) == (2, 4)
    assert "no consent of the person is given" in unasked.err
