"""A purge that is killed at any moment ends as if nobody had touched it, after one more command."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lifecycle.domain.voices import State
from lifecycle.erasure.graph import NodeState
from lifecycle.registry.engine import Registry
from lifecycle.registry.unit_of_work import UnitOfWork
from lifecycle.services.purges.receipts import check_receipt
from lifecycle.vault.home import Vault, open_vault
from tests.conftest import Vlm
from tests.e2e.test_retire import copied, every_byte_of, register, state_of
from tests.rooms import where_of

PURGE = ("retire", "leaver", "--purge-audio", "--yes", "--json")
ERASE = ("erase", "leaver", "--yes", "--json")


# tests/integration/test_purge_service.py kills the machinery at every point; here the program itself is killed.
ON_THE_WAY = ["purge.after_commit", "keys.after_switch", "purge.after_rows"]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Vlm:
    """A registry with the voice that leaves, and another living voice of the same person."""
    vlm = Vlm(tmp_path_factory.mktemp("template"))
    vlm.ok("init")
    register(vlm, "leaver", seed=1)
    register(vlm, "survivor", seed=2)
    return vlm


@pytest.fixture
def copy(template: Vlm, tmp_path: Path) -> Vlm:
    return copied(template, tmp_path)


def assert_gone(vlm: Vlm) -> None:
    """The recordings are gone, the survivor is whole, and no trace of a purge that was not finished is left."""
    certificates = list((vlm.home / "certificates").glob("*.dsse.json"))
    assert len(certificates) == 1
    receipt = check_receipt(certificates[0]).receipt
    assert receipt.result is NodeState.VERIFIED
    assert b"leaver-take" not in every_byte_of(vlm.home) + every_byte_of(vlm.keys)
    assert not list(vlm.keys.rglob("*purge-*")), "the journal of the purge was left"
    with vault_of(vlm) as (uow, vault):
        leaver, survivor = uow.voices.get("leaver"), uow.voices.get("survivor")
        assert (leaver.state, survivor.state) == (State.RETIRED, State.ACTIVE)
        assert uow.purges.all_open() == []
        assert uow.outbox.count_open() == 0
        for artifact in uow.voices.artifacts(leaver.uid, present=None):
            if artifact.data_class.value in {"source", "template"}:
                assert not artifact.present
                assert not vault.blobs.exists(artifact.digest)
        opened = [a for a in uow.voices.artifacts(survivor.uid) if a.key_id is not None]
        assert opened
        for artifact in opened:
            key = vault.keys.data_key(str(artifact.key_id))
            assert vault.blobs.read_bytes(artifact.digest, key=key, limit=1 << 24)


@contextlib.contextmanager
def vault_of(vlm: Vlm) -> Iterator[tuple[UnitOfWork, Vault]]:
    """Look into a registry and its vault without the command line."""
    installation = (vlm.home / "installation").read_text().strip()
    registry = Registry.open(where_of(vlm.folder))
    try:
        with registry.read() as uow:
            yield uow, open_vault(vlm.home, vlm.keys, installation, clock=lambda: datetime.now(UTC))
    finally:
        registry.close()


def purge_to_the_end(vlm: Vlm) -> None:
    """What a user does after a crash: the same command once more."""
    vlm.ok(*PURGE)
    with vault_of(vlm) as (uow, _):
        assert uow.purges.all_open() == []


@pytest.mark.parametrize("name", ON_THE_WAY)
def test_a_purge_killed_at_a_failpoint_is_finished_by_the_same_command(copy: Vlm, name: str) -> None:
    killed = copy.with_env(VLM_FAILPOINTS_ENABLED="1", VLM_FAILPOINT=f"{name}:kill").run(*PURGE)
    assert killed.code == -signal.SIGKILL, killed.err

    purge_to_the_end(copy)

    assert_gone(copy)


@pytest.mark.parametrize("name", ["purge.after_commit", "purge.after_rows"])
def test_while_a_purge_is_open_everything_but_looking_and_repairing_is_refused(copy: Vlm, name: str) -> None:
    copy.with_env(VLM_FAILPOINTS_ENABLED="1", VLM_FAILPOINT=f"{name}:kill").run(*PURGE)

    copy.ok("show", "leaver", "--json")
    for arguments in (("restore", "leaver"), ("erase", "survivor"), ("hold", "leaver", "--reason", "late")):
        refused = copy.run(*arguments, "--json")
        assert refused.code == 4, (arguments, refused.out)
    copy.ok("doctor")

    assert_gone(copy)
    copy.ok("trail", "verify")


def test_a_purge_that_was_only_planned_is_taken_back_by_doctor(copy: Vlm) -> None:
    copy.with_env(VLM_FAILPOINTS_ENABLED="1", VLM_FAILPOINT="purge.after_plan:kill").run(*PURGE)
    assert copy.run("deprecate", "leaver").code == 4

    copy.ok("doctor")

    assert state_of(copy, "leaver") == "active"
    copy.ok("deprecate", "leaver")


def test_an_erasure_killed_after_the_name_is_gone_is_still_finished(copy: Vlm) -> None:
    copy.ok("retire", "leaver")
    copy.with_env(VLM_FAILPOINTS_ENABLED="1", VLM_FAILPOINT="purge.after_rows:kill").run(*ERASE)

    done = copy.ok(*ERASE).json

    assert done["state"] == "erased"
    assert done["resumed"]
    assert b"leaver" not in every_byte_of(copy.home)


def killed_at_random(vlm: Vlm, arguments: tuple[str, ...], *, seed: int, within_s: float) -> None:
    """Start a command and kill it, and everything that it started, at a moment that the seed chooses."""
    process = subprocess.Popen(
        [*_program(), *arguments],
        cwd=vlm.folder,
        env=vlm.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(random.Random(seed).uniform(0.0, within_s))
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _program() -> list[str]:
    import sys

    return [sys.executable, "-m", "lifecycle"]


def how_long(vlm: Vlm, arguments: tuple[str, ...]) -> float:
    begun = time.monotonic()
    vlm.ok(*arguments)
    return time.monotonic() - begun


@pytest.fixture(scope="module")
def seconds(template: Vlm, tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """How long each verb takes here, undisturbed."""
    vlm = copied(template, tmp_path_factory.mktemp("timed"))
    purge = how_long(vlm, PURGE)
    return {"purge": purge, "erase": how_long(vlm, ERASE)}


def check_purge(template: Vlm, folder: Path, seed: int, within_s: float) -> None:
    vlm = copied(template, folder)
    killed_at_random(vlm, PURGE, seed=seed, within_s=within_s)
    purge_to_the_end(vlm)
    assert_gone(vlm)


def check_erase(template: Vlm, folder: Path, seed: int, within_s: float) -> None:
    vlm = copied(template, folder)
    vlm.ok("retire", "leaver")
    killed_at_random(vlm, ERASE, seed=seed, within_s=within_s)
    vlm.ok("doctor")
    with vault_of(vlm) as (uow, _):
        left = uow.voices.find("leaver") is not None
    if left:
        vlm.ok(*ERASE)
    assert b"leaver" not in every_byte_of(vlm.home)
    with vault_of(vlm) as (uow, _):
        assert uow.purges.all_open() == []
        assert uow.voices.get("survivor").state is State.ACTIVE


@pytest.mark.parametrize("seed", range(5))
def test_a_purge_killed_at_a_random_moment_is_finished(
    template: Vlm, tmp_path: Path, seconds: dict[str, float], seed: int
) -> None:
    check_purge(template, tmp_path, seed, seconds["purge"])


@pytest.mark.parametrize("seed", range(5))
def test_an_erasure_killed_at_a_random_moment_is_finished(
    template: Vlm, tmp_path: Path, seconds: dict[str, float], seed: int
) -> None:
    check_erase(template, tmp_path, seed, seconds["erase"])


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1000, 1050))
def test_soak_purge(template: Vlm, tmp_path: Path, seconds: dict[str, float], seed: int) -> None:
    check_purge(template, tmp_path, seed, seconds["purge"])


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2000, 2050))
def test_soak_erase(template: Vlm, tmp_path: Path, seconds: dict[str, float], seed: int) -> None:
    check_erase(template, tmp_path, seed, seconds["erase"])
