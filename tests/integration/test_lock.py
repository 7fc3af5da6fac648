"""What is really installed becomes a lock that installs the same again, and what cannot be had is named."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import tomllib

from lifecycle.bootstrap import Rooms
from lifecycle.domain import failpoints
from lifecycle.domain.errors import NotFound, Unavailable, UnreadableFile
from lifecycle.domain.packages import Trouble
from lifecycle.domain.verdicts import Verdict
from lifecycle.domain.voices import Role
from lifecycle.runtimes.environments import Runtimes
from lifecycle.services.audits.audit import audit
from lifecycle.services.locks.lock import check_lock, lock_python, show_lock
from lifecycle.services.locks.result import LockResult
from lifecycle.services.registration.register import register
from lifecycle.services.registration.request import RegisterRequest
from tests.files import weights
from tests.packages import environment, only_these_wheels, project, uv, wheel
from tests.rooms import session


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "wheels"
    wheel(folder, "alpha", "1.0")
    wheel(folder, "beta", "2.0+cu128")
    only_these_wheels(monkeypatch, folder)
    return folder


@pytest.fixture
def rooms(tmp_path: Path, wheels: Path):
    with session(tmp_path / "registry") as opened:
        register(RegisterRequest(name="kol", weights=(weights(tmp_path / "kol.safetensors"),)), rooms=opened)
        yield opened


def troubles(result: LockResult) -> dict[str, Trouble]:
    return {note.package: note.trouble for note in result.notes}


def locks_of(rooms: Rooms) -> list[object]:
    with rooms.registry.read() as uow:
        return list(uow.voices.artifacts(uow.voices.get("kol").uid, role=Role.LOCKFILE))


def test_a_lock_installs_exactly_what_it_was_captured_from(rooms, wheels, tmp_path):
    env = environment(tmp_path / "env", "alpha==1.0", "beta==2.0+cu128", wheels=wheels)

    result = lock_python("kol", env, rooms=rooms, output=wheels / "pylock.toml")

    assert (result.verdict, result.code, result.notes) == (Verdict.WORKS, 0, ())
    assert (result.packages, result.hashed) == (2, 2)
    empty = environment(tmp_path / "empty")
    uv("pip", "sync", "--no-index", "-p", empty / "bin" / "python", wheels / "pylock.toml")
    assert uv("pip", "freeze", "-p", empty / "bin" / "python").stdout.split() == [
        "alpha==1.0",
        "beta==2.0+cu128",
    ]
    again = lock_python("kol", empty, rooms=rooms)
    assert again.packages == 2


def test_a_lock_names_each_wheel_with_its_sha256_and_no_path_of_the_machine(rooms, wheels, tmp_path):
    env = environment(tmp_path / "env", "alpha", wheels=wheels)

    content = lock_python("kol", env, rooms=rooms).content

    lock = tomllib.loads(content.decode())
    file = wheels / "alpha-1.0-py3-none-any.whl"
    assert lock["lock-version"] == "1.0"
    assert lock["packages"] == [
        {
            "name": "alpha",
            "version": "1.0",
            "wheels": [
                {
                    "name": file.name,
                    "path": file.name,
                    "hashes": {"sha256": hashlib.sha256(file.read_bytes()).hexdigest()},
                }
            ],
        }
    ]
    assert str(tmp_path).encode() not in content


def test_what_cannot_be_had_as_a_wheel_stays_in_the_lock_and_is_named(rooms, wheels, tmp_path):
    gone = wheel(tmp_path / "elsewhere", "gone", "3.0")
    local = wheel(tmp_path / "elsewhere", "local", "1.0")
    mine = project(tmp_path / "mine", "mine")
    env = environment(tmp_path / "env", "alpha", wheels=wheels)
    python = env / "bin" / "python"
    uv("pip", "install", "--no-index", "--find-links", gone.parent, "-p", python, "gone")
    uv("pip", "install", "--no-index", "-p", python, local)
    uv("pip", "install", "--no-index", "-p", python, "-e", mine)

    result = lock_python("kol", env, rooms=rooms)

    assert (result.verdict, result.code) == (Verdict.BROKEN, 9)
    assert troubles(result) == {
        "gone": Trouble.VANISHED,
        "local": Trouble.FILE,
        "mine": Trouble.EDITABLE,
    }
    packages = {one["name"]: one for one in tomllib.loads(result.content.decode())["packages"]}
    assert set(packages) == {"alpha", "gone", "local", "mine"}
    assert packages["gone"] == {"name": "gone", "version": "3.0"}
    assert packages["mine"]["directory"] == {"path": "mine", "editable": True}
    refused = uv("pip", "install", "--no-index", "-p", python, "-r", _written(wheels, result), ok=False)
    assert refused.returncode != 0


def _written(folder: Path, result: LockResult) -> Path:
    path = folder / "pylock.toml"
    path.write_bytes(result.content)
    return path


def test_a_build_that_is_no_longer_offered_is_not_replaced_by_another_build(rooms, wheels, tmp_path):
    plain = wheel(tmp_path / "elsewhere", "beta", "2.0")
    env = environment(tmp_path / "env", "beta===2.0", wheels=plain.parent)

    assert troubles(lock_python("kol", env, rooms=rooms)) == {"beta": Trouble.OTHER_BUILD}

    wheel(wheels, "beta", "2.0")
    assert lock_python("kol", env, rooms=rooms).notes == ()


def test_a_build_of_another_index_says_where_to_look(rooms, wheels, tmp_path):
    other = wheel(tmp_path / "elsewhere", "gamma", "1.0+cu124")
    env = environment(tmp_path / "env", "gamma", wheels=other.parent)

    (note,) = lock_python("kol", env, rooms=rooms).notes

    assert note.trouble is Trouble.OTHER_BUILD
    assert note.said.startswith("your index has no build cu124")


def test_a_wheel_of_another_python_is_no_wheel_of_this_one(rooms, wheels, tmp_path):
    wheel(tmp_path / "elsewhere", "gamma", "1.0")
    wheel(wheels, "gamma", "1.0", tag="cp27-cp27mu-manylinux1_x86_64")
    env = environment(tmp_path / "env", "gamma", wheels=tmp_path / "elsewhere")

    assert troubles(lock_python("kol", env, rooms=rooms)) == {"gamma": Trouble.NO_WHEEL}


def test_the_same_lock_is_stored_once_and_an_older_one_stays_in_the_history(rooms, wheels, tmp_path):
    env = environment(tmp_path / "env", "alpha", wheels=wheels)

    first = lock_python("kol", env, rooms=rooms)
    second = lock_python("kol", env, rooms=rooms)
    uv("pip", "install", "--no-index", "--find-links", wheels, "-p", env / "bin" / "python", "beta")
    third = lock_python("kol", env, rooms=rooms)

    assert [first.created, second.created, third.created] == [True, False, True]
    assert (first.replaced, third.replaced) == (False, True)
    assert [lock.facts["packages"] for lock in locks_of(rooms)] == [1, 2]
    assert show_lock("kol", rooms=rooms).content == third.content
    with rooms.registry.read() as uow:
        verbs = [stored.event.verb for stored in uow.trail.stored()]
    assert verbs.count("lock") == 2


def test_a_dry_run_asks_and_stores_nothing(rooms, wheels, tmp_path):
    env = environment(tmp_path / "env", "alpha", wheels=wheels)

    result = lock_python("kol", env, rooms=rooms, output=tmp_path / "out.toml", dry_run=True)

    assert (result.packages, result.created) == (1, False)
    assert locks_of(rooms) == []
    assert not (tmp_path / "out.toml").exists()


def test_a_lock_whose_wheel_vanished_is_found_by_the_check_and_by_the_audit(rooms, wheels, tmp_path):
    env = environment(tmp_path / "env", "alpha", "beta", wheels=wheels)
    lock_python("kol", env, rooms=rooms)
    assert check_lock("kol", rooms=rooms).code == 0
    assert "lock-unresolvable" not in risks(rooms)

    (wheels / "alpha-1.0-py3-none-any.whl").unlink()
    result = check_lock("kol", rooms=rooms)

    assert (result.verdict, result.code) == (Verdict.BROKEN, 14)
    assert troubles(result) == {"alpha": Trouble.VANISHED}
    assert risks(rooms)["lock-unresolvable"].startswith("its lock no longer resolves from wheels")
    assert check_lock("kol", rooms=rooms).code == 14


def risks(rooms: Rooms) -> dict[str, str]:
    report = audit(rooms=rooms, commands={"vlm lock", "vlm register"}, fail_on="never")
    return {finding.risk.risk: finding.risk.message for finding in report.findings}


def test_another_file_under_the_same_version_differs(rooms, wheels, tmp_path):
    env = environment(tmp_path / "env", "alpha", wheels=wheels)
    lock_python("kol", env, rooms=rooms)
    wheel(wheels, "alpha", "1.0", content="OTHER = True\n")

    result = check_lock("kol", rooms=rooms)

    assert (result.verdict, result.code) == (Verdict.DIFFERS, 13)
    assert troubles(result) == {"alpha": Trouble.OTHER_FILES}


def test_offline_what_is_not_here_is_not_judged(rooms, wheels, tmp_path, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    other = wheel(tmp_path / "elsewhere", "not_anywhere", "1.0")
    env = environment(tmp_path / "env", "alpha", wheels=wheels)
    uv(
        "pip",
        "install",
        "--no-index",
        "--find-links",
        other.parent,
        "-p",
        env / "bin" / "python",
        "not-anywhere",
    )
    offline = replace(rooms.settings, offline=True)
    result = lock_python("kol", env, rooms=replace(rooms, settings=offline, runtimes=Runtimes(offline)))

    assert (result.verdict, result.code, result.hashed) == (Verdict.NOT_CHECKED, 9, 1)
    assert set(troubles(result).values()) == {Trouble.NOT_ASKED}


def test_a_foreign_lock_is_checked_without_following_what_it_asks_for(rooms, wheels, tmp_path):
    digest = hashlib.sha256((wheels / "alpha-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    file = tmp_path / "requirements.txt"
    file.write_text(
        f"--extra-index-url https://example.com/simple\nalpha==1.0 --hash=sha256:{digest}\nbeta==2.0+cu128\n"
        "gamma @ git+https://example.com/x.git\n./run-me\n",
        encoding="utf-8",
    )

    result = check_lock("kol", rooms=rooms, file=file)

    assert result.verdict is Verdict.BROKEN
    assert troubles(result) == {
        "gamma": Trouble.VCS,
        "./run-me": Trouble.DIRECTORY,
        "run-me": Trouble.UNPINNED,
        "--extra-index-url": Trouble.OPTION,
        "beta": Trouble.NO_HASH,
    }
    assert locks_of(rooms) == []


def test_what_a_lock_names_for_other_platforms_is_not_missed_here(rooms, wheels, tmp_path):
    digest = hashlib.sha256((wheels / "alpha-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    file = tmp_path / "requirements.txt"
    file.write_text(
        f"alpha==0.9 ; python_version < '3.8' --hash=sha256:{'0' * 64}\n"
        f"alpha==1.0 ; python_version >= '3.8' --hash=sha256:{digest}\n"
        f"pywin32==306 ; sys_platform == 'win32' --hash=sha256:{'1' * 64}\n",
        encoding="utf-8",
    )

    assert check_lock("kol", rooms=rooms, file=file).notes == ()


@pytest.mark.parametrize(
    "content", [b"", b"hello, world", b"\0" * 100, b"[[packages]]\n", b"lock-version = \n"]
)
def test_what_is_no_lock_is_not_checked(rooms, tmp_path, content):
    file = tmp_path / "some.txt"
    file.write_bytes(content)

    with pytest.raises(UnreadableFile):
        check_lock("kol", rooms=rooms, file=file)


def test_an_interpreter_that_is_none_is_said(rooms, tmp_path):
    with pytest.raises(NotFound):
        lock_python("kol", tmp_path / "nothing", rooms=rooms)
    liar = tmp_path / "python"
    liar.write_text("#!/bin/sh\necho vlm-environment:[1]\n", encoding="ascii")
    liar.chmod(liar.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(Unavailable, match="does not answer"):
        lock_python("kol", liar, rooms=rooms)


def test_an_interpreter_that_never_stops_talking_is_stopped(rooms, tmp_path):
    talker = tmp_path / "python"
    talker.write_text("#!/bin/sh\nexec yes vlm-environment:\n", encoding="ascii")
    talker.chmod(talker.stat().st_mode | stat.S_IXUSR)

    with pytest.raises(Unavailable, match="answers with more than 16 MB"):
        lock_python("kol", talker, rooms=rooms)
    assert "yes vlm-environment" not in _processes()


def _processes() -> str:
    told = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            told.append(process.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:
            continue
    return "\n".join(told)


def test_a_voice_without_a_lock_has_none_to_show_or_check(rooms):
    with pytest.raises(NotFound, match="has no lockfile"):
        check_lock("kol", rooms=rooms)
    with pytest.raises(NotFound, match="no voice"):
        lock_python("kol-x", Path(os.devnull), rooms=rooms)


def test_a_crash_before_the_rows_leaves_no_lock_and_no_file(rooms, wheels, tmp_path):
    class Crash(Exception):
        pass

    def crash() -> None:
        raise Crash

    env = environment(tmp_path / "env", "alpha", wheels=wheels)
    before = set(rooms.vault.blobs)
    failpoints.arm("lock.before_commit", crash)
    try:
        with pytest.raises(Crash):
            lock_python("kol", env, rooms=rooms)
    finally:
        failpoints.arm(None)

    assert locks_of(rooms) == []
    assert set(rooms.vault.blobs) == before
    assert lock_python("kol", env, rooms=rooms).created
