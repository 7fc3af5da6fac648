"""A first backup, and one of what did not change, beside cp and restic: `python -m benchmarks.backup`.

Every case is a whole process, start-up included; the cases run in turn. The first part copies a registry of real
random files (4 GiB by default) to the same disk, each time to an empty folder, and brings it to the disk: `sync` is
part of `cp` here, as vlm and restic do it themselves. The second part has so many files that did not change that
they do not fit a small machine (50 GiB by default): both sides are sparse files of the right names and sizes, which
take no room. That is fair because unchanged files are never read, by name and size alone; reading them is
`vlm backup check --read-data`. restic reads them by their times of change, so it is measured on the real files only.
"""

from __future__ import annotations

import argparse
import io
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.timing import Run, in_turn, run_process, table
from lifecycle.bootstrap import Rooms, installation_of
from lifecycle.domain.digest import Digest
from lifecycle.domain.voices import Artifact, DataClass, Role, State, Voice
from lifecycle.services.backups.folder import prepare_backup
from lifecycle.services.home import initialise
from lifecycle.services.session import open_session
from lifecycle.settings import load_settings

MIB = 1 << 20


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a registry below a folder."""
    return {
        **os.environ,
        "VLM_HOME": str(folder / "home"),
        "VLM_KEYS": str(folder / "keys"),
        "VLM_CONFIG": str(folder / "none"),
        "VLM_RUNTIMES": str(folder / "runtimes"),
        "RESTIC_PASSWORD": "x",
        "RESTIC_CACHE_DIR": str(folder / "restic-cache"),
    }


def filled(folder: Path, blobs: Callable[[Rooms], list[tuple[Digest, int]]]) -> None:
    """Make a registry with one voice that owns all of these blobs."""
    settings = load_settings(environment(folder))
    initialise(settings)
    rooms = open_session(settings)
    stored, now, uid = blobs(rooms), rooms.clock(), rooms.new_uid()
    with rooms.registry.write() as uow:
        uow.voices.add(Voice(uid, "big", State.ACTIVE, None, None, "default", None, now, now))
        for digest, size in stored:
            uow.voices.add_artifact(
                uid,
                Artifact(
                    rooms.new_uid(), None, Role.WEIGHTS, DataClass.MODEL, digest, size, None, "x", {}, None, None, now
                ),
            )  # fmt: skip
        uow.trail.append("register", voice_uid=uid)
        uow.commit()
    rooms.close()


def real(mib: int, files: int) -> Callable[[Rooms], list[tuple[Digest, int]]]:
    """Return what stores random files that come to `mib` MiB."""

    def store(rooms: Rooms) -> list[tuple[Digest, int]]:
        piece = os.urandom(mib * MIB // files)
        put = [rooms.vault.blobs.put(io.BytesIO(secrets.token_bytes(32) + piece)) for _ in range(files)]
        return [(blob.digest, blob.size) for blob in put]

    return store


def sparse(size: int, files: int, root: Path) -> Callable[[Rooms], list[tuple[Digest, int]]]:
    """Return what lays sparse files below a root, under names of random digests."""

    def store(_rooms: Rooms) -> list[tuple[Digest, int]]:
        digests = [Digest("blake3", secrets.token_hex(32)) for _ in range(files)]
        for digest in digests:
            path = root / digest.hex[:2] / digest.hex[2:]
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                file.truncate(size)
        return [(digest, size) for digest in digests]

    return store


def first(folder: Path, restic: str | None, *, mib: int, files: int, n: int) -> None:
    """Time first backups of real files, and second ones."""
    env = environment(folder)
    filled(folder, real(mib, files))
    vlm = [sys.executable, "-m", "lifecycle", "backup"]

    def fresh(name: str, command: list[str]) -> Run:
        shutil.rmtree(folder / name, ignore_errors=True)
        os.sync()
        return run_process(command, env)

    copy = f"cp -r {env['VLM_HOME']} {folder}/cp && sync"
    cases = {
        "cp -r, sync": lambda: fresh("cp", ["sh", "-c", copy]),
        "vlm backup create": lambda: fresh("vlm", [*vlm, "create", str(folder / "vlm")]),
    }
    if restic:
        whole = (
            f"{restic} init -q -r {folder}/restic && {restic} backup -q -r {folder}/restic {env['VLM_HOME']}"
        )
        cases["restic init, backup"] = lambda: fresh("restic", ["sh", "-c", whole])
    print(f"\nfirst backup of {mib} MiB in {files} files\n")
    timed = in_turn(cases, n=n, warm_up=1)
    print(table(timed, against="cp -r, sync"))
    for name, runs in timed.items():
        print(f"  {name}: {mib / sorted(run.wall_s for run in runs)[len(runs) // 2]:.0f} MiB/s")
    again = {
        "vlm backup create, again": lambda: run_process([*vlm, "create", str(folder / "vlm")], env),
        "vlm backup check --read-data": lambda: run_process(
            [*vlm, "check", str(folder / "vlm"), "--read-data"], env
        ),
    }
    if restic:
        repeat = [restic, "backup", "-q", "-r", str(folder / "restic"), env["VLM_HOME"]]
        again["restic backup, again"] = lambda: run_process(repeat, env)
    print(f"\nand again, nothing changed: {mib} MiB in {files} files\n")
    print(table(in_turn(again, n=n), against="vlm backup create, again"))


def unchanged(folder: Path, *, size: int, files: int, n: int) -> None:
    """Time a backup of many files that did not change."""
    env = environment(folder)
    here, there = folder / "home" / "blobs", folder / "vlm" / "blobs"
    filled(folder, sparse(size, files, here))
    prepare_backup(folder / "vlm", installation_of(folder / "home"))
    shutil.copytree(here, there, copy_function=_sparse_copy, dirs_exist_ok=True)
    command = [sys.executable, "-m", "lifecycle", "backup", "create", str(folder / "vlm")]
    name = "vlm backup create"
    print(
        f"\n{files} unchanged files, {size * files / (1 << 30):.1f} GiB together "
        "(sparse: unchanged files are not read)\n"
    )
    print(table(in_turn({name: lambda: run_process(command, env)}, n=n), against=name))


def _sparse_copy(source: str, target: str) -> str:
    with Path(target).open("wb") as file:
        file.truncate(Path(source).stat().st_size)
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gib", type=float, default=4, help="real files of the first part")
    parser.add_argument("--files", type=int, default=100)
    parser.add_argument("--unchanged-gib", type=float, default=50, help="sparse files of the second part")
    parser.add_argument("--small", type=int, default=100_000, help="small unchanged files of the third part")
    parser.add_argument("--restic", default=shutil.which("restic"))
    parser.add_argument("--n", type=int, default=3)
    given = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="vlm-backup-"))
    try:
        first(base / "first", given.restic, mib=round(given.gib * 1024), files=given.files, n=given.n)
        shutil.rmtree(base / "first")
        size = round(given.unchanged_gib * (1 << 30)) // 400
        unchanged(base / "large", size=size, files=400, n=given.n)
        shutil.rmtree(base / "large")
        unchanged(base / "small", size=4000, files=given.small, n=given.n)
    finally:
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
