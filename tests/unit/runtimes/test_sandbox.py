"""What a confined process can reach: its inputs, its scratch, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lifecycle.domain.errors import UsageError
from lifecycle.runtimes import sandbox
from lifecycle.runtimes.sandbox import FENCES, Cell, Fence, Sandbox

_PROBE = """
import json, os, socket, sys

def attempt(action):
    try:
        return ["did", str(action())]
    except OSError as error:
        return ["refused", type(error).__name__]

inputs, secret = sys.argv[1:]
home = os.environ["HOME"]
datagram = lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 9))
print(json.dumps({
    "read input": attempt(lambda: open(inputs + "/given").read()),
    "write output": attempt(lambda: open(home + "/made", "w").write("made")),
    "write input": attempt(lambda: open(inputs + "/given", "w")),
    "read secret": attempt(lambda: open(secret).read()),
    "read users": attempt(lambda: open("/etc/passwd").read()),
    "write system": attempt(lambda: open("/usr/made", "w")),
    "connect": attempt(lambda: socket.create_connection(("192.0.2.1", 9), timeout=2)),
    "datagram": attempt(datagram),
    "see secret variable": "VLM_SECRET" in os.environ,
    "capabilities": [line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")][0],
}))
"""


@pytest.fixture(params=list(FENCES), ids=lambda fence: fence.value)
def fence(request) -> Sandbox:
    if not sandbox.works(request.param):
        pytest.skip(f"{request.param.value} does not work on this machine")
    return Sandbox(request.param)


@pytest.fixture
def cell(tmp_path) -> Cell:
    for name in ("inputs", "outputs"):
        (tmp_path / name).mkdir(mode=0o700)
    (tmp_path / "inputs" / "given").write_text("given")
    python = (Path(sys.base_prefix), Path(sys.executable).resolve().parent)
    return Cell(python, tmp_path / "inputs", tmp_path / "outputs")


def confined(fence: Sandbox, cell: Cell, *arguments: str) -> subprocess.CompletedProcess[str]:
    python = str(Path(sys.executable).resolve())
    return subprocess.run(
        fence.command(cell, [python, "-I", *arguments]),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": os.defpath, "VLM_SECRET": "1"},
    )


def test_a_confined_process_reads_its_inputs_writes_its_scratch_and_reaches_nothing_else(
    fence, cell, tmp_path
):
    secret = tmp_path / "secret"
    secret.write_text("key")

    done = confined(fence, cell, "-c", _PROBE, str(fence.inputs(cell)), str(secret))

    told = json.loads(done.stdout)
    assert told.pop("read input") == ["did", "given"]
    assert told.pop("write output") == ["did", "4"]
    assert told.pop("see secret variable") is False
    assert int(told.pop("capabilities"), 16) == 0
    assert {name: answer[0] for name, answer in told.items()} == dict.fromkeys(told, "refused")
    assert (tmp_path / "outputs" / "made").read_text() == "made"


_STARTER = """
import subprocess, sys, time
from pathlib import Path
from lifecycle.runtimes.sandbox import Cell, Fence, Sandbox

fence, python, prefix, folder = sys.argv[1:]
cell = Cell((Path(prefix), Path(python).parent), Path(folder, "inputs"), Path(folder, "outputs"))
program = [python, "-I", "-c", "import time; time.sleep(60)"]
print(subprocess.Popen(Sandbox(Fence(fence)).command(cell, program)).pid, flush=True)
time.sleep(1)
"""


def test_a_confined_process_dies_with_the_one_that_started_it(fence, cell, tmp_path):
    python = str(Path(sys.executable).resolve())
    arguments = [fence.name, python, sys.base_prefix, str(tmp_path)]

    done = subprocess.run(
        [sys.executable, "-c", _STARTER, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        timeout=30,
        check=True,
    )

    pid = int(done.stdout.split()[0])

    for _ in range(100):
        if not _lives(pid):
            break
        subprocess.run(["sleep", "0.05"], check=True)
    assert not _lives(pid)


def _lives(pid: int) -> bool:
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_without_a_fence_nothing_may_run():
    assert sandbox.choose("none") is None


def test_another_word_for_the_fence_is_a_usage_error():
    with pytest.raises(UsageError, match="VLM_SANDBOX"):
        sandbox.choose("docker")


def test_the_strongest_fence_that_works_is_chosen():
    working = [fence for fence in sandbox.FENCES if sandbox.works(fence)]

    chosen = sandbox.choose("auto")

    assert (chosen.fence if chosen else None) == (working[0] if working else None)


def test_landlock_starts_nothing_for_a_parent_that_is_gone(cell):
    if not sandbox.works(Fence.LANDLOCK):
        pytest.skip("landlock does not work on this machine")
    command = Sandbox(Fence.LANDLOCK).command(cell, ["/usr/bin/env", "true"])
    rules = json.loads(command[3])
    command[3] = json.dumps({**rules, "parent": 1})

    assert subprocess.run(command, capture_output=True, check=False).returncode == 126


def test_without_any_fence_a_plain_process_still_gets_a_clean_environment(cell):
    done = confined(
        Sandbox(Fence.PLAIN), cell, "-c", "import os; print(sorted(os.environ)); print(os.environ['HOME'])"
    )

    assert "VLM_SECRET" not in done.stdout
    assert done.stdout.splitlines()[1] == str(cell.outputs)


def test_a_plain_process_is_never_chosen_as_a_fence(monkeypatch):
    monkeypatch.setattr(sandbox, "works", lambda fence: fence is Fence.PLAIN)

    assert sandbox.choose("auto") is None
