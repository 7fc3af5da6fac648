"""How long `--help` takes, beside others in one run: `python -m benchmarks.cli_start [--n 7] [--no-peers]`.

The first is a typer program with one command (benchmarks/bare_typer.py), the least that one can be. The peers (dvc and
mlflow, newest) are installed by uv into an environment of their own in a cache folder, byte-compiled like ours, with
their telemetry switched off.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from platformdirs import user_cache_path

from benchmarks.timing import in_turn, run_process, table
from lifecycle.runtimes.indexes import package_settings
from lifecycle.runtimes.uv import find_uv

PEERS = ("dvc", "mlflow")
QUIET = {"DVC_NO_ANALYTICS": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1"}


def peers_environment() -> Path:
    """Install the peers once and return their folder of programs."""
    folder = user_cache_path("vlm") / "benchmark-peers"
    if not (folder / "bin" / PEERS[-1]).exists():
        uv = str(find_uv())
        env = {**os.environ, **package_settings(os.environ).environment}
        subprocess.run(
            [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], check=True, env=env
        )
        install = [
            uv,
            "pip",
            "install",
            "--quiet",
            "--compile-bytecode",
            "--python",
            str(folder / "bin" / "python"),
        ]
        subprocess.run([*install, *PEERS], check=True, env=env)
    return folder / "bin"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=7)
    parser.add_argument(
        "--no-peers", action="store_true", help="without dvc and mlflow: nothing is installed"
    )
    told = parser.parse_args()
    n, peers = told.n, () if told.no_peers else PEERS
    programs = {"vlm": Path(sys.executable).with_name("vlm"), **{p: peers_environment() / p for p in peers}}
    environment = {**os.environ, **QUIET}
    cases = {
        f"{name} --help": lambda program=program: run_process([str(program), "--help"], environment)
        for name, program in programs.items()
    }
    bare = [sys.executable, str(Path(__file__).with_name("bare_typer.py")), "--help"]
    cases["a bare typer program --help"] = lambda: run_process(bare)
    cases["python -c pass"] = lambda: run_process([sys.executable, "-c", "pass"])
    print(table(in_turn(cases, n=n), against="vlm --help"))


if __name__ == "__main__":
    main()
