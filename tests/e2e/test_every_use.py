"""Every command and every call of the Python API is either guarded by consent, or says here why it need not be.

A new command fails these tests until somebody has thought about it: does it use the sound of a voice?
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer

from lifecycle.api import Lifecycle
from lifecycle.cli.main import app
from lifecycle.domain.errors import Refused
from lifecycle.domain.subjects import USES
from lifecycle.services.people.withdraw import BLOCKED, WithdrawRequest, withdraw
from tests.conftest import Vlm
from tests.files import recordings, weights
from tests.rooms import settings_of

# Commands that use the sound of a voice or take things of a person in, with the use that the guard is asked for.
GUARDED = {
    "vlm speak": "speak",
    "vlm train": "train",
    "vlm golden record": "golden",
    "vlm verify": "verify",
    "vlm restore": "restore",
    "vlm register": "register",
    "vlm import": "register",
}
LOOKS = "only looks at what is on record"
ENDS = "only takes away, or forbids to take away"
NO_VOICE = "touches no voice"
FREE = {
    "vlm audit": LOOKS,
    "vlm audit accept": LOOKS,
    "vlm backup check": LOOKS,
    "vlm backup create": "copies sealed things as they are, withdrawals included",
    "vlm backup list": LOOKS,
    "vlm backup prune": ENDS,
    "vlm backup restore": "puts sealed things back as they were; every use of them is guarded",
    "vlm certificate verify": LOOKS,
    "vlm completion": NO_VOICE,
    "vlm config show": NO_VOICE,
    "vlm demo": "a registry of its own, by the commands that are listed here",
    "vlm deprecate": ENDS,
    "vlm doctor": "finishes what was begun; makes nothing",
    "vlm erase": ENDS,
    "vlm golden show": LOOKS,
    "vlm hold": ENDS,
    "vlm init": NO_VOICE,
    "vlm inspect": "a file that is not in the registry",
    "vlm list": LOOKS,
    "vlm lock": "names of packages",
    "vlm policy apply": ENDS,
    "vlm policy explain": LOOKS,
    "vlm policy list": LOOKS,
    "vlm policy plan": LOOKS,
    "vlm policy validate": NO_VOICE,
    "vlm prepare": "recordings that are not in the registry; nothing is kept",
    "vlm registry move": "carries sealed rows to another database, withdrawals included",
    "vlm registry show": NO_VOICE,
    "vlm release": ENDS,
    "vlm retire": ENDS,
    "vlm runtime add": NO_VOICE,
    "vlm runtime list": NO_VOICE,
    "vlm runtime remove": NO_VOICE,
    "vlm schedule install": NO_VOICE,
    "vlm schedule remove": NO_VOICE,
    "vlm schedule show": NO_VOICE,
    "vlm show": LOOKS,
    "vlm spec": "numbers about files of class model",
    "vlm subject add": "no voice yet",
    "vlm subject case close": "what was withdrawn stays withdrawn",
    "vlm subject case list": LOOKS,
    "vlm subject case show": LOOKS,
    "vlm subject consent": "asks for open cases itself",
    "vlm subject export": "the person's own right to their own data",
    "vlm subject list": LOOKS,
    "vlm subject show": LOOKS,
    "vlm subject withdraw": ENDS,
    "vlm trail verify": LOOKS,
    "vlm unhold": ENDS,
    "vlm use add": "says that something depends on a voice; uses nothing",
    "vlm use list": LOOKS,
    "vlm use remove": ENDS,
}
API_GUARDED = {"register", "train", "speak", "verify", "restore"}
API_FREE = {
    "add_use", "remove_use", "withdraw", "list", "show", "spec", "inspect", "prepare", "audit", "hold", "unhold",
    "deprecate", "retire", "plan_purge", "purge_audio", "erase", "verify_trail", "doctor", "close",
}  # fmt: skip


def commands(command: Any, path: str) -> Iterator[str]:
    """Yield every command of the program."""
    inner = getattr(command, "commands", {})
    for name, child in inner.items():
        yield from commands(child, f"{path} {name}")
    if path != "vlm" and (not inner or command.invoke_without_command):
        yield path


def test_every_command_is_guarded_or_says_why_not():
    found = set(commands(typer.main.get_command(app), "vlm"))

    assert found - GUARDED.keys() - FREE.keys() == set(), "does it use the sound of a voice? then guard it"
    assert (GUARDED.keys() | FREE.keys()) - found == set(), "listed here, but there is no such command"
    assert GUARDED.keys() & FREE.keys() == set()


def test_every_call_of_the_api_is_guarded_or_free():
    found = {name for name, _ in inspect.getmembers(Lifecycle, callable) if not name.startswith("_")}

    assert found - API_GUARDED - API_FREE == set(), "does it use the sound of a voice? then guard it"
    assert (API_GUARDED | API_FREE) - found == set()


def test_every_use_that_is_asked_for_is_one_that_the_guard_knows():
    assert {verb for verb in GUARDED.values() if verb != "register"} <= USES.keys()
    assert USES.keys() | {"register"} == set(BLOCKED), "what a withdrawal says that it blocks"


@pytest.fixture
def withdrawn(vlm: Vlm, debug_voice: tuple[Path, Path], tmp_path: Path) -> Vlm:
    """A voice that can be spoken with, of a person who withdrew a moment ago."""
    paper = tmp_path / "consent.txt"
    paper.write_text("I agree.\n", encoding="utf-8")
    files = ["--weights", debug_voice[0], "--embedding", debug_voice[1]]
    vlm.ok("register", "kol", *files, "--subject", "10042", "--consent", paper)
    vlm.ok("register", "old", *files, "--subject", "10042", "--consent", paper)
    vlm.ok("retire", "old")
    vlm.ok("subject", "withdraw", "-", "--received", today(), "--yes", stdin="10042\n")
    return vlm


def today() -> str:
    return datetime.now(UTC).date().isoformat()


@pytest.mark.server
def test_from_the_second_of_a_withdrawal_every_command_refuses(
    withdrawn: Vlm, torch_runtime: str, tmp_path: Path
) -> None:
    takes, newer = recordings(tmp_path / "takes"), weights(tmp_path / "newer.st", seed=5)
    (tmp_path / "agreed.txt").write_text("Again.\n", encoding="utf-8")
    person = ["--subject", "10042", "--consent", "agreed.txt"]
    calls = {
        "vlm speak": [["speak", "kol", "--text", "Hello.", "-o", "out.wav"]],
        "vlm train": [
            ["train", "kol", "--audio", takes],
            ["train", "kol", "--audio", takes, *person],
            ["train", "new", "--audio", takes, *person],
        ],
        "vlm golden record": [["golden", "record", "kol"]],
        "vlm restore": [["restore", "old"]],
        "vlm register": [
            ["register", "kol", "--audio", takes],
            ["register", "kol", "--audio", takes, "--dry-run"],
            ["register", "new", "--weights", newer, *person],
            ["register", "old", "--consent", "agreed.txt"],
        ],
    }
    for arguments in (one for each in calls.values() for one in each):
        answer = withdrawn.run(*arguments, "--json")
        assert answer.code == 4, (arguments, answer.out, answer.err)
        assert "the case is open" in answer.json["error"]["message"], arguments
    verified = withdrawn.run("verify", "kol", "--torch", torch_runtime, "--json")
    assert verified.code == 12
    assert "the case is open" in verified.json["results"][0]["reason"]
    assert not (tmp_path / "out.wav").exists()
    rows = "name,weights,subject\nnew,newer.st,10042\n"
    (tmp_path / "voices.csv").write_text(rows, encoding="utf-8")
    imported = withdrawn.run("import", tmp_path / "voices.csv", "--json")
    assert imported.code != 0, imported.out
    assert "the case is open" in imported.out
    assert "new" not in [voice["name"] for voice in withdrawn.ok("list", "--json").json["voices"]]
    assert set(calls) | {"vlm verify", "vlm import"} == GUARDED.keys()


def test_the_python_api_refuses_too(withdrawn: Vlm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import lifecycle

    for name in ("VLM_CONFIG", "VLM_DATABASE_URL"):
        if name in withdrawn.environment:
            monkeypatch.setenv(name, withdrawn.environment[name])
    takes = recordings(tmp_path / "takes")
    with lifecycle.open(withdrawn.home, keys=withdrawn.keys) as registry:
        calls = [
            lambda: registry.speak("kol", "Hello.", out=tmp_path / "out.wav"),
            lambda: registry.restore("old"),
            lambda: registry.train("kol", audio=[takes]),
            lambda: registry.register("kol", audio=[takes]),
        ]
        for call in calls:
            with pytest.raises(Refused, match="the case is open"):
                call()


@pytest.mark.server
def test_what_is_being_spoken_while_the_withdrawal_comes_is_destroyed(
    vlm: Vlm, debug_voice: tuple[Path, Path], torch_runtime: str, tmp_path: Path
) -> None:
    (tmp_path / "consent.txt").write_text("I agree.\n", encoding="utf-8")
    files = ["--weights", debug_voice[0], "--embedding", debug_voice[1]]
    vlm.ok("register", "kol", *files, "--subject", "10042", "--consent", "consent.txt")
    speaking = vlm.start("speak", "kol", "--text", "The old road is quiet. " * 50, "-o", "out.wav", "--json")
    with session_of(vlm) as rooms:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and speaking.poll() is None:
            with rooms.registry.read() as uow:
                if any(job.verb == "speak" for job in uow.jobs.open()):
                    break
            time.sleep(0.02)
        withdraw(WithdrawRequest("10042", datetime.now(UTC).date()), rooms=rooms)

    out, err = speaking.communicate(timeout=300)

    assert speaking.returncode == 4, (out, err)
    assert not (tmp_path / "out.wav").exists()
    assert list((vlm.home / "work").iterdir()) == []


def session_of(vlm: Vlm) -> Any:
    """Open the registry of the program in this process."""
    from contextlib import closing

    from lifecycle.services.session import open_session

    assert settings_of(vlm.folder).home == vlm.home
    return closing(open_session(settings_of(vlm.folder)))
