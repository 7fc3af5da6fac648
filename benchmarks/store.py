"""What storing and reading a file costs beside a raw read and plain BLAKE3: `python -m benchmarks.store [--mib 512]`.

All cases run in turn on one file of random bytes, which lies in the page cache: what is measured is what the vault
adds, not the disk. Cases that write end with fsync, as the vault does.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from blake3 import blake3

from benchmarks.timing import Run, in_turn, table
from lifecycle.vault.blobs import BlobStore
from lifecycle.vault.seal import DataKey

PIECE = 1 << 20


def timed(work: Callable[[], object]) -> Run:
    """Run something in this process and return its wall and CPU seconds."""
    before, begun = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    work()
    wall_s, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF)
    return Run(wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def make(path: Path, mib: int) -> None:
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(PIECE))


def read(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        while file.read(PIECE):
            pass


def hashed(path: Path) -> None:
    hasher = blake3()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(PIECE):
            hasher.update(piece)


def copied(path: Path, target: Path) -> None:
    with path.open("rb", buffering=0) as source, target.open("wb", buffering=0) as file:
        while piece := source.read(PIECE):
            file.write(piece)
        os.fsync(file.fileno())
    target.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--n", type=int, default=5)
    given = parser.parse_args()
    key = DataKey(os.urandom(16).hex(), os.urandom(32))
    folder = Path(tempfile.mkdtemp(prefix="vlm-store-"))
    try:
        source, store = folder / "source", folder / "blobs"
        make(source, given.mib)
        kept = BlobStore(store)
        with source.open("rb") as file:
            plain = kept.put(file)
            file.seek(0)
            sealed = kept.put(file, key=key)

        def put(key: DataKey | None) -> None:
            once = BlobStore(folder / "once")
            with source.open("rb") as file:
                once.remove(once.put(file, key=key).digest)

        def opened() -> None:
            with BlobStore(store).reader(sealed.digest, key=key) as file:
                while file.read(PIECE):
                    pass

        cases = {
            "raw read": lambda: timed(lambda: read(source)),
            "read + BLAKE3": lambda: timed(lambda: hashed(source)),
            "raw copy + fsync": lambda: timed(lambda: copied(source, folder / "copy")),
            "put, plain": lambda: timed(lambda: put(None)),
            "put, sealed": lambda: timed(lambda: put(key)),
            "verify a plain blob": lambda: timed(lambda: BlobStore(store).verify(plain.digest)),
            "read a sealed blob, checked twice": lambda: timed(opened),
        }
        print(f"{given.mib} MiB of random bytes in one file\n")
        print(table(in_turn(cases, n=given.n), against="read + BLAKE3"))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
