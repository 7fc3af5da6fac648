"""A registry of very many voices: `python -m benchmarks.scale --voices 1000000 [--database postgresql] [--n 5]`.

The rows are made inside the database, as registering that many voices would leave them: a person for ten voices, two
weights and mostly a full lock and recordings for each, consents and verdicts of which one in a hundred is over, wrong
or too old. Their events are not made, and no file is: the trail's head is read whatever its length, and hashing files
(`--scrub none` leaves it out) is bounded by the disk, not by the registry. Every figure is of a whole process, beside
the same command on a registry of three voices; n runs, in turn.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lifecycle.registry.engine import Registry
from lifecycle.registry.times import to_text

FACTS = '{"family": "GPT-SoVITS", "half": "gpt", "version": "v2", "precision": "fp16", "tensors": 295}'
LOCK = '{"form": "requirements", "packages": 41, "pinned": 41, "hashes": 41}'
DETAIL = '{"ran": true, "steps": {"tokens": {"equal": true}, "log_mel": {"distance": "0.0004", "tolerance": "0.01"}}}'


def statements(voices: int, dialect: str, now: datetime) -> Iterator[str]:
    """Yield what fills an empty registry, in SQL that the database carries out by itself."""
    pad = "lpad(to_hex({}), {}, '0')" if dialect == "postgresql" else "printf('%0{1}x', {0})"

    def hexed(number: str, digits: int = 32) -> str:
        return pad.format(number, digits)

    def ago(**span: int) -> str:
        return f"'{to_text(now - timedelta(**span))}'"

    def series(last: int) -> str:
        # Both databases know this form.
        return f"WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {last}) "

    yes, no = ("true", "false") if dialect == "postgresql" else ("1", "0")
    registered = f"CASE WHEN i % 3 = 0 THEN {ago(days=400)} WHEN i % 3 = 1 THEN {ago(days=150)} ELSE {ago(days=20)} END"
    people = max(voices // 10, 1)
    yield (
        "INSERT INTO subjects (id, uid, pseudonym, generation, created_at) "
        + series(people)
        + f"SELECT i, {hexed('i')}, 's-' || {hexed('i', 8)}, 0, {ago(days=400)} FROM s"
    )
    yield (
        "INSERT INTO voices (id, uid, name, state, owner, contact, policy, mute, own_voice, facts, created_at, "
        "changed_at, last_used_at, retired_at) "
        + series(voices)
        + f"SELECT i, {hexed('i')}, 'voice-' || {hexed('i', 8)}, "
        "CASE WHEN i % 50 = 0 THEN 'retired' WHEN i % 10 = 9 THEN 'deprecated' ELSE 'active' END, "
        "CASE WHEN i % 20 = 0 THEN NULL ELSE 'team-' || (i % 40) END, 'tts@example.com', 'default', "
        f"{no}, {no}, '{{}}', {registered}, {registered}, {ago(days=2)}, "
        f"CASE WHEN i % 50 = 0 THEN {ago(days=10)} END FROM s"
    )
    yield (
        "INSERT INTO versions (id, uid, voice_id, number, identity, created_at) "
        + series(voices)
        + f"SELECT i, {hexed('i')}, i, 1, 'blake3:' || {hexed('i', 64)}, {registered} FROM s"
    )
    yield (
        "INSERT INTO voice_subjects (voice_id, subject_id) "
        + series(voices)
        + f"SELECT i, i % {people} + 1 FROM s"
    )
    yield (
        "INSERT INTO consents (id, uid, subject_id, scope, received_at, valid_until) "
        + series(people)
        + f"SELECT i, {hexed('i')}, i, 'speak', {ago(days=400)}, CASE WHEN i % 200 = 0 THEN {ago(days=3)} "
        f"WHEN i % 200 = 1 THEN {ago(days=-12)} WHEN i % 3 = 0 THEN {ago(days=-500)} END FROM s"
    )
    files = (
        ("weights", "model", "gpt-sovits-gpt", FACTS, 155_300_000, "i > 0"),
        ("weights", "model", "gpt-sovits-sovits", FACTS, 85_000_000, "i > 0"),
        ("lockfile", "model", "lockfile", LOCK, 2_000, "i % 10 <> 0"),
        ("audio", "source", "audio", '{"seconds": 61.5, "rate": 24000}', 3_000_000, "i % 5 <> 0"),
    )
    for number, (role, data_class, kind, facts, size, chosen) in enumerate(files):
        digits = hexed(f"i * 4 + {number}", 64)
        yield (
            "INSERT INTO artifacts (uid, voice_id, version_id, role, data_class, digest, size_bytes, kind, facts, "
            "added_at, present) "
            + series(voices)
            + f"SELECT {hexed(f'i * 4 + {number}')}, i, {'NULL' if role == 'audio' else 'i'}, '{role}', "
            f"'{data_class}', 'blake3:' || {digits}, {size}, '{kind}', '{facts}', {registered}, {yes} "
            f"FROM s WHERE {chosen}"
        )
    yield (
        "INSERT INTO verdicts (uid, version_id, torch, build, python, lock_hash, engine_hash, device, code, verdict, "
        "reason, detail, sandbox, inputs_hash, at) " + series(voices)
        + f"SELECT {hexed('i')}, i, '2.13.0', 'cpu', '3.11', 'sha256:0', 'sha256:0', 'cpu', 'own', "
        "CASE WHEN i % 200 = 3 THEN 'differs' WHEN i % 400 = 7 THEN 'broken' ELSE 'works' END, '', "
        f"'{DETAIL}', 'bwrap', 'sha256:0', CASE WHEN i % 100 = 5 THEN {ago(days=120)} ELSE {ago(days=9)} END FROM s"
    )  # fmt: skip


def seed(folder: Path, voices: int, url: str | None) -> dict[str, str]:
    """Make a registry of so many voices; return the environment that it is found by."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("VLM_")},
        "VLM_HOME": str(folder / "home"),
        "VLM_KEYS": str(folder / "keys"),
        "VLM_RUNTIMES": str(folder / "runtimes"),
        "VLM_CONFIG": str(folder / "vlm.toml"),
        "NO_COLOR": "1",
        **({} if url is None else {"VLM_DATABASE_URL": url}),
    }
    subprocess.run([*VLM, "init"], env=environment, check=True, stdout=subprocess.DEVNULL)
    # In a process of its own: the memory of whoever starts a command counts into that command's peak.
    filling = multiprocessing.get_context("spawn").Process(target=fill, args=(folder, voices, url))
    filling.start()
    filling.join()
    if filling.exitcode != 0:
        raise RuntimeError("the registry could not be filled")
    return environment


def fill(folder: Path, voices: int, url: str | None) -> None:
    """Fill an empty registry."""
    registry = Registry(url or folder / "home" / "registry.db")
    now = datetime.now(UTC)
    with registry.database.changing() as connection:
        for statement in statements(voices, connection.dialect.name, now):
            connection.exec_driver_sql(statement.replace("%", "%%") if url else statement)
        if url:
            # A server's autovacuum does so by itself after a while.
            connection.exec_driver_sql("ANALYZE")
    registry.close()


VLM = (sys.executable, "-m", "lifecycle")


def measured(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[float, float, float]:
    """Run a command to its end; return its wall seconds, its CPU seconds and its largest memory in MB."""
    begun = time.perf_counter()
    process = subprocess.Popen([*VLM, *arguments], env=dict(environment), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"vlm {' '.join(arguments)} ended with {process.returncode}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000


@contextmanager
def databases(kind: str) -> Iterator[tuple[str | None, str | None]]:
    """Give the URLs of two empty databases: None for SQLite, else on a server of our own."""
    if kind == "sqlite":
        yield None, None
        return
    from tests.postgres import Server

    server = Server(
        {"listen_addresses": "", "shared_buffers": "512MB", "max_wal_size": "4GB", "work_mem": "64MB"}
    )
    try:
        yield server.url(server.create()), server.url(server.create())
    finally:
        server.end()


def table(
    rows: Mapping[str, Sequence[tuple[float, float, float]]], starts: Mapping[str, str]
) -> Iterator[str]:
    """Yield a Markdown table: medians, spread, peak memory, and the ratio to the same command on three voices."""
    yield "| | wall s, median (min-max) | CPU s | peak memory, MB | wall against three voices, median of pairs |"
    yield "|---|---|---|---|---|"
    for name, runs in rows.items():
        wall = [run[0] for run in runs]
        pairs = zip(runs, rows[starts[name]], strict=False) if name in starts else ()
        ratios = [big[0] / small[0] for big, small in pairs]
        ratio = f"{statistics.median(ratios):.2f}" if ratios else ""
        spread = f"{statistics.median(wall):.2f} ({min(wall):.2f}-{max(wall):.2f})"
        cpu = statistics.median(run[1] for run in runs)
        yield f"| {name} | {spread} | {cpu:.2f} | {max(run[2] for run in runs):.0f} | {ratio} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--voices", type=int, default=100_000)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--n", type=int, default=5)
    parser.add_argument("--audits", type=int, default=2, help="how often the audit is run")
    told = parser.parse_args()
    name = f"voice-{told.voices // 2:08x}"
    page, show = ("list", "--limit", "50"), ("show", name)
    audit = ("audit", "--scrub", "none", "--fail-on", "never")
    rows: dict[str, list[tuple[float, float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder, databases(told.database) as (small_url, big_url):
        small = seed(Path(folder) / "small", 3, small_url)
        begun = time.perf_counter()
        big = seed(Path(folder) / "big", told.voices, big_url)
        print(f"{told.voices} voices on {told.database}, made in {time.perf_counter() - begun:.0f} s")
        cases: list[tuple[str, Sequence[str], Mapping[str, str]]] = [
            ("list, three voices", page, small),
            ("list, the first 50", page, big),
            ("show, three voices", ("show", "voice-00000001"), small),
            ("show, one of them", show, big),
        ]
        for run in range(told.n + 1):
            for label, arguments, environment in cases:
                got = measured(arguments, environment)
                if run:
                    rows.setdefault(label, []).append(got)
        for label, environment in (("audit, three voices", small), ("audit, all", big)):
            rows[label] = [measured(audit, environment) for _ in range(told.audits)]
    starts = {"list, the first 50": "list, three voices", "show, one of them": "show, three voices"}
    print("\n".join(table(rows, starts)))


if __name__ == "__main__":
    main()
