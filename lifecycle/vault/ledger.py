"""The erasure ledger: which purges were decided, without a word about whom; it lies with the keys.

A backup that is put back would bring the erased back. The ledger, which no copy of VLM_HOME contains, is what
they are erased again by. One signed JSON line per entry, each with the hash of the line before; an entry is on
the disk before anything is destroyed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from lifecycle.domain.canonical import Json, canonical_json
from lifecycle.domain.errors import IntegrityError
from lifecycle.domain.failpoints import hit
from lifecycle.vault.anchor import timestamp
from lifecycle.vault.files import locked, make_private, read_small, sync_folder, unavailable
from lifecycle.vault.signing import Signing

EMPTY_HEAD = "0" * 64
_MOST_BYTES = 1 << 30
_ID = re.compile(r"[0-9a-f]{32,64}")
_WORD = re.compile(r"[a-z][a-z0-9_-]{0,31}")


class EntryKind(StrEnum):
    """What an entry says of a purge."""

    PLANNED = "planned"
    COMMITTED = "committed"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One entry.

    Attributes:
        ids: Random ids and code words only: voice, subjects, keys, blobs, verb.
        head: Hash of the entry's line, which the next entry carries.
        record: The signed line, for a certificate that carries its entry along.
    """

    sequence: int
    time: str
    kind: EntryKind
    purge_uid: str
    ids: Mapping[str, Any]
    head: str
    record: Mapping[str, Any]


class Ledger:
    """`ledger.jsonl` beside the keys."""

    def __init__(self, path: Path, signing: Signing, *, clock: Callable[[], datetime]) -> None:
        self._path = path
        self._signing = signing
        self._clock = clock

    def append(self, kind: EntryKind, purge_uid: str, *, ids: Mapping[str, Json]) -> LedgerEntry:
        """Add an entry; it is on the disk when this returns. The same kind of one purge is added once.

        Raises:
            ValueError: A value is neither a random id nor a code word: names never enter the ledger.
            IntegrityError: The ledger was changed.
            Unavailable: It cannot be written.
        """
        _anonymous({"purge": purge_uid, **ids})
        make_private(self._path.parent)
        with locked(self._path.with_name(self._path.name + ".lock"), what="the erasure ledger"):
            entries = self.read()
            for entry in entries:
                if entry.kind is kind and entry.purge_uid == purge_uid:
                    return entry
            body: dict[str, Json] = {
                "sequence": len(entries),
                "time": timestamp(self._clock()),
                "kind": kind.value,
                "purge": purge_uid,
                "ids": dict(ids),
                "previous": entries[-1].head if entries else EMPTY_HEAD,
            }
            line = canonical_json(self._signing.sign_record("ledger", body))
            self._write(line + b"\n")
        return _entry(json.loads(line), line)

    def _write(self, line: bytes) -> None:
        hit("ledger.before_append")
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                # A line that a crash cut is no entry: nothing was destroyed on its word.
                os.ftruncate(descriptor, _whole(os.pread(descriptor, _MOST_BYTES, 0)))
                end = os.lseek(descriptor, 0, os.SEEK_END)
                try:
                    written = 0
                    while written < len(line):
                        written += os.write(descriptor, line[written:])
                    os.fsync(descriptor)
                except OSError:
                    os.ftruncate(descriptor, end)
                    raise
            finally:
                os.close(descriptor)
            sync_folder(self._path.parent)
        except OSError as error:
            raise unavailable(self._path.parent, error) from None
        hit("ledger.after_append")

    def read(self) -> list[LedgerEntry]:
        """Return all entries, each signature and the chain checked.

        Raises:
            IntegrityError: A line was changed, removed, moved or added by someone without the key.
        """
        try:
            content = read_small(self._path, limit=_MOST_BYTES)
        except FileNotFoundError:
            return []
        trusted = self._signing.trusted("ledger")
        entries: list[LedgerEntry] = []
        head = EMPTY_HEAD
        for line in content[: _whole(content)].splitlines():
            entry = read_entry(line, trusted)
            if entry.sequence != len(entries) or entry.record["body"]["previous"] != head:
                raise IntegrityError(
                    f"the erasure ledger is broken at entry {len(entries)}", hint="vlm doctor"
                )
            entries.append(entry)
            head = entry.head
        return entries

    def head(self) -> tuple[int, str]:
        """Return the number of entries and the hash of the last, as the anchor keeps them."""
        entries = self.read()
        return len(entries), entries[-1].head if entries else EMPTY_HEAD

    def to_replay(self) -> list[LedgerEntry]:
        """Return the committed entries of purges that were not aborted: what an old backup must be told of."""
        entries = self.read()
        aborted = {entry.purge_uid for entry in entries if entry.kind is EntryKind.ABORTED}
        return [
            entry for entry in entries if entry.kind is EntryKind.COMMITTED and entry.purge_uid not in aborted
        ]


def read_entry(line: bytes, trusted: Mapping[str, bytes]) -> LedgerEntry:
    """Read one signed line, of the ledger or out of a certificate.

    Raises:
        IntegrityError: It was changed or is signed by another key.
    """
    from lifecycle.vault.signing import verify_record

    try:
        record = json.loads(line)
    except ValueError:
        raise IntegrityError("a line of the erasure ledger is damaged", hint="vlm doctor") from None
    verify_record("ledger", record, trusted)
    try:
        return _entry(record, line)
    except (KeyError, TypeError, ValueError):
        raise IntegrityError("a line of the erasure ledger is damaged", hint="vlm doctor") from None


def _entry(record: Mapping[str, Any], line: bytes) -> LedgerEntry:
    body = record["body"]
    return LedgerEntry(
        sequence=int(body["sequence"]),
        time=str(body["time"]),
        kind=EntryKind(body["kind"]),
        purge_uid=str(body["purge"]),
        ids=body["ids"],
        head=hashlib.sha256(line).hexdigest(),
        record=record,
    )


def _whole(content: bytes) -> int:
    return content.rfind(b"\n") + 1


def _anonymous(ids: Mapping[str, Json]) -> None:
    for name, value in ids.items():
        values = list(value) if isinstance(value, list | tuple) else [value]
        for one in values:
            text = one.removeprefix("blake3:").removeprefix("sha256:") if isinstance(one, str) else ""
            if not (_ID.fullmatch(text) or (text == one and _WORD.fullmatch(text))):
                raise ValueError(f'"{name}" in a ledger entry is neither a random id nor a code word')
