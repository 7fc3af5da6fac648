"""The keybag: every wrap that survived a purge, beside the keys.

An old copy of VLM_HOME has wraps under an epoch that is gone, so it opens nothing. With the newest keybag it
opens what survived, and nobody who was erased. A keybag holds wraps and random ids; only the current epoch's
key opens it, and a keyed hash under the store key shows any change.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blake3 import blake3

from lifecycle.domain.canonical import Json, canonical_json
from lifecycle.domain.errors import IntegrityError
from lifecycle.vault import key_database as rows
from lifecycle.vault.files import make_private, read_small, sync_folder, write_durably
from lifecycle.vault.holder import FileKeyHolder
from lifecycle.vault.key_database import EpochRow, KeyRow, WrapRow
from lifecycle.vault.wraps import unwrap

_NAME = re.compile(r"keybag-(\d{8})\.json")
_FORMAT = "vlm-keybag"
_VERSION = 1
_MOST_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Keybag:
    """The current epoch, its keys and their wraps."""

    epoch: EpochRow
    keys: tuple[KeyRow, ...]
    wraps: tuple[WrapRow, ...]


def write_keybag(connection: sqlite3.Connection, holder: FileKeyHolder, path: Path) -> None:
    """Write the keybag of the current epoch durably, read it back, and open every wrap from it.

    Raises:
        IntegrityError: What was read back does not open, or is not what was written.
    """
    bag = Keybag(
        epoch=rows.current_epoch(connection),
        keys=tuple(rows.key_rows(connection).values()),
        wraps=tuple(rows.wrap_rows(connection)),
    )
    make_private(path.parent)
    content = _body(bag)
    mac = _mac(content, holder.unwrap(bag.epoch.number, bag.epoch.wrapped, bag.epoch.store_key))
    write_durably(path, canonical_json({**content, "mac": mac}) + b"\n")
    if read_keybag(path, holder) != bag:
        raise IntegrityError("the keybag that was written is not what was read back", hint="vlm doctor")


def read_keybag(path: Path, holder: FileKeyHolder) -> Keybag:
    """Read a keybag and open every wrap in it.

    Raises:
        IntegrityError: It was changed, cut, or does not open with the keys that are held.
    """
    try:
        content = json.loads(read_small(path, limit=_MOST_BYTES))
        mac = str(content.pop("mac"))
        bag = _parsed(content)
    except FileNotFoundError:
        raise IntegrityError(f'the keybag "{path.name}" is missing', hint="vlm doctor") from None
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        raise IntegrityError(f'the keybag "{path.name}" is damaged', hint="vlm doctor") from None
    store_key = holder.unwrap(bag.epoch.number, bag.epoch.wrapped, bag.epoch.store_key)
    if not hmac.compare_digest(mac, _mac(content, store_key)):
        raise IntegrityError(f'the keybag "{path.name}" was changed', hint="vlm doctor")
    _open_all(bag, store_key)
    return bag


def newest_keybag(folder: Path) -> Path | None:
    """Return the keybag of the newest epoch, or None."""
    if not folder.is_dir():
        return None
    found = sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))
    return found[-1] if found else None


def drop_older(newest: Path) -> None:
    """Remove the keybags before this one; the epochs that open them are gone."""
    for path in sorted(newest.parent.iterdir()):
        if _NAME.fullmatch(path.name) and path.name < newest.name:
            path.unlink(missing_ok=True)
    sync_folder(newest.parent)


def restore_keybag(connection: sqlite3.Connection, bag: Keybag) -> None:
    """Put a keybag in the place of all keys of a database, in the caller's transaction."""
    for table in ("wraps", "keys", "epochs", "rotations"):
        connection.execute(f"DELETE FROM {table}")  # noqa: S608
    rows.add_epoch(connection, bag.epoch)
    for key in bag.keys:
        rows.add_key(connection, key)
    for row in bag.wraps:
        rows.add_wrap(connection, row)


def _open_all(bag: Keybag, store_key: bytes) -> None:
    keys = {key.uid: key for key in bag.keys}
    opened = {bag.epoch.store_key: store_key}
    waiting = list(bag.wraps)
    while waiting:
        ready = [row for row in waiting if row.wrapping in opened]
        waiting = [row for row in waiting if row.wrapping not in opened]
        if not ready:
            raise IntegrityError("the keybag has a wrap under a key that it does not have", hint="vlm doctor")
        for row in ready:
            if row.wrapped not in keys:
                raise IntegrityError(
                    "the keybag has a wrap of a key that it does not list", hint="vlm doctor"
                )
            opened[row.wrapped] = unwrap(opened[row.wrapping], row.content, row.binding(keys[row.wrapped]))
    if set(keys) - set(opened):
        raise IntegrityError("the keybag lacks a wrap of a key that it lists", hint="vlm doctor")


def _body(bag: Keybag) -> dict[str, Json]:
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "epoch": {
            "number": bag.epoch.number,
            "store_key": bag.epoch.store_key,
            "wrapped": _text(bag.epoch.wrapped),
            "created_at": bag.epoch.created_at,
        },
        "keys": [
            {
                "uid": key.uid,
                "purpose": key.purpose,
                "subject": key.subject,
                "ends_at": key.ends_at,
                "created_at": key.created_at,
            }
            for key in bag.keys
        ],
        "wraps": [
            {"wrapping": row.wrapping, "wrapped": row.wrapped, "bytes": _text(row.content)}
            for row in bag.wraps
        ],
    }


def _parsed(content: Mapping[str, Any]) -> Keybag:
    if content["format"] != _FORMAT or content["version"] != _VERSION:
        raise ValueError
    epoch = content["epoch"]
    number = int(epoch["number"])
    return Keybag(
        epoch=EpochRow(
            number=number,
            current=True,
            store_key=str(epoch["store_key"]),
            wrapped=base64.b64decode(epoch["wrapped"], validate=True),
            created_at=str(epoch["created_at"]),
        ),
        keys=tuple(
            KeyRow(key["uid"], key["purpose"], key["subject"], key["ends_at"], key["created_at"])
            for key in content["keys"]
        ),
        wraps=tuple(
            WrapRow(row["wrapping"], row["wrapped"], number, base64.b64decode(row["bytes"], validate=True))
            for row in content["wraps"]
        ),
    )


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _mac(content: Mapping[str, Json], store_key: bytes) -> str:
    key = blake3(store_key, derive_key_context="vlm 2026-11 keybag v1 mac").digest()
    return blake3(canonical_json(content), key=key).hexdigest()
