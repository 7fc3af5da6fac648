"""Looks at every place of a purge again, as a process of its own that took no part in the destruction.

Started as `python -m lifecycle.services.purges.check`. It reads one JSON object on standard input (never the
command line, which others can see) and writes one on standard output: for each node, its state and how it
was looked at. It changes nothing.
"""

from __future__ import annotations

import json
import mmap
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lifecycle.domain.errors import VlmError
from lifecycle.erasure.graph import NodeState

_TIMEOUT_S = 600
_DATABASES = ("registry.db", "registry.db-wal", "registry.db-shm", "registry.db-journal",
              "keys.db", "keys.db-wal", "keys.db-shm", "keys.db-journal")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Places:
    """Every place to look at, by node.

    Attributes:
        blobs: Digest (64 hexadecimal digits) of each blob that must be gone.
        blob_keys: The key that sealed it, where it was sealed.
        keys: Data keys that must have no wrap left.
        files: Paths of other files that had to be removed: originals, keys of destroyed epochs.
        work: The folder in which no job may have files.
        rows: The node of the registry's rows and what they must no longer hold.
        windows: Pieces of deleted values, hexadecimal, that no database file may still hold.
        database: The registry's URL; empty where it is the file in `home`.
    """

    home: str
    blobs: Mapping[str, str] = field(default_factory=dict)
    blob_keys: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    work: Mapping[str, str] = field(default_factory=dict)
    rows: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    windows: Mapping[str, Sequence[str]] = field(default_factory=dict)
    database: str = field(default="", repr=False)


Seen = dict[str, tuple[NodeState, str]]


def look_again(places: Places) -> Seen:
    """Run the look in a fresh process and return what it saw.

    A process that fails or says nothing about a node leaves that node UNVERIFIABLE: nobody looked.
    """
    everything = [
        *places.blobs, *places.keys, *places.files, *places.work, *places.rows, *places.windows
    ]  # fmt: skip
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VLM_"))}
    try:
        ran = subprocess.run(
            [sys.executable, "-P", "-m", "lifecycle.services.purges.check"],
            env={**kept, "PYTHONPATH": str(Path(__file__).resolve().parents[3])},
            input=json.dumps(asdict(places)).encode(),
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=True,
        )
        answer = json.loads(ran.stdout)
        seen = {str(node): (NodeState(state), str(check)) for node, (state, check) in answer.items()}
    except (OSError, subprocess.SubprocessError, ValueError, AttributeError) as error:
        seen = {}
        unseen = f"the process that looks again failed: {type(error).__name__}"
    else:
        unseen = "the process that looks again said nothing about it"
    return {node: seen.get(node, (NodeState.UNVERIFIABLE, unseen)) for node in everything}


def look(places: Places) -> Seen:
    """Look at every place. Raises nothing: what cannot be seen is UNVERIFIABLE."""
    gone_keys = _keys_gone(places)
    seen: Seen = {node: gone_keys[key] for node, key in places.keys.items()}
    for node, digest in places.blobs.items():
        seen[node] = _blob(Path(places.home), digest, gone_keys.get(places.blob_keys.get(node, "")))
    seen |= {node: _path(Path(path)) for node, path in places.files.items()}
    seen |= {node: _folder(Path(path)) for node, path in places.work.items()}
    for node, rows in places.rows.items():
        seen[node] = _rows(places, rows)
    for node, windows in places.windows.items():
        seen[node] = _residue(Path(places.home), [bytes.fromhex(window) for window in windows])
    return seen


def _blob(home: Path, digest: str, key: tuple[NodeState, str] | None) -> tuple[NodeState, str]:
    folder = home / "blobs" / digest[:2]
    try:
        names = [entry.name for entry in folder.iterdir()]
    except FileNotFoundError:
        return NodeState.VERIFIED, "its folder is gone"
    except OSError as error:
        return NodeState.UNVERIFIABLE, f"its folder cannot be read: {error.strerror}"
    # A temporary or quarantined file carries the rest of the name too.
    if not any(digest[2:] in name for name in names):
        return NodeState.VERIFIED, "no file of that name"
    if key is not None and key[0] is NodeState.VERIFIED:
        return NodeState.CRYPTO_ERASED, "the file is there, every key that opens it is gone"
    return NodeState.PENDING, "the file is still there"


def _path(path: Path) -> tuple[NodeState, str]:
    try:
        path.lstat()
    except FileNotFoundError:
        return NodeState.VERIFIED, "nothing lies at its path"
    except OSError as error:
        return NodeState.UNVERIFIABLE, f"its path cannot be read: {error.strerror}"
    return NodeState.PENDING, "a file lies at its path"


def _folder(path: Path) -> tuple[NodeState, str]:
    """Look at the work folder: each job has a folder in it, and only there are decrypted data."""
    try:
        left = [entry for entry in path.iterdir() if entry.is_dir()]
    except FileNotFoundError:
        return NodeState.VERIFIED, "the folder is gone"
    except OSError as error:
        return NodeState.UNVERIFIABLE, f"the folder cannot be read: {error.strerror}"
    return (
        (NodeState.PENDING, f"{len(left)} jobs still have files")
        if left
        else (NodeState.VERIFIED, "no job has files")
    )


def _keys_gone(places: Places) -> Seen:
    from lifecycle.vault.keys import surviving

    wanted = sorted({*places.keys.values(), *places.blob_keys.values()})
    try:
        alive = surviving(Path(places.home) / "keys.db", wanted)
    except (OSError, VlmError) as error:
        return dict.fromkeys(wanted, (NodeState.UNVERIFIABLE, f"the key database cannot be read: {error}"))
    gone = (NodeState.VERIFIED, "no wrap of it is left")
    return {key: (NodeState.PENDING, "a wrap of it is left") if key in alive else gone for key in wanted}


def _rows(places: Places, rows: Mapping[str, object]) -> tuple[NodeState, str]:
    from lifecycle.registry.engine import Registry
    from lifecycle.registry.queries.purges import Forgotten

    what = Forgotten(
        voice_uid=str(rows["voice"]),
        artifacts=_texts(rows["artifacts"]),
        leaving=_texts(rows["leaving"]),
        erased=bool(rows["erased"]),
    )
    registry = Registry(places.database or Path(places.home) / "registry.db")
    try:
        with registry.read() as uow:
            left = uow.purges.left_of(what)
    except VlmError as error:
        return NodeState.UNVERIFIABLE, f"the registry cannot be read: {error.message}"
    finally:
        registry.close()
    return (NodeState.PENDING, f"{left} rows are left") if left else (NodeState.VERIFIED, "no row is left")


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _residue(home: Path, windows: Sequence[bytes]) -> tuple[NodeState, str]:
    """Search the database files for pieces of deleted values. Whole values would miss split pages."""
    looked, found = 0, 0
    for name in _DATABASES:
        try:
            found += sum(1 for _ in _hits(home / name, windows))
            looked += 1
        except FileNotFoundError:
            continue
        except OSError as error:
            return NodeState.UNVERIFIABLE, f"{name} cannot be read: {error.strerror}"
    if found:
        return NodeState.PENDING, f"{found} pieces are still readable"
    return NodeState.VERIFIED, f"none of {len(windows)} pieces in {looked} database files"


def _hits(path: Path, windows: Sequence[bytes]) -> Iterable[bytes]:
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            yield from (window for window in windows if content.find(window) >= 0)


def main() -> None:
    """Read places on standard input, look, and write what was seen on standard output."""
    seen = look(Places(**json.load(sys.stdin)))
    json.dump({node: [state.value, check] for node, (state, check) in seen.items()}, sys.stdout)


if __name__ == "__main__":
    main()
