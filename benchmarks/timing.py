"""Whole processes, timed in turn, so that a ratio holds when the machine's speed drifts."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Run:
    """One timed run."""

    wall_s: float
    cpu_s: float


def run_process(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Run:
    """Run a command to its end and return its wall and CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    subprocess.run(
        list(command), env=None if environment is None else dict(environment), check=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wall_s = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Run(wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def in_turn(cases: Mapping[str, Callable[[], Run]], *, n: int, warm_up: int = 1) -> dict[str, list[Run]]:
    """Run all cases round after round: A B C, A B C, ..."""
    for _ in range(warm_up):
        for case in cases.values():
            case()
    results: dict[str, list[Run]] = {name: [] for name in cases}
    for _ in range(n):
        for name, case in cases.items():
            results[name].append(case())
    return results


def table(results: Mapping[str, Sequence[Run]], *, against: str) -> str:
    """Return a Markdown table: medians, spread, and the ratio of `against` to each, pair by pair."""
    base = results[against]
    lines = [
        (
            f"machine: {platform.machine()}, {os.cpu_count()} cores, {platform.platform()}, "
            f"Python {platform.python_version()}, n = {len(base)}"
        ),
        "",
        (
            "| | wall s, median (min-max) | CPU s, median (min-max) | "
            f"wall against {against}, median of pairs | CPU against {against} |"
        ),
        "|---|---|---|---|---|",
    ]
    for name, runs in results.items():
        wall, cpu = [run.wall_s for run in runs], [run.cpu_s for run in runs]
        wall_ratio = statistics.median(r.wall_s / b.wall_s for r, b in zip(runs, base, strict=True))
        cpu_ratio = statistics.median(r.cpu_s / max(b.cpu_s, 1e-9) for r, b in zip(runs, base, strict=True))
        lines.append(f"| {name} | {_spread(wall)} | {_spread(cpu)} | {wall_ratio:.2f} | {cpu_ratio:.2f} |")
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.3f} ({min(values):.3f}-{max(values):.3f})"
