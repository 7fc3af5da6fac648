"""A fresh process opens every wrap of an epoch, from the files alone, before the old epoch is destroyed.

What the process that rewrapped holds in memory proves nothing about what can be read tomorrow.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blake3 import blake3

from lifecycle.domain.errors import IntegrityError, Unavailable, VlmError
from lifecycle.vault import key_database as rows
from lifecycle.vault.holder import FileKeyHolder
from lifecycle.vault.key_chain import KeyChain
from lifecycle.vault.wraps import unwrap

_SECONDS = 600


def opened_by_fresh_process(
    database: Path, holder: Path, epoch: int, check_key: bytes, expected: Mapping[str, bytes]
) -> int:
    """Return how many wraps a new process opened, having compared the keys that it found.

    Args:
        check_key: 32 random bytes; what comes back is a hash keyed with them, never a key.
        expected: All surviving keys, by id.

    Raises:
        IntegrityError: A wrap did not open, a key is missing, or a key differs.
        Unavailable: The process could not be started, or did not end.
    """
    found = _ask(database, holder, epoch, check_key)
    opened, tag = int(found.get("opened", 0)), str(found.get("tag", ""))
    if tag != _tag(expected, check_key):
        raise IntegrityError(
            f"a fresh process could not open every surviving key: {found.get('error', 'a key differs')};"
            " nothing was destroyed",
            hint="vlm doctor",
        )
    return opened


def opened_in_copy(database: Path, holder: Path, epoch: int) -> int:
    """Return how many wraps of a copy of keys.db a new process opened with a copy of the keys.

    Args:
        database: A file that may be written: SQLite sets it up for use.

    Raises:
        IntegrityError: A wrap did not open.
        Unavailable: The process could not be started, or did not end.
    """
    found = _ask(database, holder, epoch, os.urandom(32))
    if not found.get("tag"):
        raise IntegrityError(f"the keys do not open it: {found.get('error', 'nobody knows why')}")
    return int(found["opened"])


def _ask(database: Path, holder: Path, epoch: int, check_key: bytes) -> Mapping[str, Any]:
    asked = {
        "database": str(database),
        "holder": str(holder),
        "epoch": epoch,
        "check_key": check_key.hex(),
    }
    here = str(Path(__file__).resolve().parents[2])
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VLM_"))}
    try:
        answer = subprocess.run(
            [sys.executable, "-P", "-m", "lifecycle.vault.fresh"],
            input=json.dumps(asked),
            env={**environment, "PYTHONPATH": here},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable(
            f"no fresh process could look at the keys; nothing was destroyed: {error}"
        ) from None
    try:
        found: Mapping[str, Any] = json.loads(answer.stdout)
        int(found["opened"])
    except (ValueError, KeyError, TypeError):
        return {"error": "it gave no answer"}
    return found


def _tag(keys: Mapping[str, bytes], check_key: bytes) -> str:
    hasher = blake3(key=check_key)
    for uid in sorted(keys):
        hasher.update(uid.encode("ascii") + keys[uid])
    return hasher.hexdigest()


def open_every(database: Path, holder: FileKeyHolder, epoch: int) -> tuple[int, dict[str, bytes]]:
    """Open each wrap of an epoch on its own; return how many, and the keys.

    Raises:
        IntegrityError: A wrap does not open, or two wraps of one key hold different keys.
    """
    keys: dict[str, bytes] = {}
    opened = 0
    with rows.KeyDatabase(database).read() as connection:
        chain = KeyChain(connection, holder, epoch=epoch)
        known = rows.key_rows(connection)
        store = rows.epochs(connection)[epoch]
        for row in rows.wrap_rows(connection):
            if row.epoch != epoch:
                continue
            above = (
                chain.store_key(store) if row.wrapping == store.store_key else chain.material(row.wrapping)
            )
            key = unwrap(above, row.content, row.binding(known[row.wrapped]))
            if keys.setdefault(row.wrapped, key) != key:
                raise IntegrityError(f'two wraps of key "{row.wrapped[:12]}" hold different keys')
            opened += 1
    return opened, keys


def main() -> None:
    """Answer one question on standard input."""
    asked = json.loads(sys.stdin.read())
    try:
        opened, keys = open_every(
            Path(asked["database"]), FileKeyHolder(Path(asked["holder"])), int(asked["epoch"])
        )
        answer: dict[str, object] = {"opened": opened, "tag": _tag(keys, bytes.fromhex(asked["check_key"]))}
    except (VlmError, KeyError) as error:
        answer = {"opened": 0, "tag": "", "error": str(error)}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
