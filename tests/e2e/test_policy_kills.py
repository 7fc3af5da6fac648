"""Applying a policy that is killed at any moment ends as if nobody had touched it, after one more command."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from lifecycle.erasure.graph import NodeState
from lifecycle.services.purges.receipts import check_receipt
from tests.conftest import Vlm
from tests.e2e.test_policy import POLICY
from tests.e2e.test_retire_kills import killed_at_random
from tests.files import recordings, weights
from tests.rooms import session

ERASES = """\
  - id: retired-model
    applies_to:
      classes: [model]
    time_base: contract_ended_at
    if_time_base_missing: refuse
    delete_after: P1Y
    action: erase
"""
OLD = ("--recorded-on", "2020-02-29")
N_KILLS = 25


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Vlm:
    """Two voices whose recordings are due, one that is due for erasure, and one that stays."""
    vlm = Vlm(tmp_path_factory.mktemp("template"))
    vlm.ok("init")
    (vlm.folder / "policies").mkdir()
    rules = POLICY.replace("max_items_per_run: 1", "max_items_per_run: 9") + ERASES
    (vlm.folder / "policies" / "mine.yaml").write_text(rules)
    for seed, (name, words) in enumerate(
        {
            "one": OLD,
            "two": OLD,
            "gone": ("--contract-ends", "2020-02-29"),
            "stays": (),
        }.items()
    ):
        files = recordings(vlm.folder / name, seed=seed, count=1)
        model = weights(vlm.folder / f"{name}.safetensors", seed=seed)
        vlm.ok(
            "register", name, "--weights", model, "--audio", files, "--own-voice", "--policy", "mine", *words
        )
    vlm.ok("retire", "gone")
    return vlm


def copied(template: Vlm, folder: Path) -> tuple[Vlm, tuple[str, ...]]:
    """Copy the registry, and plan there; return the command that applies the plan."""
    for part in ("home", "keys", "policies"):
        shutil.copytree(template.folder / part, folder / part)
    vlm = Vlm(folder)
    plan = vlm.ok("policy", "plan", "--policy", "mine", "--json").json
    assert [(each["voice"], each["action"]) for each in plan["actions"]] == [
        ("gone", "erase"),
        ("one", "purge_audio"),
        ("two", "purge_audio"),
    ]
    return vlm, ("policy", "apply", plan["plan"], "--yes", "--json")


def assert_applied(vlm: Vlm) -> None:
    """The states are those of an undisturbed run, each with one receipt, and nothing is open."""
    receipts = [check_receipt(path).receipt for path in (vlm.home / "certificates").glob("*.dsse.json")]
    assert sorted(each.verb.value for each in receipts) == ["erase", "purge-audio", "purge-audio"]
    assert {each.result for each in receipts} == {NodeState.VERIFIED}
    with session(vlm.folder) as rooms, rooms.registry.read() as uow:
        assert uow.purges.all_open() == []
        assert uow.outbox.count_open() == 0
        assert uow.voices.find("gone") is None
        kept = {}
        for name in ("one", "two", "stays"):
            voice = uow.voices.get(name)
            kept[name] = (voice.state.value, {a.data_class.value for a in uow.voices.artifacts(voice.uid)})
            for artifact in uow.voices.artifacts(voice.uid):
                assert rooms.vault.blobs.verify(artifact.digest)
        (row,) = uow.plans.of_policy("mine")
        assert row.applied_at is not None
    assert kept == {
        "one": ("retired", {"model"}),
        "two": ("retired", {"model"}),
        "stays": ("active", {"source", "model"}),
    }
    vlm.ok("trail", "verify")


def finish(vlm: Vlm, command: tuple[str, ...]) -> None:
    """What a user does after a crash: the same command once more; it was done only if it says so."""
    again = vlm.run(*command)
    if again.code == 4:
        assert "was applied" in again.json["error"]["message"]
    else:
        assert again.code == 0, again.out


def check_kill(template: Vlm, folder: Path, seed: int, within_s: float) -> None:
    vlm, command = copied(template, folder)
    killed_at_random(vlm, command, seed=seed, within_s=within_s)
    finish(vlm, command)
    assert_applied(vlm)


@pytest.fixture(scope="module")
def seconds(template: Vlm, tmp_path_factory: pytest.TempPathFactory) -> float:
    """How long applying takes here, undisturbed; what it leaves is what every killed run must leave."""
    vlm, command = copied(template, tmp_path_factory.mktemp("timed"))
    begun = time.monotonic()
    vlm.ok(*command)
    took = time.monotonic() - begun
    assert_applied(vlm)
    return took


def test_applying_killed_at_a_random_moment_is_finished_by_the_same_command(
    template: Vlm, tmp_path: Path, seconds: float
) -> None:
    check_kill(template, tmp_path, 1, seconds)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 2 + N_KILLS))
def test_applying_killed_at_any_of_many_moments_is_finished(
    template: Vlm, tmp_path: Path, seconds: float, seed: int
) -> None:
    check_kill(template, tmp_path, seed, seconds)
