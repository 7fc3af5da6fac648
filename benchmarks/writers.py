"""Processes that write into one registry at once: `python -m benchmarks.writers`.

Each adds events with sealed details, one durable transaction each, until the time is over. Afterwards the trail is
read back: every event that a process was told is kept must be there, and the chain must be whole. PostgreSQL is a
server of its own on this machine with its default settings (every commit is on the disk), unless --url names one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lifecycle.domain.errors import VlmError
from lifecycle.domain.events import CHAIN_START
from lifecycle.registry.engine import Registry
from lifecycle.services.trail import flaws_of
from tests.postgres import Server
from tests.unit.registry.sealers import XorSealer

ROOT = Path(__file__).parents[1]


def write(where: str, seconds: float) -> None:
    """Write until the time is over; print what was kept, what failed, and the longest wait.

    Begins when a line comes on standard input, so that all processes begin together.
    """
    registry = Registry.open(_where(where), sealer=XorSealer())
    kept: list[str] = []
    errors: list[str] = []
    waits: list[float] = []
    print("ready", flush=True)
    sys.stdin.readline()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.perf_counter()
        try:
            with registry.write() as uow:
                event = uow.trail.append("note", details={"word": "told", "number": len(kept)})
                uow.commit()
            kept.append(event.uid)
        except VlmError as error:
            errors.append(error.message)
        waits.append(time.perf_counter() - begun)
    registry.close()
    print(json.dumps({"kept": kept, "errors": errors, "longest_s": max(waits)}))


def measure(where: Path | str, *, processes: int, seconds: float) -> dict[str, object]:
    """Let processes write at once and return what came of it."""
    Registry.open(where, sealer=XorSealer()).close()
    command = [sys.executable, "-m", "benchmarks.writers", "--worker", str(where), str(seconds)]
    running = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    for process in running:
        process.stdout.readline()  # type: ignore[union-attr]
    for process in running:
        process.stdin.write("go\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
    told = [json.loads(process.communicate()[0]) for process in running]
    kept = [uid for one in told for uid in one["kept"]]
    counts = sorted(len(one["kept"]) for one in told)
    registry = Registry.open(where, sealer=XorSealer())
    flaws, before, found = 0, CHAIN_START, set()
    with registry.read() as uow:
        for index, stored in enumerate(uow.trail.stored()):
            flaws += len(flaws_of(stored, index, before))
            before = stored.event.chain_hash
            found.add(stored.event.uid)
    registry.close()
    return {
        "database": registry.database.kind,
        "events": len(kept),
        "events_per_s": round(len(kept) / seconds, 1),
        "lost": len(set(kept) - found),
        "unasked": len(found - set(kept)),
        "errors": sum(len(one["errors"]) for one in told),
        "chain": "whole" if flaws == 0 else f"{flaws} flaws",
        "longest_wait_s": round(max(one["longest_s"] for one in told), 3),
        "fewest_and_most_per_process": f"{counts[0]}-{counts[-1]}",
    }


def _where(text: str) -> Path | str:
    return text if text.startswith("postgresql") else Path(text)


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        write(sys.argv[2], float(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--url", help="an empty database of PostgreSQL, instead of a server of its own")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vlm-writers-") as folder:
        results = [measure(Path(folder) / "registry.db", processes=given.processes, seconds=given.seconds)]
    server = None if given.url else Server({"listen_addresses": ""})
    try:
        where = given.url or server.url(server.create())  # type: ignore[union-attr]
        results.append(measure(where, processes=given.processes, seconds=given.seconds))
    finally:
        if server is not None:
            server.end()
    print(
        f"machine: {platform.machine()}, {os.cpu_count()} cores, {platform.platform()}, Python "
        f"{platform.python_version()}, load {os.getloadavg()[0]:.1f}; {given.processes} processes, "
        f"{given.seconds:.0f} s each, n = 1\n"
    )
    print("| " + " | ".join(results[0]) + " |\n|" + "---|" * len(results[0]))
    for row in results:
        print("| " + " | ".join(map(str, row.values())) + " |")
    bad = any(row["lost"] or row["unasked"] or row["errors"] or row["chain"] != "whole" for row in results)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
