"""What is installed for an interpreter, asked of that interpreter itself.

The interpreter is a program of the user's and runs as it is, without a sandbox: what starts with it (`.pth` files of
its environment) starts here too. Only its answer is not trusted: it is bounded and read as data.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from lifecycle.domain.errors import NotFound, Unavailable
from lifecycle.domain.packages import Environment, Installed, direct_of, normal

MAX_ANSWER_BYTES = 16 << 20
MAX_PACKAGES = 20_000
_TIMEOUT_S = 120.0
_MARK = "vlm-environment:"

# Python 3.8 and newer. The first of two packages of one name is the one that is imported.
_ASK = """
import json, os, platform, sys
from importlib import metadata
packages, unreadable = [], []
for found in metadata.distributions():
    name = version = None
    try:
        name, version = found.metadata["Name"], found.metadata["Version"]
        told = [found.read_text(file) or "" for file in ("INSTALLER", "direct_url.json")]
    except Exception:
        told = None
    if not name or not version or told is None:
        unreadable.append(os.path.basename(str(getattr(found, "_path", "?")))[:200])
    else:
        packages.append([name[:200], version[:200], told[0][:100], told[1][:65536]])
conda = os.path.join(sys.prefix, "conda-meta")
print("\\nMARK" + json.dumps({
    "python": platform.python_version(), "implementation": sys.implementation.name,
    "system": sys.platform, "machine": platform.machine(), "libc": platform.libc_ver()[0],
    "packages": packages, "unreadable": unreadable,
    "conda": len([f for f in os.listdir(conda) if f.endswith(".json")]) if os.path.isdir(conda) else 0,
}))
""".replace("MARK", _MARK)


def interpreter_at(path: Path) -> Path:
    """Return the Python that a path names: a program, or the environment around one.

    Raises:
        NotFound: There is none.
    """
    for candidate in (path, path / "bin" / "python", path / "Scripts" / "python.exe"):
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate.absolute()  # not resolved: the link is what makes it this environment's
    raise NotFound(f'"{path}" is no Python and no environment with one', hint="vlm lock --help")


def read_installed(python: Path) -> Environment:
    """Ask an interpreter for its packages.

    Raises:
        Unavailable: It does not answer as a Python of 3.8 or newer does.
    """
    answer = _answer(python)
    line = next((line for line in reversed(answer.splitlines()) if line.startswith(_MARK)), None)
    told = None
    with contextlib.suppress(ValueError, RecursionError):
        told = json.loads(line.removeprefix(_MARK)) if line else None
    if not isinstance(told, dict):
        raise Unavailable(f'"{python}" does not answer as a Python of 3.8 or newer does')
    return environment_of(told)


def environment_of(told: Mapping[str, object]) -> Environment:
    """Make an environment of an answer; whatever has another form is left out or named as unreadable."""
    packages: dict[str, Installed] = {}
    unreadable = _words(told.get("unreadable"))
    listed = told.get("packages")
    for item in listed[:MAX_PACKAGES] if isinstance(listed, list) else []:
        if isinstance(item, list) and len(item) == 4 and all(isinstance(word, str) for word in item):
            name, version, installer, direct = item
            packages.setdefault(
                normal(name), Installed(name, version, installer.strip(), direct_of(direct, unreadable, name))
            )
    libc = {"glibc": "glibc"}.get(str(told.get("libc")), "musl" if told.get("system") == "linux" else "")
    conda = told.get("conda")
    return Environment(
        python=_plain(told.get("python")),
        system=_plain(told.get("system")),
        machine=_plain(told.get("machine")),
        libc=libc,
        packages=tuple(packages[key] for key in sorted(packages)),
        implementation=_plain(told.get("implementation")),
        unreadable=tuple(unreadable),
        others=conda if isinstance(conda, int) else 0,
    )


def _plain(value: object) -> str:
    """Keep what a version or the name of a machine is made of."""
    return re.sub(r"[^\w.+-]", "", str(value))[:40]


def _words(value: object) -> list[str]:
    return [str(word)[:200] for word in value[:1000]] if isinstance(value, list) else []


def _answer(python: Path) -> str:
    """Run the question; its output is cut off at a bound and its whole family ends with it."""
    try:
        process = subprocess.Popen(
            [str(python), "-I", "-c", _ASK],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise Unavailable(f'"{python}" does not start: {error.strerror}') from None
    assert process.stdout is not None
    try:
        return _read(process, python).decode("utf-8", "replace")
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()
        process.wait()


def _read(process: subprocess.Popen[bytes], python: Path) -> bytes:
    assert process.stdout is not None
    deadline = time.monotonic() + _TIMEOUT_S
    pieces: list[bytes] = []
    size = 0
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise Unavailable(f'"{python}" did not answer within {_TIMEOUT_S:.0f} seconds')
            piece = os.read(process.stdout.fileno(), 1 << 16)
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)
            size += len(piece)
            if size > MAX_ANSWER_BYTES:
                raise Unavailable(f'"{python}" answers with more than {MAX_ANSWER_BYTES >> 20} MB')
