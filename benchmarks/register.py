"""Register and scrub a large file, beside a raw read and plain BLAKE3: `python -m benchmarks.register`.

The file is a valid safetensors file of random numbers (2 GB by default). Each case is a whole process, start-up
included; the cases run in turn. `vlm audit` hashes every stored byte again, so it is the scrub.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.timing import Run, in_turn, run_process, table

PIECE = 1 << 20
_HASH = "import blake3,sys;h=blake3.blake3();f=open(sys.argv[1],'rb',0)\nwhile p:=f.read(1<<20):h.update(p)"


def make(path: Path, mib: int) -> None:
    """Write a safetensors file with one float16 tensor of `mib` MiB."""
    size = mib * PIECE
    header = json.dumps(
        {"weight": {"dtype": "F16", "shape": [size // 2], "data_offsets": [0, size]}}
    ).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for _ in range(mib):
            file.write(os.urandom(PIECE))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=2048)
    parser.add_argument("--n", type=int, default=3)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="vlm-register-"))
    vlm = [sys.executable, "-m", "lifecycle"]
    environment = {**os.environ, "VLM_RUNTIMES": str(folder / "runtimes"), "VLM_CONFIG": str(folder / "none")}

    def at(home: str) -> dict[str, str]:
        return {**environment, "VLM_HOME": str(folder / home), "VLM_KEYS": str(folder / f"{home}-keys")}

    def registered(home: str) -> Run:
        shutil.rmtree(folder / home, ignore_errors=True)
        shutil.rmtree(folder / f"{home}-keys", ignore_errors=True)
        subprocess.run([*vlm, "init", "-q"], env=at(home), check=True, stdout=subprocess.DEVNULL)
        return run_process([*vlm, "register", "big", "--weights", str(source)], at(home))

    try:
        source = folder / "big.safetensors"
        make(source, given.mib)
        registered("kept")
        cases = {
            "raw copy (cp)": lambda: run_process(["cp", str(source), str(folder / "copy")]),
            "raw read (cat)": lambda: run_process(["cat", str(source)]),
            "read + BLAKE3 (Python)": lambda: run_process([sys.executable, "-c", _HASH, str(source)]),
            "vlm register": lambda: registered("once"),
            "vlm audit": lambda: run_process([*vlm, "audit", "--fail-on", "never"], at("kept")),
        }
        print(f"{given.mib} MiB in one safetensors file\n")
        print(table(in_turn(cases, n=given.n), against="read + BLAKE3 (Python)"))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
