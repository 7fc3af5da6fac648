"""Which Python runs which torch, and which Pythons this machine has."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from lifecycle.domain.errors import UsageError
from lifecycle.runtimes.model import Interpreter

#: First and last CPython 3.x with a wheel, by torch 2.x. Source: METADATA and file names of the wheels.
_RANGES: dict[int, tuple[int, int]] = {
    0: (8, 11),
    1: (8, 11),
    2: (8, 12),
    3: (8, 12),
    4: (8, 12),
    5: (9, 13),
    6: (9, 13),
    7: (9, 13),
    8: (9, 13),
    9: (10, 14),
    10: (10, 14),
    11: (10, 14),
    12: (10, 14),
    13: (10, 14),
    14: (10, 14),
    15: (11, 15),
}
#: The engine's own language level.
_OLDEST = 10

_ASK = """
import json, os, platform, sys
version = sys.version_info
print(json.dumps({
    "executable": os.path.realpath(sys.executable), "prefix": os.path.realpath(sys.base_prefix),
    "version": list(version[:3]),
    "implementation": sys.implementation.name, "bits": sys.maxsize > 2**32,
    "environment": {
        "implementation_name": sys.implementation.name, "implementation_version": platform.python_version(),
        "os_name": os.name, "platform_machine": platform.machine(), "platform_release": platform.release(),
        "platform_system": platform.system(), "platform_version": platform.version(),
        "platform_python_implementation": platform.python_implementation(),
        "python_full_version": platform.python_version(), "python_version": "%d.%d" % version[:2],
        "sys_platform": sys.platform,
    },
}))
"""


def pythons_for(torch: str) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Return the first and last Python with a wheel of this torch, or None where nobody knows yet.

    >>> pythons_for("2.13.0")
    ((3, 10), (3, 14))
    """
    match = re.match(r"2\.(\d+)", torch)
    known = _RANGES.get(int(match[1])) if match else None
    return ((3, max(known[0], _OLDEST)), (3, known[1])) if known else None


def oldest_torch(interpreter: Interpreter) -> str:
    """Return the oldest torch that has a wheel for this Python, as "2.0".

    >>> oldest_torch(Interpreter(Path("/usr/bin/python3.12"), (3, 12, 1), Path("/usr")))
    '2.2'
    """
    minors = [minor for minor, (first, last) in _RANGES.items() if first <= interpreter.version[1] <= last]
    return f"2.{min(minors, default=max(_RANGES))}"


def names_for(torch: str) -> str:
    """Say the Pythons of this torch as words, such as "3.10 to 3.14"."""
    found = pythons_for(torch)
    if found is None:
        return f"3.{_OLDEST} or newer"
    (low, high) = (".".join(map(str, end)) for end in found)
    return low if low == high else f"{low} to {high}"


def fits(torch: str, interpreter: Interpreter) -> bool:
    """True unless it is known that this Python has no wheel of this torch."""
    found = pythons_for(torch)
    return interpreter.minor >= (3, _OLDEST) and (found is None or found[0] <= interpreter.minor <= found[1])


@cache
def inspect(path: Path) -> Interpreter | None:
    """Ask an executable what it is; None if it does not run, is a shim without a target, or is not 64-bit CPython."""
    try:
        done = subprocess.run(
            [str(path), "-I", "-c", _ASK], capture_output=True, text=True, timeout=30, check=False, cwd="/"
        )
        told = json.loads(done.stdout) if done.returncode == 0 else {}
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    if told.get("implementation") != "cpython" or not told.get("bits"):
        return None
    major, minor, micro = told["version"]
    return Interpreter(
        Path(told["executable"]), (major, minor, micro), Path(told["prefix"]), told["environment"]
    )


def chosen(python: str) -> Interpreter:
    """Return the interpreter that the user named by path or as "3.12".

    Raises:
        UsageError: It does not run or is not a 64-bit CPython.
    """
    if re.fullmatch(r"3\.\d+", python):
        for interpreter in installed():
            if interpreter.minor == tuple(map(int, python.split("."))):
                return interpreter
        raise UsageError(
            f'no Python "{python}" was found', hint="vlm runtime add 2.13.0 --python /path/to/python3"
        )
    found = inspect(Path(shutil.which(python) or python).expanduser().absolute())
    if found is None:
        raise UsageError(
            f'"{python}" is not a 64-bit CPython that runs',
            hint="vlm runtime add 2.13.0 --python /path/to/python3",
        )
    return found


def installed(environment: Mapping[str, str] | None = None) -> Iterator[Interpreter]:
    """Yield the interpreters of this machine, vlm's own first, each real executable once."""
    seen: set[Path] = set()
    for candidate in _candidates(os.environ if environment is None else environment):
        interpreter = inspect(candidate)
        if interpreter is not None and interpreter.path not in seen:
            seen.add(interpreter.path)
            yield interpreter


def _candidates(environment: Mapping[str, str]) -> Iterator[Path]:
    base = getattr(sys, "_base_executable", None) or sys.executable
    yield Path(base)
    names = [f"python3.{minor}" for minor in range(11, 16)] + ["python3.10", "python3", "python"]
    for name in names:
        for folder in (environment.get("PATH") or os.defpath).split(os.pathsep):
            file = Path(folder or ".") / name
            if file.is_file() and os.access(file, os.X_OK):
                yield file
    home = Path(environment.get("HOME") or "~").expanduser()
    roots = [
        Path(environment.get("PYENV_ROOT") or home / ".pyenv") / "versions",
        home / ".local/share/uv/python",
    ]
    for root in roots:
        yield from sorted(root.glob("*/bin/python3"))


def find(torch: str) -> Interpreter | None:
    """Return the first interpreter that this torch has wheels for, vlm's own before all others."""
    return next((interpreter for interpreter in installed() if fits(torch, interpreter)), None)
