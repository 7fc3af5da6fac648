"""What `vlm doctor` looks at in the key store."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lifecycle.domain.errors import VlmError
from lifecycle.vault import key_database as rows
from lifecycle.vault.fresh import open_every
from lifecycle.vault.keybag import newest_keybag, read_keybag

if TYPE_CHECKING:
    from pathlib import Path

    from lifecycle.vault.keys import KeyStore


def findings(store: KeyStore) -> list[str]:
    """Return what is wrong with the keys, a sentence each."""
    found = list(_modes(store))
    try:
        found += _rows(store)
    except VlmError as error:
        found.append(error.message)
    return found


def _rows(store: KeyStore) -> Iterator[str]:
    with store.database.read() as connection:
        damage = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        epoch = rows.current_epoch(connection)
        pending = rows.rotation(connection)
        keys = rows.key_rows(connection)
        wraps = rows.wrap_rows(connection)
    if damage != "ok":
        yield f"the key database is damaged: {damage}"
    if pending is not None:
        yield f"a purge of keys was interrupted after step {pending.step!r}"
        return
    if any(row.epoch != epoch.number for row in wraps):
        yield "there are wraps under an old epoch"
    if missing := set(keys) - {row.wrapped for row in wraps}:
        yield f"{len(missing)} keys have no wrap"
    held = store.holder.epochs()
    if old := [number for number in held if number < epoch.number]:
        yield f"the keys of epochs {old} still lie in VLM_KEYS although a purge left them behind"
    if epoch.number not in held and held and max(held) > epoch.number:
        yield "VLM_KEYS is ahead of the key database: this is an older copy of VLM_HOME"
        return
    open_every(store.database.path, store.holder, epoch.number)
    bag = newest_keybag(store.holder.folder.parent / "keybags")
    if bag is not None:
        read_keybag(bag, store.holder)


def _modes(store: KeyStore) -> Iterator[str]:
    folder = store.holder.folder
    private: list[Path] = [*store.database.files(), folder.parent, folder]
    private += sorted(folder.iterdir()) if folder.is_dir() else []
    for path in private:
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            yield f'"{path}" can be read by others; close it with: chmod go= "{path}"'
