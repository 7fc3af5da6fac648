"""Fill the developer's environment: `.venv/bin/python -m lifecycle.runtimes.devenv .venv --lock FILE [--torch]`.

It is called by an environment that holds nothing but pip and uv, so only the standard library is imported until
the locked packages are installed. torch comes by the ladder of the runtimes, and is left alone once it runs.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lifecycle.domain.defaults import DEFAULT_TORCH
from lifecycle.domain.errors import Unavailable, VlmError
from lifecycle.runtimes.indexes import package_settings
from lifecycle.runtimes.uv import Uv, UvFailed, make_uv

_PROJECT = Path(__file__).resolve().parents[2]


def main(arguments: list[str] | None = None) -> int:
    """Install what is missing; prints one line per step and returns the exit code."""
    parser = argparse.ArgumentParser(prog="devenv", description="Fill the developer's environment.")
    parser.add_argument("venv", type=Path)
    parser.add_argument("--lock", type=Path, help="requirements with hashes")
    parser.add_argument(
        "--torch", nargs="?", const=DEFAULT_TORCH, help=f"also torch, {DEFAULT_TORCH} by default"
    )
    parser.add_argument("--offline", action="store_true")
    options = parser.parse_args(arguments)
    venv = options.venv.absolute()
    settings = package_settings(os.environ)
    show = sys.stderr.isatty()
    uv = make_uv(_cache_root(venv), settings, os.environ, offline=options.offline, show=show)
    try:
        if options.lock:
            install_locked(uv, venv, options.lock.absolute())
        if options.torch:
            importlib.invalidate_caches()
            install_torch(uv, venv, options.torch, lock=options.lock)
    except VlmError as error:
        sys.stderr.write(f"devenv: {error.message}\n" + (f"     {error.hint}\n" if error.hint else ""))
        return error.exit_code
    return 0


def install_locked(uv: Uv, venv: Path, lock: Path) -> None:
    """Install exactly what a lock names, by hash, and the project itself, editable.

    Raises:
        Unavailable: A package cannot be had.
    """
    python = str(venv / "bin" / "python")
    _say(f"installing {lock.name} and this project into {venv}")
    links = [word for folder in uv.settings.folders for word in ("--find-links", str(folder))]
    links += [word for link in uv.settings.remote_links for word in ("--find-links", link)]
    try:
        uv.run(
            ["pip", "install", "--python", python, "--require-hashes", *links, "--requirement", str(lock)],
            show=True,
        )
        uv.run(["pip", "install", "--python", python, "--no-deps", "--editable", str(_PROJECT)], show=True)
    except UvFailed as error:
        raise Unavailable(f"the locked packages could not be installed: {error.reason}") from error


def install_torch(uv: Uv, venv: Path, version: str, *, lock: Path | None = None) -> None:
    """Install torch by the ladder unless one of that version already runs.

    Raises:
        Unavailable: No rung of the ladder has it, or it does not run.
    """
    from lifecycle.runtimes import build, pythons
    from lifecycle.runtimes.store import engine_requirements
    from lifecycle.runtimes.wheels import Search, TorchSpec

    spec = TorchSpec.parse(version)
    if _runs(venv, spec.accepts):
        _say(f"torch {version} is already there")
        return
    python = pythons.inspect(venv / "bin" / "python")
    if python is None:
        raise Unavailable(f'"{venv}" has no Python that runs')
    wheel = Search(spec, python, uv, os.environ.get("VLM_TORCH_INDEX")).find()
    size = "" if wheel.local else f", {(wheel.size_bytes or 0) / 1e6:.0f} MB to download"
    _say(f"torch {wheel.version} from {wheel.rung}{size}")
    constraints = uv.root / "constraints.txt"
    constraints.write_text("".join(f"{pin}\n" for pin in _pins(venv, lock)))
    build.fill(
        replace(uv, environment={**uv.environment, "UV_CONSTRAINT": str(constraints)}),
        venv,
        python=python,
        wheel=wheel,
        requirements=engine_requirements(),
        progress=lambda line, _size: _say(line),
    )


def _pins(venv: Path, lock: Path | None) -> list[str]:
    """Pin what is installed because the lock names it, so that torch's needs are met by the locked versions."""
    from importlib.metadata import distributions

    if lock is None:
        return []
    named = {
        _plain(name) for name in re.findall(r"^([A-Za-z0-9._-]+)==", lock.read_text("utf-8"), re.MULTILINE)
    }
    site = str(next((venv / "lib").glob("python3*")) / "site-packages")
    installed = {_plain(each.metadata["Name"]): each.version for each in distributions(path=[site])}
    return [f"{name}=={version}" for name, version in sorted(installed.items()) if name in named]


def _plain(name: str) -> str:
    """A package's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _runs(venv: Path, accepts: Callable[[str], bool]) -> bool:
    code = "import torch; torch.ones(2) @ torch.ones(2); print(torch.__version__)"
    done = subprocess.run(
        [str(venv / "bin" / "python"), "-I", "-c", code], capture_output=True, text=True, check=False, cwd="/"
    )
    version = done.stdout.strip().splitlines()[-1:] if done.returncode == 0 else []
    return bool(version) and accepts(version[0])


def _cache_root(venv: Path) -> Path:
    """VLM_RUNTIMES, else the folder of the tests' runtimes: whose package cache it is, shares files by hard link."""
    named = os.environ.get("VLM_RUNTIMES")
    return Path(named).expanduser().absolute() if named else venv / "test-runtimes"


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
