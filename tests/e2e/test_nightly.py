"""`vlm audit --scheduled` as a timer runs it: from cron, beside another one, and with nowhere to write."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lifecycle.vault.files import locked
from tests.conftest import Answer, Vlm
from tests.e2e.test_json_schemas import check, validator
from tests.files import recordings, weights


@pytest.fixture
def home(vlm: Vlm, tmp_path: Path) -> Vlm:
    """A registry with a voice whose person's consent has ended."""
    (tmp_path / "agreed.txt").write_text("yes\n", encoding="utf-8")
    person = ["--subject", "10042", "--consent", "agreed.txt", "--consent-until", "2020-06-30"]
    files = ["--weights", weights(tmp_path / "v.safetensors"), "--audio", recordings(tmp_path / "takes")]
    vlm.ok("register", "voice-42", *files, *person, "--owner", "video")
    return vlm


def under_cron(program: Vlm, line: str, **more: str) -> Answer:
    """Run a command line as cron does: a shell, almost no environment, no locale, no terminal, another folder."""
    kept = {name: value for name, value in program.environment.items() if name.startswith("VLM_")}
    bare = {"PATH": "/usr/bin:/bin", "SHELL": "/bin/sh", "LOGNAME": "nobody", "LC_ALL": "C"}
    plain = {"PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        ["/bin/sh", "-c", line.replace("vlm ", f"{sys.executable} -m lifecycle ", 1)],
        env={**bare, **plain, **kept, **more},
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=120,
    )
    return Answer(done.returncode, done.stdout.decode("ascii"), done.stderr.decode("ascii"))


def test_it_works_under_cron_without_a_locale_a_home_or_a_terminal(home, tmp_path):
    out = tmp_path / "\u4ed6\u7684 reports"

    first = under_cron(home, f"vlm audit --scheduled --out '{out}'")
    second = under_cron(home, f"vlm audit --scheduled --out '{out}'")

    assert first.code == 11, first.err
    assert "voice-42" in first.out
    assert first.err == ""
    assert (second.code, second.out, second.err) == (0, "", ""), "cron sends no mail where nothing is new"
    assert sorted(path.name for path in out.iterdir()) == [
        "audit.html", "audit.json", "audit.junit.xml", "audit.sarif", "vlm.prom",
    ]  # fmt: skip


def test_it_needs_no_open_output(home, tmp_path):
    for night, closed in enumerate([">&-", "2>&-", ">&- 2>&- <&-"]):
        out = tmp_path / f"out {night}"

        answer = under_cron(home, f"vlm audit --scheduled --out '{out}' {closed}")

        assert answer.code == (11 if night == 0 else 0), closed
        assert (out / "vlm.prom").exists(), closed


def test_json_and_files_are_as_the_schema_says(home, tmp_path):
    told = check("audit", home.run("audit", "--scheduled", "--out", "out", "--json"), code=11)

    assert [Path(path).name for path in told["files"]] == [
        "audit.html", "audit.junit.xml", "audit.sarif", "audit.json", "vlm.prom",
    ]  # fmt: skip
    assert told["notifications"] == []
    written = json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))
    validator("audit").validate(written)
    assert written["audit"] == told["audit"]
    plain = check("audit", home.run("audit", "--json"), code=11)
    assert (plain["audit"], plain["files"]) == (None, [])


def test_a_second_one_at_the_same_time_is_told_to_wait(home, tmp_path):
    with locked(home.home / "nightly.lock", what="the nightly audit"):
        answer = home.run("audit", "--scheduled", "--out", "out", "--json")

    assert answer.code == 8
    assert answer.json["error"]["code"] == "busy"
    assert not (tmp_path / "out").exists()


def test_a_notification_that_fails_is_said_without_its_secret(home):
    url = "json://user:s3cr3t@127.0.0.1:9/t0ken"
    first = home.run("audit", "--scheduled", "--notify", url)
    second = home.run("audit", "--scheduled", "--notify", url, "--json")

    assert first.code == 11
    assert "the audit is done, but json://*** could not be notified: it could not be reached" in first.err
    assert second.code == 7, "the audit alone would have ended with 0"
    told = check("audit", second, code=7)
    assert told["ok"] is False
    assert told["error"]["code"] == "unavailable"
    assert told["notifications"] == [
        {"target": "json://***", "ok": False, "error": "it could not be reached"}
    ]
    for answer in (first, second):
        assert "s3cr3t" not in answer.out + answer.err
        assert "t0ken" not in answer.out + answer.err


def test_addresses_of_the_settings_are_used_and_never_shown(home, tmp_path):
    (tmp_path / "vlm.toml").write_text('notify = ["json://127.0.0.1:9/s3cr3t"]\n', encoding="utf-8")

    answer = home.run("audit", "--scheduled")
    shown = home.ok("config", "show")

    assert "json://***" in answer.err
    assert "json://***" in shown.out
    assert "s3cr3t" not in answer.out + answer.err + shown.out


def test_a_registry_may_not_name_addresses(home):
    (home.home / "vlm.toml").write_text('notify = ["json://127.0.0.1:9/x"]\n', encoding="utf-8")

    answer = home.run("audit", "--scheduled")

    assert answer.code == 2
    assert "travels with the registry" in answer.err


def test_what_only_a_timer_needs_goes_with_scheduled(bare_vlm):
    values = {"--out": ["out"], "--notify": ["json://x"], "--notify-command": ["true"], "--notify-names": []}
    for option, value in {**values, "--apply": ["default"]}.items():
        answer = bare_vlm.run("audit", option, *value)

        assert answer.code == 2, option
        assert f"{option} goes with --scheduled" in answer.err


def test_a_folder_that_cannot_be_made_is_said_before_the_audit(vlm):
    answer = vlm.run("audit", "--scheduled", "--out", "/proc/nowhere/out")

    assert answer.code == 7
    assert '"/proc/nowhere/out" cannot be written' in answer.err
    assert vlm.ok("trail", "verify", "--json").json["size"] == 1, "nothing was looked at"


def test_an_audit_of_some_voices(home):
    cases = {
        ("--owner", "video"): True,
        ("--owner", "radio"): False,
        ("--subject", "10042"): True,
        ("--state", "active"): True,
        ("--state", "retired"): False,
        ("--policy", "default"): True,
        ("--policy", "strict"): False,
        ("--upstream", ""): True,
    }
    for arguments, found in cases.items():
        told = home.run("audit", *arguments, "--json").json

        assert told["voices"] == int(found), arguments
        assert ("voice-42" in {risk["voice"] for risk in told["risks"]}) is found, arguments


def test_numbers_by_owner_stand_below_the_risks(home):
    answer = home.run("audit", "--group-by", "owner", "--scrub", "none")

    assert "\nby owner\nvideo  1 voice  1 critical" in answer.out
    assert "no stored file was read again" in answer.out


def test_a_filter_that_means_nothing_is_refused(vlm):
    cases = {
        ("--state", "asleep"): (2, "asleep"),
        ("--subject", "99999"): (3, "nobody"),
        ("--group-by", "mood"): (2, "mood"),
        ("--scrub", "some"): (2, "some"),
    }
    for arguments, (code, word) in cases.items():
        answer = vlm.run("audit", *arguments)

        assert answer.code == code, arguments
        assert word in answer.err, arguments
