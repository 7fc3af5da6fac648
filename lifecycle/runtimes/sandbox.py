"""The fence around a worker: no network, no keys, no home, everything read-only but a scratch folder.

bubblewrap where it works, else namespaces with Landlock, else nothing: without a fence foreign bytes are never
run, and the verdict is `not_checked`. What is available is found by starting it, once per process. Only our own
voices in our own formats may be spoken and trained by a plain process, where a machine has no fence at all.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path

from lifecycle.domain.errors import UsageError
from lifecycle.runtimes import landlock

_SYSTEM = ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin")
#: The loader's cache, and nothing else of /etc.
_ETC = "/etc/ld.so.cache"
#: Variables of the machine's owner that numeric libraries need to be right on some processors.
_HANDED_ON = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "MKL_ENABLE_INSTRUCTIONS", "ATEN_CPU_CAPABILITY")
INPUTS, OUTPUTS = Path("/inputs"), Path("/outputs")


class Fence(Enum):
    """How a worker is shut in."""

    BWRAP = "bwrap"
    LANDLOCK = "landlock"
    PLAIN = "plain"  # no fence: a process with an empty environment, for our own voices alone


#: The real fences, strongest first.
FENCES = (Fence.BWRAP, Fence.LANDLOCK)


@dataclass(frozen=True, slots=True)
class Cell:
    """What a confined process may see.

    Args:
        read: Folders and files it may read and execute, at their own paths.
        inputs: Folder with the job's files, read-only.
        outputs: Folder it may write; also its home, temporary and working folder.
        threads: For the numeric libraries.
    """

    read: tuple[Path, ...]
    inputs: Path
    outputs: Path
    threads: int = 2


@dataclass(frozen=True, slots=True)
class Sandbox:
    """One kind of fence, ready to wrap commands."""

    fence: Fence

    @property
    def name(self) -> str:
        """The word that verdicts carry: "bwrap", "landlock" or "plain"."""
        return self.fence.value

    def inputs(self, cell: Cell) -> Path:
        """Where the confined process finds its inputs."""
        return INPUTS if self.fence is Fence.BWRAP else cell.inputs

    def outputs(self, cell: Cell) -> Path:
        """Where the confined process writes."""
        return OUTPUTS if self.fence is Fence.BWRAP else cell.outputs

    def command(self, cell: Cell, program: list[str]) -> list[str]:
        """Wrap a program; start it with an empty environment."""
        environment = self._environment(cell)
        if self.fence is Fence.BWRAP:
            return [*_bwrap(cell, environment), *program]
        if self.fence is Fence.PLAIN:
            return [
                "/usr/bin/env",
                "-i",
                *(f"{name}={value}" for name, value in environment.items()),
                *program,
            ]
        rules = {
            "read": [*_SYSTEM, _ETC, "/proc", "/dev", *map(str, cell.read), str(cell.inputs)],
            "write": [str(cell.outputs), "/dev/shm", "/dev/null"],  # noqa: S108 - shared memory of data loaders
            "cwd": str(cell.outputs),
            "environment": environment,
            "parent": os.getpid(),
        }
        return [sys.executable, "-I", str(landlock.__file__), json.dumps(rules), "--", *program]

    def _environment(self, cell: Cell) -> dict[str, str]:
        home = str(self.outputs(cell))
        threads = str(cell.threads)
        return {
            "PATH": "/usr/bin",
            "HOME": home,
            "TMPDIR": home,
            "LANG": "C.UTF-8",
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",
            **{name: os.environ[name] for name in _HANDED_ON if name in os.environ},
        }


def _bwrap(cell: Cell, environment: Mapping[str, str]) -> list[str]:
    words = [shutil.which("bwrap") or "bwrap"]
    words += ["--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    words += ["--uid", "65534", "--gid", "65534", "--hostname", "vlm", "--clearenv"]
    for name, value in environment.items():
        words += ["--setenv", name, value]
    for folder in _SYSTEM:
        path = Path(folder)
        if path.is_symlink():
            words += ["--symlink", os.readlink(folder), folder]  # noqa: PTH115 - as written, not resolved
        elif path.is_dir():
            words += ["--ro-bind", folder, folder]
    words += ["--ro-bind-try", _ETC, _ETC, "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108
    for path in cell.read:
        if not _below_system(path):
            words += ["--ro-bind", str(path), str(path)]
    words += ["--ro-bind", str(cell.inputs), str(INPUTS), "--bind", str(cell.outputs), str(OUTPUTS)]
    return [*words, "--chdir", str(OUTPUTS)]


def _below_system(path: Path) -> bool:
    return any(path == Path(folder) or Path(folder) in path.parents for folder in _SYSTEM)


def choose(wanted: str = "auto") -> Sandbox | None:
    """Return the strongest fence that works here, or None: then nothing foreign may be run.

    Args:
        wanted: The setting VLM_SANDBOX: "auto", "bwrap", "landlock" or "none".

    Raises:
        UsageError: Another word.
    """
    if wanted == "none":
        return None
    if wanted not in {"auto", "bwrap", "landlock"}:
        raise UsageError(
            f'VLM_SANDBOX is "{wanted}"; it can be auto, bwrap, landlock or none', hint="vlm config show"
        )
    for fence in FENCES:
        if wanted in {"auto", fence.value} and works(fence):
            return Sandbox(fence)
    return None


@cache
def works(fence: Fence) -> bool:
    """True if a program can be started behind this fence here: found by doing it."""
    import tempfile

    if not sys.platform.startswith("linux") or (fence is Fence.BWRAP and shutil.which("bwrap") is None):
        return False
    with tempfile.TemporaryDirectory(prefix="vlm-probe-") as name:
        folder = Path(name)
        for inner in ("inputs", "outputs"):
            (folder / inner).mkdir()
        cell = Cell((), folder / "inputs", folder / "outputs")
        try:
            done = subprocess.run(
                Sandbox(fence).command(cell, ["/usr/bin/env", "true"]),
                capture_output=True,
                timeout=20,
                check=False,
                env={"PATH": os.defpath},
            )
        except (OSError, subprocess.SubprocessError):
            return False
    return done.returncode == 0
