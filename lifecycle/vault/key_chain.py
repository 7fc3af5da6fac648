"""Opening a key through the keys above it, down from what the key holder holds."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from lifecycle.domain.errors import IntegrityError, Refused
from lifecycle.vault import key_database as rows
from lifecycle.vault.holder import EpochGone, FileKeyHolder
from lifecycle.vault.key_database import EpochRow, KeyRow, WrapRow
from lifecycle.vault.wraps import unwrap

_DEEPEST = 8


class KeyDestroyed(Refused):
    """The key is gone, and with it everything that it sealed."""

    code = "key_destroyed"


class KeyChain:
    """The keys as one consistent view of keys.db shows them; opened one by one, as they are needed."""

    def __init__(
        self, connection: sqlite3.Connection, holder: FileKeyHolder, *, epoch: int | None = None
    ) -> None:
        """Look at a view of the database; with `epoch`, at the wraps of that epoch only."""
        self._connection = connection
        self._holder = holder
        self._only = epoch
        self._epochs: Mapping[int, EpochRow] = rows.epochs(connection)
        self._store_keys = {epoch.store_key: epoch for epoch in self._epochs.values()}
        self._opened_stores: dict[int, bytes] = {}
        self._opened: dict[tuple[str, int], bytes] = {}

    def store_key(self, epoch: EpochRow) -> bytes:
        """Return the store key of an epoch.

        Raises:
            EpochGone, IntegrityError: As the holder.
        """
        known = self._opened_stores.get(epoch.number)
        if known is None:
            known = self._holder.unwrap(epoch.number, epoch.wrapped, epoch.store_key)
            self._opened_stores[epoch.number] = known
        return known

    def material(self, uid: str) -> bytes:
        """Return a key.

        Raises:
            KeyDestroyed: No wrap of it is left.
            EpochGone: Its wraps are under epochs whose keys are gone.
            IntegrityError: A wrap does not open: it was changed or moved.
        """
        return self._open(uid, depth=0, epoch=self._only)

    def _open(self, uid: str, *, depth: int, epoch: int | None) -> bytes:
        key = rows.key_row(self._connection, uid)
        wraps = [wrap for wrap in rows.wrap_rows(self._connection, uid) if epoch in (None, wrap.epoch)]
        if key is None or not wraps:
            raise KeyDestroyed(f'key "{uid[:12]}" was destroyed; what it sealed cannot be read any more')
        if depth > _DEEPEST:
            raise IntegrityError("the wraps of the key database go in a circle", hint="vlm doctor")
        failure: EpochGone | KeyDestroyed | None = None
        for wrap in wraps:
            try:
                return self._through(wrap, key, depth)
            except (EpochGone, KeyDestroyed) as error:
                failure = failure or error
        assert failure is not None
        raise failure

    def _through(self, wrap: WrapRow, key: KeyRow, depth: int) -> bytes:
        known = self._opened.get((wrap.wrapped, wrap.epoch))
        if known is not None:
            return known
        epoch = self._store_keys.get(wrap.wrapping)
        if epoch is not None:
            above = self.store_key(epoch)
        else:
            above = self._open(wrap.wrapping, depth=depth + 1, epoch=wrap.epoch)
        opened = unwrap(above, wrap.content, wrap.binding(key))
        self._opened[wrap.wrapped, wrap.epoch] = opened
        return opened
