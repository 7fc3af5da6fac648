"""`vlm schedule`: what is printed, what is installed where, and what of others is left alone."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Vlm
from tests.e2e.test_json_schemas import check, fails

MINE = b"# my own\nMAILTO=me\n0 1 * * * /usr/bin/backup 100\\%\n"


@pytest.fixture
def stand_ins(tmp_path: Path) -> Path:
    """A folder for programs that stand in for those of the machine, and remember how they were called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    return folder


def stand_in(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(f'#!/bin/sh\necho "$@" >> "{folder}/{name}.calls"\n{body}\n', encoding="utf-8")
    path.chmod(0o700)


def with_stand_ins(vlm: Vlm, folder: Path) -> Vlm:
    return vlm.with_env(PATH=f"{folder}:{os.environ['PATH']}", XDG_CONFIG_HOME=str(folder.parent / "config"))


def test_what_is_printed_names_this_registry_and_no_secret(vlm):
    secret = vlm.with_env(VLM_NOTIFY="json://user:s3cr3t@host/x")
    for kind in ("systemd", "cron", "launchd", "kubernetes", "github"):
        told = check("schedule-show", secret.run("schedule", "show", "--as", kind, "--at", "4:30", "--json"))
        printed = secret.ok("schedule", "show", "--as", kind)

        whole = "\n".join(file["text"] for file in told["files"])
        assert told["at"] == "04:30"
        assert str(vlm.home) in whole
        assert str(vlm.keys) in whole
        assert "--scheduled" in whole
        assert "s3cr3t" not in whole + printed.out + printed.err
        assert ("VLM_NOTIFY is set in this shell only" in printed.err) == (
            kind not in {"kubernetes", "github"}
        )


def test_it_is_written_into_a_folder(vlm, tmp_path):
    vlm.ok("schedule", "show", "--as", "systemd", "--to", "units")

    assert sorted(path.name for path in (tmp_path / "units").iterdir()) == [
        "vlm-audit.service",
        "vlm-audit.timer",
    ]


def test_what_cannot_be_is_refused(vlm):
    cases = {
        ("show", "--as", "jenkins"): (2, "jenkins"),
        ("show", "--as", "cron", "--at", "25:00"): (2, "25:00"),
        ("show", "--as", "systemd", "--user", "x y"): (2, "x y"),
        ("install", "--as", "kubernetes"): (4, "vlm schedule show --as kubernetes"),
        ("remove", "--as", "github"): (4, "vlm schedule show --as github"),
    }
    for arguments, (code, word) in cases.items():
        answer = vlm.run("schedule", *arguments)

        assert answer.code == code, arguments
        assert word in answer.err, arguments


def test_a_policy_and_a_command_are_handed_on(vlm):
    handed = ["--apply", "strict", "--notify-command", "tell --to 'a b'"]

    shown = vlm.ok("schedule", "show", "--as", "cron", *handed)

    assert "--apply strict --notify-command 'tell --to '\"'\"'a b'\"'\"''" in shown.out


def test_there_must_be_a_registry(bare_vlm):
    assert bare_vlm.run("schedule", "show", "--as", "cron").code == 3


@pytest.mark.skipif(sys.platform == "darwin", reason="launchd is here")
def test_launchd_is_refused_elsewhere(vlm):
    answer = vlm.run("schedule", "install", "--as", "launchd")

    assert answer.code == 4
    assert "vlm schedule show --as launchd" in answer.err


# ---- cron


def crontab(folder: Path) -> Path:
    """Stand in for crontab with a file."""
    table = folder / "table"
    body = f"""case "$1" in
-l) [ -f {table} ] && cat {table} || {{ echo "no crontab for you" >&2; exit 1; }} ;;
-r) rm {table} ;;
-) cat > {table} ;;
esac"""
    stand_in(folder, "crontab", body)
    return table


def test_a_line_of_cron_is_installed_changed_and_removed_and_all_others_stay(vlm, stand_ins):
    program, table = with_stand_ins(vlm, stand_ins), crontab(stand_ins)
    table.write_bytes(MINE)

    told = check("schedule-install", program.run("schedule", "install", "--as", "cron", "--json"))
    installed = table.read_bytes()
    again = check("schedule-install", program.run("schedule", "install", "--as", "cron", "--json"))
    program.ok("schedule", "install", "--as", "cron", "--at", "05:15")
    changed = table.read_bytes()
    check("schedule-remove", program.run("schedule", "remove", "--as", "cron", "--dry-run", "--json"))
    assert table.read_bytes() == changed
    gone = check("schedule-remove", program.run("schedule", "remove", "--as", "cron", "--json"))
    nothing = program.ok("schedule", "remove", "--as", "cron")

    assert installed.startswith(MINE)
    assert b"0 3 * * * VLM_HOME=" in installed
    assert (told["changed"], again["changed"], gone["changed"]) == (True, False, True)
    assert changed == installed.replace(b"\n0 3 ", b"\n15 5 ")
    assert table.read_bytes() == MINE
    assert nothing.out == "nothing to change in your crontab\n"
    assert (vlm.home / "audit").is_dir(), "where its files go"


def test_a_crontab_of_our_line_alone_is_removed_whole(vlm, stand_ins):
    program, table = with_stand_ins(vlm, stand_ins), crontab(stand_ins)

    program.ok("schedule", "install", "--as", "cron")
    assert table.exists()
    program.ok("schedule", "remove", "--as", "cron")

    assert not table.exists()


def test_a_rehearsal_changes_nothing(vlm, stand_ins):
    program, table = with_stand_ins(vlm, stand_ins), crontab(stand_ins)

    told = check(
        "schedule-install", program.run("schedule", "install", "--as", "cron", "--dry-run", "--json")
    )

    assert (told["changed"], told["dry_run"]) == (True, True)
    assert not table.exists()
    assert not (vlm.home / "audit").exists()


def test_the_line_of_cron_runs_the_audit(vlm, stand_ins):
    program, table = with_stand_ins(vlm, stand_ins), crontab(stand_ins)
    program.ok("schedule", "install", "--as", "cron")
    (line,) = [x for x in table.read_text(encoding="utf-8").splitlines() if x[0].isdigit()]
    database = {k: v for k, v in vlm.environment.items() if k == "VLM_DATABASE_URL"}

    done = subprocess.run(
        ["/bin/sh", "-c", line.split(maxsplit=5)[5]],
        env={"PATH": "/usr/bin:/bin", **database},
        cwd="/",
        capture_output=True,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (vlm.home / "audit" / "audit.html").exists()


def test_a_crontab_that_cannot_be_read_is_left_alone(vlm, stand_ins):
    stand_in(stand_ins, "crontab", "echo you are not allowed >&2; exit 1")

    answer = with_stand_ins(vlm, stand_ins).run("schedule", "install", "--as", "cron", "--json")

    fails(answer, 7, "unavailable")
    assert "not allowed" in answer.json["error"]["message"]
    assert (stand_ins / "crontab.calls").read_text(encoding="utf-8") == "-l\n"


@pytest.mark.server
def test_the_real_crontab_takes_the_line_and_keeps_the_others(vlm, tmp_path):
    """Run in a mount namespace with a spool folder of its own, so that nothing of this machine is changed."""
    if (
        shutil.which("crontab") is None
        or os.geteuid() != 0
        or subprocess.run(["unshare", "-m", "true"], check=False).returncode
    ):
        pytest.skip("crontab and the right to make a mount namespace are needed: apt-get install cron")
    (tmp_path / "mine").write_bytes(MINE)
    vlm_ = f"{sys.executable} -m lifecycle schedule"
    script = f"""set -e
mount -t tmpfs spool /var/spool/cron
mkdir -m 1730 /var/spool/cron/crontabs
crontab mine
{vlm_} install --as cron --at 04:00
crontab -l > installed
{vlm_} install --as cron --at 04:00
{vlm_} remove --as cron
crontab -l > removed
"""

    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        check=False,
        cwd=tmp_path,
        env=vlm.environment,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "installed").read_bytes().startswith(MINE)
    assert b"\n0 4 * * * VLM_HOME=" in (tmp_path / "installed").read_bytes()
    assert (tmp_path / "removed").read_bytes() == MINE
    assert "nothing to change in your crontab" in done.stdout


# ---- systemd


def systemctl(folder: Path) -> None:
    """Stand in for a service manager of the user that remembers whether the timer is enabled."""
    mark = folder / "enabled"
    body = f"""case "$2" in
is-enabled) [ -f {mark} ] ;;
enable) touch {mark} ;;
disable) rm -f {mark} ;;
esac"""
    stand_in(folder, "systemctl", body)


def test_a_timer_is_installed_once_and_removed(vlm, stand_ins):
    program = with_stand_ins(vlm, stand_ins)
    systemctl(stand_ins)
    units = stand_ins.parent / "config" / "systemd" / "user"

    told = check("schedule-install", program.run("schedule", "install", "--as", "systemd", "--json"))
    again = check("schedule-install", program.run("schedule", "install", "--as", "systemd", "--json"))

    assert (told["changed"], again["changed"]) == (True, False)
    assert told["places"] == [str(units / "vlm-audit.service"), str(units / "vlm-audit.timer")]
    assert stat.S_IMODE((units / "vlm-audit.timer").stat().st_mode) == 0o644
    calls = (stand_ins / "systemctl.calls").read_text(encoding="utf-8").splitlines()
    assert calls.count("--user daemon-reload") == 1
    assert calls.count("--user enable --now vlm-audit.timer") == 1

    gone = check("schedule-remove", program.run("schedule", "remove", "--as", "systemd", "--json"))

    assert gone["changed"]
    assert list(units.iterdir()) == []
    assert "nothing to change" in program.ok("schedule", "remove", "--as", "systemd").out


def test_units_of_somebody_else_are_left_as_they_are(vlm, stand_ins):
    program = with_stand_ins(vlm, stand_ins)
    systemctl(stand_ins)
    units = stand_ins.parent / "config" / "systemd" / "user"
    units.mkdir(parents=True)
    (units / "vlm-audit.service").write_text("[Service]\nExecStart=/bin/true\n", encoding="utf-8")

    answers = [program.run("schedule", verb, "--as", "systemd") for verb in ("install", "remove")]

    assert [answer.code for answer in answers] == [4, 4]
    assert (units / "vlm-audit.service").read_text(encoding="utf-8") == "[Service]\nExecStart=/bin/true\n"
    assert not (units / "vlm-audit.timer").exists()


def test_where_no_systemd_answers_it_is_said_what_to_do(vlm, stand_ins):
    stand_in(stand_ins, "systemctl", "echo 'Failed to connect to bus' >&2; exit 1")

    answer = with_stand_ins(vlm, stand_ins).run("schedule", "install", "--as", "systemd")

    assert answer.code == 7
    assert "vlm schedule show --as systemd --to DIR" in answer.err
    assert not (stand_ins.parent / "config").exists()
