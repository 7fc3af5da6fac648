"""`vlm subject` as a process: ids from standard input, exit codes, schemas; and a withdrawal that is killed."""

from __future__ import annotations

import signal
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.conftest import Vlm
from tests.e2e.test_json_schemas import check, fails
from tests.e2e.test_retire import copied
from tests.e2e.test_retire_kills import how_long, killed_at_random
from tests.files import recordings, weights

TODAY = datetime.now(UTC).date().isoformat()
WITHDRAW = ("subject", "withdraw", "10042", "--received", TODAY, "--reference", "T-2231", "--yes", "--json")


def test_the_life_of_a_consent_speaks_as_its_schemas_say(vlm: Vlm, tmp_path: Path) -> None:
    paper = tmp_path / "consent.txt"
    paper.write_text("I agree.\n", encoding="utf-8")
    added = check(
        "subject-add", vlm.run("subject", "add", "-", "--contact", "-", "--json", stdin="Lin\nlin@x\n")
    )
    who = added["subject"]
    assert check("subject-add", vlm.run("subject", "add", "Lin", "--dry-run", "--json"))["subject"] == who
    terms = ("--evidence", paper, "--scope", "speak,train", "--until", "2999-12-31", "--json")
    check("subject-consent", vlm.run("subject", "consent", who, *terms, "--dry-run"))
    assert check("subject-consent", vlm.run("subject", "consent", "-", *terms, stdin="Lin\n"))["created"]
    files = ["--weights", weights(tmp_path / "w.st"), "--audio", recordings(tmp_path / "takes")]
    vlm.ok("register", "kol", *files, "--subject", who)

    listed = check("subject-list", vlm.run("subject", "list", "--json"))
    assert [(each["subject"], each["consent"]) for each in listed["subjects"]] == [(who, "ends")]
    assert check("subject-show", vlm.run("subject", "show", who, "--json"))["id"] is None
    assert check("subject-show", vlm.run("subject", "show", who, "--reveal", "--json"))["id"] == "Lin"
    out = ("-o", tmp_path / "lin.zip", "--with-recordings", "--json")
    assert check("subject-export", vlm.run("subject", "export", who, *out))["recordings"] == 2
    assert zipfile.ZipFile(tmp_path / "lin.zip").testzip() is None

    received = ("--received", TODAY, "--reference", "T-2231", "--json")
    planned = check("subject-withdraw", vlm.run("subject", "withdraw", who, *received, "--dry-run"))
    asked = vlm.run("subject", "withdraw", who, *received[:-1])
    assert (asked.code, "--dry-run)" in asked.out + asked.err) == (4, False)
    fails(vlm.run("subject", "withdraw", who, *received), 4, "refused")
    assert check("subject-case-list", vlm.run("subject", "case", "list", "--json"))["cases"] == []
    done = check("subject-withdraw", vlm.run("subject", "withdraw", who, *received, "--yes"))
    assert done["plan"] == planned["plan"]
    (case,) = check("subject-case-list", vlm.run("subject", "case", "list", "--json"))["cases"]
    assert check("subject-case-show", vlm.run("subject", "case", "show", case["case"], "--json"))["plan"]
    closing = ("subject", "case", "close", case["case"], "--reason", "a new contract", "--json")
    check("subject-case-close", vlm.run(*closing, "--dry-run"))
    assert check("subject-case-close", vlm.run(*closing))["outcome"] == "closed"
    vlm.ok("trail", "verify")


def test_what_cannot_be_is_one_sentence_with_its_exit_code(vlm: Vlm) -> None:
    cases = [
        (("show", "nobody"), 3, "not_found"),
        (("add", "Lin\x1b[2J"), 2, "usage"),
        (("add", ""), 2, "usage"),
        (("withdraw", "10042", "--received", "2999-01-01", "--yes"), 2, "usage"),
        (("withdraw", "10042", "--received", "yesterday", "--yes"), 2, "usage"),
        (("case", "show", "00000000"), 3, "not_found"),
    ]
    for arguments, code, word in cases:
        fails(vlm.run("subject", *arguments, "--json"), code, word)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Vlm:
    """A registry with a person who consented and has a voice."""
    vlm = Vlm(tmp_path_factory.mktemp("template"))
    vlm.ok("init")
    paper = vlm.folder / "consent.txt"
    paper.write_text("I agree.\n", encoding="utf-8")
    files = ("--weights", weights(vlm.folder / "w.st"), "--audio", recordings(vlm.folder / "takes"))
    vlm.ok("register", "kol", *files, "--subject", "10042", "--consent", paper)
    return vlm


def assert_all_or_nothing(vlm: Vlm) -> bool:
    """Either the case is open, the consent withdrawn and the voice blocked, or none of it; return which."""
    shown = vlm.ok("subject", "show", "10042", "--json").json
    (voice,), (consent,) = shown["voices"], shown["consents"]
    open_cases = [case for case in shown["cases"] if case["closed_at"] is None]
    told = (bool(open_cases), consent["withdrawn_at"] is not None, voice["allowed"] == [])
    assert told in {(True, True, True), (False, False, False)}, shown
    vlm.ok("trail", "verify")
    return told[0]


@pytest.mark.parametrize(
    ("point", "done"), [("subject.before_commit", False), ("subject.after_commit", True)]
)
def test_a_withdrawal_that_is_killed_did_nothing_or_all_of_it(
    template: Vlm, tmp_path: Path, point: str, done: bool
) -> None:
    vlm = copied(template, tmp_path)
    killed = vlm.with_env(VLM_FAILPOINTS_ENABLED="1", VLM_FAILPOINT=f"{point}:kill").run(*WITHDRAW)
    assert killed.code == -signal.SIGKILL, killed.err

    assert assert_all_or_nothing(vlm) is done

    assert vlm.ok(*WITHDRAW).json["created"] is not done
    assert assert_all_or_nothing(vlm)


@pytest.fixture(scope="module")
def seconds(template: Vlm, tmp_path_factory: pytest.TempPathFactory) -> float:
    """How long a withdrawal takes here, undisturbed."""
    return how_long(copied(template, tmp_path_factory.mktemp("timed")), WITHDRAW)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(3000, 3025))
def test_soak_withdraw(template: Vlm, tmp_path: Path, seconds: float, seed: int) -> None:
    vlm = copied(template, tmp_path)
    killed_at_random(vlm, WITHDRAW, seed=seed, within_s=seconds)
    assert_all_or_nothing(vlm)
    vlm.ok(*WITHDRAW)
    assert assert_all_or_nothing(vlm)
