"""Backups through the command line: what is printed is what helps, a full disk, and kills at random moments."""

from __future__ import annotations

import os
import random
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import Vlm
from tests.files import recordings, weights
from tests.rooms import session

RECORDINGS = ("a", "b")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Vlm:
    """A registry with a voice, its backup, and a copy of its keys."""
    vlm = Vlm(tmp_path_factory.mktemp("template"))
    vlm.ok("init")
    for seed, name in enumerate(RECORDINGS):
        vlm.ok(
            "register", f"kol-{name}", "--weights", weights(vlm.folder / f"{name}.st", seed=seed),
            "--audio", recordings(vlm.folder / f"rec-{name}", seed=seed), "--own-voice",
        )  # fmt: skip
    vlm.ok("backup", "create", "backup", "--keys-to", "copy")
    return vlm


@pytest.fixture
def vlm(template: Vlm, tmp_path: Path) -> Vlm:
    for part in ("home", "keys", "backup", "copy"):
        shutil.copytree(template.folder / part, tmp_path / part)
    return Vlm(tmp_path)


def run_line(vlm: Vlm, line: str) -> int:
    """Run a printed command as a person would paste it."""
    words = shlex.split(line)
    extra = dict(word.split("=", 1) for word in words if "=" in word and not word.startswith("-"))
    assert words[len(extra)] == "vlm"
    return vlm.with_env(**extra).run(*words[len(extra) + 1 :], "--yes").code


@pytest.mark.sqlite
def test_a_lost_machine_comes_back_by_what_is_printed(vlm: Vlm) -> None:
    shutil.rmtree(vlm.home)
    shutil.rmtree(vlm.keys)

    told = vlm.ok("backup", "restore", "backup", "--keys", "copy", "--json").json

    assert run_line(vlm, told["next"]) == 0
    assert [voice["name"] for voice in vlm.ok("list", "--json").json["voices"]] == ["kol-a", "kol-b"]
    assert vlm.ok("trail", "verify", "--json").json["verified"]


@pytest.mark.sqlite
def test_a_restore_elsewhere_prints_a_command_that_names_the_place(vlm: Vlm) -> None:
    told = vlm.ok("backup", "restore", "backup", "--to", "new home", "--json").json

    assert told["standing"] == "older"
    assert told["next"].startswith("VLM_HOME=")
    assert run_line(vlm, told["next"]) == 0
    listed = vlm.with_env(VLM_HOME=str(vlm.folder / "new home")).ok("list", "--json").json
    assert len(listed["voices"]) == 2


@pytest.mark.sqlite
def test_no_key_means_no_restore_and_the_option_is_named(vlm: Vlm) -> None:
    shutil.rmtree(vlm.home)
    shutil.rmtree(vlm.keys)
    answer = vlm.run("backup", "restore", "backup")
    assert answer.code == 3
    assert "--keys DIR2" in answer.err


@pytest.mark.sqlite
def test_a_damaged_backup_ends_with_5_and_names_what(vlm: Vlm) -> None:
    blob = next(path for path in (vlm.folder / "backup" / "blobs").rglob("*") if path.is_file())
    content = bytearray(blob.read_bytes())
    content[0] ^= 1
    blob.write_bytes(content)

    quick = vlm.run("backup", "check", "backup")
    thorough = vlm.run("backup", "check", "backup", "--read-data")

    assert quick.code == 0
    assert thorough.code == 5
    assert blob.parent.name + blob.name[:10] in thorough.out


@pytest.mark.sqlite
@pytest.mark.parametrize("limit", [4096, 16_000, 200_000])
def test_a_disk_that_takes_no_more_leaves_the_backup_as_it_was(vlm: Vlm, limit: int) -> None:
    vlm.ok(
        "register", "kol-c", "--weights", weights(vlm.folder / "c.st", seed=9),
        "--audio", recordings(vlm.folder / "rec-c", seed=9), "--own-voice",
    )  # fmt: skip
    before = {path for path in (vlm.folder / "backup").rglob("*") if path.is_file()}
    done = subprocess.run(
        [sys.executable, "-m", "lifecycle", "backup", "create", "backup", "--json"],
        cwd=vlm.folder,
        env=vlm.environment,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )

    assert done.returncode == 7, (done.stdout, done.stderr)
    kept = {path for path in (vlm.folder / "backup").rglob("*") if path.is_file()}
    assert {path for path in kept - before if "blobs" not in path.parts} == set()
    assert not [path for path in kept if path.suffix == ".part"]
    vlm.ok("backup", "check", "backup", "--read-data")
    vlm.ok("backup", "create", "backup")


@pytest.mark.sqlite
def test_the_registry_remembers_what_was_checked_and_what_was_pruned(vlm: Vlm) -> None:
    vlm.ok("backup", "create", "backup", "--keys-to", "copy")
    vlm.ok("backup", "check", "backup")
    told = vlm.ok("backup", "prune", "backup", "--keep", "1", "--yes", "--json").json

    with session(vlm.folder) as rooms, rooms.registry.read() as uow:
        (left,) = uow.backups.all("registry")
        verbs = [stored.event.verb for stored in uow.trail.stored()]
    assert len(told["removed"]) == 1
    assert left.checked_at is not None
    assert told["kept"] == [name for name in told["kept"] if name.endswith(left.uid[:8])]
    assert verbs[-2:] == ["backup.check", "backup.prune"]


def killed_at_random(vlm: Vlm, arguments: list[str], *, seed: int, within_s: float) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "lifecycle", *arguments],
        cwd=vlm.folder,
        env=vlm.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(random.Random(seed).uniform(0.2, within_s))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.soak
@pytest.mark.sqlite
@pytest.mark.parametrize("seed", range(4000, 4013))
def test_soak_create(template: Vlm, vlm: Vlm, seed: int) -> None:
    create = ["backup", "create", "backup", "--keys-to", "copy"]
    vlm.ok(
        "register", "kol-c", "--weights", weights(vlm.folder / "c.st", seed=9),
        "--audio", recordings(vlm.folder / "rec-c", seed=9, count=20), "--own-voice",
    )  # fmt: skip
    killed_at_random(vlm, create, seed=seed, within_s=1.0)

    vlm.ok("backup", "check", "backup", "--read-data", "--keys", "copy")
    vlm.ok(*create)
    vlm.ok("backup", "check", "backup", "--read-data", "--keys", "copy")


@pytest.mark.soak
@pytest.mark.sqlite
@pytest.mark.parametrize("seed", range(4100, 4112))
def test_soak_restore(template: Vlm, vlm: Vlm, seed: int) -> None:
    shutil.rmtree(vlm.home)
    shutil.rmtree(vlm.keys)
    restore = ["backup", "restore", "backup", "--keys", "copy"]
    killed_at_random(vlm, restore, seed=seed, within_s=1.2)

    done = vlm.run(*restore)

    assert done.code == 0 or "is not empty" in done.err, done.err  # it may have been done before the kill
    vlm.ok("doctor")
    assert len(vlm.ok("list", "--json").json["voices"]) == 2
