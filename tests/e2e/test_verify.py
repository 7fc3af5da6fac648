"""`vlm verify` and `vlm golden` as a process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import Vlm

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, torch_runtime: str, debug_voice: tuple[Path, Path]) -> Vlm:
    """A registry with one of our voices and its golden."""
    program = Vlm(tmp_path_factory.mktemp("verify"), {"VLM_DEFAULT_TORCH": torch_runtime})
    program.ok("init")
    weights, speaker = debug_voice
    told = program.ok("register", "kol-a", "--weights", weights, "--embedding", speaker, "--json").json
    assert told["golden"] == "recorded"
    return program


def test_a_voice_works_and_the_row_says_everything_it_depends_on(home, torch_runtime):
    answer = home.run("verify", "--json")

    assert answer.code == 0
    (row,) = answer.json["results"]
    assert (row["voice"], row["torch"], row["code"], row["verdict"]) == (
        "kol-a",
        torch_runtime,
        "engine",
        "works",
    )
    assert row["reason"] == ""
    assert row["next"] is None
    assert {"build", "device", "python", "sandbox", "reused", "at"} <= set(row)


def test_people_read_a_table_with_a_voice_in_each_row_and_a_torch_in_each_column(home, torch_runtime):
    answer = home.run("verify", "kol-a")

    lines = answer.out.splitlines()
    assert lines[0].split() == [torch_runtime]
    assert lines[1].split() == ["kol-a", "engine:", "works"]
    assert lines[-1].startswith("1 voice works everywhere")
    assert answer.err == ""


def test_why_shows_each_step_with_its_tolerance_and_the_reason_for_it(home):
    answer = home.run("verify", "kol-a", "--why")

    for step in ("phones", "durations", "mel", "f0", "log-mel", "level"):
        assert step in answer.out
    assert "text to phones has no arithmetic that could round" in answer.out


def test_a_device_that_is_not_here_is_exit_12_and_names_what_would_run(home):
    answer = home.run("verify", "kol-a", "--device", "cuda", "--json")

    assert answer.code == 12
    (row,) = answer.json["results"]
    assert row["verdict"] == "not_checked"
    assert row["next"].startswith("vlm verify kol-a --torch")
    assert row["next"].endswith("--device cpu")


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["verify", "nobody"], 3, "nobody"),
        (["verify", "--torch", "many"], 2, "many"),
        (["verify", "--device", "abacus"], 2, "abacus"),
        (["golden", "record", "nobody"], 3, "nobody"),
    ],
)
def test_what_cannot_be_verified_is_one_sentence(home, arguments, code, word):
    answer = home.run(*arguments)

    assert answer.code == code
    assert word in answer.err
    assert "Traceback" not in answer.err


def test_a_runtime_that_cannot_be_had_is_exit_7_and_nothing_is_run(home, tmp_path):
    bare = home.with_env(
        VLM_RUNTIMES=str(tmp_path),
        PIP_CONFIG_FILE=os.devnull,
        PIP_FIND_LINKS="",
        UV_FIND_LINKS="",
        UV_CACHE_DIR=str(tmp_path / "cache"),
    )

    answer = bare.run("verify", "kol-a", "--offline", "--json")

    assert answer.code == 7
    assert not answer.json["ok"]
    assert answer.json["error"]["hint"]


def test_a_dry_run_says_what_would_run_and_runs_nothing(home, torch_runtime):
    before = home.ok("trail", "verify", "--json").json

    told = home.ok("verify", "--dry-run", "--json").json

    assert told["voices"] == ["kol-a"]
    assert told["runtimes"][0]["torch"] == torch_runtime
    assert home.ok("trail", "verify", "--json").json["size"] == before["size"]


def test_a_golden_is_shown_without_anything_of_the_person(home, torch_runtime):
    told = home.ok("golden", "show", "kol-a", "--json").json["golden"]

    assert told["torch"] == torch_runtime
    assert [set(sentence) for sentence in told["sentences"]] == [{"text", "phones", "frames", "seconds"}] * 2


def test_nothing_is_to_be_verified_in_an_empty_registry(vlm):
    answer = vlm.run("verify", "--json")

    assert answer.code == 0
    assert answer.json["results"] == []
