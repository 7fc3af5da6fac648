"""What schedulers read: no secret, nothing that a path could turn into something else, and what ships is current."""

import json
import os
import plistlib
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.domain.errors import Refused, UsageError
from lifecycle.services.schedules.schedule import with_block
from lifecycle.services.schedules.texts import KINDS, Job, cron_marks, shipped, texts

ROOT = Path(__file__).parents[3]
JOB = Job(
    program=("/usr/bin/env",),
    installation="3f2a9c01d2e47788aabbccdd00112233",
    home=PurePosixPath("/srv/vlm home/50%"),
    keys=PurePosixPath("/srv/keys"),
    out=PurePosixPath("/srv/out $(x)"),
    hour=3,
    minute=5,
    arguments=("--notify-command", "/usr/local/bin/tell --to 'a b' $HOME 100%"),
)
# Words that a shell, a unit, a crontab line or YAML would take for something else.
WORDS = st.text(
    alphabet=st.characters(
        min_codepoint=33, max_codepoint=0x4FFF, exclude_categories=["Cs", "Cc", "Cf", "Zl", "Zp"]
    ),
    max_size=30,
).map(lambda text: f"/x/{text} y")


def test_what_is_shipped_is_what_is_made():
    there = {
        str(path.relative_to(ROOT / "deploy")): path.read_text(encoding="utf-8")
        for path in (ROOT / "deploy").rglob("*")
        if path.is_file() and path.name != "README.md"
    }

    assert there == shipped(), "write lifecycle.services.schedules.texts.shipped() into deploy/ again"


def verified(folder: Path, *scope: str) -> tuple[int, str]:
    """What systemd says about the units in a folder."""
    runtime = folder / "run"
    runtime.mkdir(exist_ok=True)
    done = subprocess.run(
        ["systemd-analyze", *scope, "verify", *sorted(map(str, folder.glob("vlm-audit.*")))],
        env={**os.environ, "XDG_RUNTIME_DIR": str(runtime)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr.strip()


@pytest.mark.server
@pytest.mark.parametrize("scope", [(), ("--user",)], ids=["system", "user"])
@pytest.mark.parametrize("made", ["shipped", "awkward paths", "broken"])
def test_systemd_finds_no_fault_in_the_units(tmp_path, made, scope):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is missing: apt-get install systemd")
    files = texts("systemd", replace(JOB, user=None if scope else "root"))
    if made == "shipped":
        files = {
            path.partition("/")[2]: text.replace("/usr/local/bin/vlm", "/usr/bin/env").replace(
                "User=vlm", "User=root"
            )
            for path, text in shipped().items()
            if path.startswith("systemd/")
        }
    for name, text in files.items():
        broken = text.replace("Type=oneshot", "Typ=oneshot") if made == "broken" else text
        (tmp_path / name).write_text(broken, encoding="utf-8")

    code, said = verified(tmp_path, *scope)

    if made == "broken":
        assert "Typ" in said, "systemd does find faults here"
    else:
        assert (code, said) == (0, "")


@pytest.mark.server
def test_systemd_reads_the_time(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is missing: apt-get install systemd")
    (line,) = [
        x for x in texts("systemd", JOB)["vlm-audit.timer"].splitlines() if x.startswith("OnCalendar=")
    ]

    done = subprocess.run(
        ["systemd-analyze", "calendar", line.partition("=")[2]], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0
    assert "03:05:00" in done.stdout


def test_a_unit_is_fenced_and_may_write_only_where_it_must():
    unit = texts("systemd", JOB)["vlm-audit.service"]

    for line in ("NoNewPrivileges=yes", "ProtectSystem=strict", "ProtectHome=read-only", "Type=oneshot"):
        assert f"\n{line}\n" in unit
    assert 'ReadWritePaths="/srv/vlm home/50%%" /srv/keys "/srv/out $(x)"' in unit
    assert "SuccessExitStatus=10 11" in unit
    assert "$$(x)" in unit, "systemd would put a variable in its place"
    timer = texts("systemd", JOB)["vlm-audit.timer"]
    assert "Persistent=true" in timer
    assert "RandomizedDelaySec=" in timer


def as_cron_runs_it(line: str) -> str:
    """What cron hands to the shell: the rest of the line up to the first bare percent sign. Source: crontab(5)."""
    rest = line.split(maxsplit=5)[5]
    out, at = "", 0
    while at < len(rest) and rest[at] != "%":
        if rest[at : at + 2] == "\\%":
            at += 1
        out += rest[at]
        at += 1
    return out


@given(WORDS, WORDS)
def test_a_crontab_line_runs_exactly_the_words(home, out):
    job = replace(JOB, home=PurePosixPath(home), out=PurePosixPath(out))
    begin, line, end = texts("cron", job)["crontab"].splitlines()

    ran = shlex.split(as_cron_runs_it(line))

    assert (begin, end) == cron_marks(job)
    assert ran[:2] == [f"VLM_HOME={job.home}", f"VLM_KEYS={job.keys}"]
    assert ran[2:] == list(job.words)
    assert line.startswith("5 3 * * * ")


@given(WORDS, WORDS)
def test_kubernetes_gets_one_job_without_rights(home, out):
    job = replace(JOB, home=PurePosixPath(home), out=PurePosixPath(out))
    told = yaml.safe_load(texts("kubernetes", job)["vlm-audit.yaml"])

    assert (told["apiVersion"], told["kind"]) == ("batch/v1", "CronJob")
    assert told["spec"]["concurrencyPolicy"] == "Forbid"
    assert told["spec"]["schedule"] == "5 3 * * *"
    pod = told["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    (container,) = pod["containers"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert set(container["resources"]) == {"requests", "limits"}
    assert container["envFrom"] == [{"secretRef": {"name": "vlm-audit", "optional": True}}]
    assert {"name": "VLM_HOME", "value": str(job.home)} in container["env"]
    arguments = [word.replace("$$(", "$(") for word in container["args"]]
    assert arguments == [*job.audit, "--fail-on", "never"]
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {str(job.home), str(job.keys), str(job.out), "/tmp"} == mounted


@given(WORDS)
def test_github_runs_the_words_on_the_machine_with_the_registry(out):
    job = replace(JOB, out=PurePosixPath(out))
    told = yaml.safe_load(texts("github", job)["vlm-audit.yml"])

    # YAML 1.1 reads the key `on` as true.
    assert told[True]["schedule"] == [{"cron": "5 3 * * *"}]
    audit = told["jobs"]["audit"]
    assert "self-hosted" in audit["runs-on"]
    assert audit["env"]["VLM_NOTIFY"] == "${{ secrets.VLM_NOTIFY }}"
    assert shlex.split(audit["steps"][0]["run"]) == list(job.words)
    assert audit["steps"][1]["with"]["sarif_file"] == str(job.out / "audit.sarif")


@given(WORDS)
def test_launchd_gets_a_property_list(out):
    job = replace(JOB, out=PurePosixPath(out))
    told = plistlib.loads(texts("launchd", job)["org.voice-lifecycle.audit.plist"].encode())

    assert told["ProgramArguments"] == list(job.words)
    assert told["StartCalendarInterval"] == {"Hour": 3, "Minute": 5}


@pytest.mark.parametrize("kind", KINDS)
def test_a_path_with_a_line_break_is_refused(kind):
    with pytest.raises(UsageError, match="control character"):
        texts(kind, replace(JOB, out=PurePosixPath("/srv/a\n* * * * * root")))


TABLES = st.lists(
    st.sampled_from([b"# mine", b"0 1 * * * backup", b"", b"MAILTO=me", b"\xff not text"]), max_size=8
).map(lambda lines: b"".join(line + b"\n" for line in lines))


@given(TABLES, TABLES)
def test_only_our_block_of_a_crontab_changes(before, after):
    block = texts("cron", JOB)["crontab"].encode()
    changed = texts("cron", replace(JOB, hour=4))["crontab"].encode()
    other = texts("cron", replace(JOB, installation="0" * 32))["crontab"].encode()

    assert with_block(before + other, block, JOB) == before + other + block
    assert with_block(before + block + after, changed, JOB) == before + changed + after
    assert with_block(before + block + after, block, JOB) == before + block + after
    assert with_block(before + block + other + after, b"", JOB) == before + other + after
    assert with_block(before, b"", JOB) == before


def test_a_block_without_an_end_is_left_as_it_is():
    begin = cron_marks(JOB)[0].encode()

    with pytest.raises(Refused, match="not its end"):
        with_block(begin + b"\n0 1 * * * mine\n", b"", JOB)


def test_no_text_holds_a_secret_or_a_place_for_one():
    for kind in KINDS:
        said = json.dumps(texts(kind, JOB)).lower()
        assert "password" not in said
        assert "://" not in said.replace("http://www.apple.com", "").replace("-//apple", "")
