"""The hierarchy of keys: data keys under a person's subject key, that under the store key of an epoch.

The store key is wrapped by the key holder (files in VLM_KEYS). Whoever copies VLM_HOME therefore copies
ciphertext only, and a purge makes older copies unreadable by moving to a new epoch; see rotation.py.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from blake3 import blake3

from lifecycle.domain.digest import Digest
from lifecycle.domain.errors import Busy, IntegrityError, UsageError
from lifecycle.domain.failpoints import hit
from lifecycle.domain.progress import Progress
from lifecycle.vault import key_database as rows
from lifecycle.vault.files import locked
from lifecycle.vault.holder import EpochGone, FileKeyHolder
from lifecycle.vault.key_chain import KeyChain, KeyDestroyed
from lifecycle.vault.key_database import EpochRow, KeyDatabase, KeyRow, WrapRow
from lifecycle.vault.seal import DataKey
from lifecycle.vault.wraps import KEY_BYTES, open_small, seal_small, wrap

__all__ = ["DataKey", "EpochGone", "FileKeyHolder", "KeyDestroyed", "KeyStore", "PurgedKeys", "surviving"]

T = TypeVar("T")
DATA_PURPOSES = frozenset({"source", "template", "label", "evidence"})
# Keys without a person: of the look-up tags, of sealed rows, and above the data keys of voices without a person.
_INSTALLATION_KEYS = ("lookup", "row", "subject", "fingerprint")
_ROW = b"\x01"
_ROW_BOUND = b"vlm sealed row v1\x00"


@dataclass(frozen=True, slots=True)
class PurgedKeys:
    """What a purge of keys did.

    Attributes:
        destroyed: Ids of the data keys that no longer exist, those that were gone before included.
        old_epoch, new_epoch: Numbers of the epochs; equal when nothing was left to destroy.
        keybag: Where the surviving wraps were written, or None when nothing was left to destroy.
        verified_by: Who opened the surviving wraps before anything was destroyed, in words.
        residue: How many pieces of destroyed wraps were found in the files of keys.db afterwards.
        searched: False where a crash lost what to search for; keys.db was rewritten all the same.
    """

    destroyed: tuple[str, ...]
    old_epoch: int
    new_epoch: int
    keybag: Path | None
    verified_by: str
    residue: int
    searched: bool


def surviving(database: Path, key_ids: Collection[str]) -> set[str]:
    """Return which of these keys still have a wrap; needs no key, so that a verifier can ask.

    Raises:
        IntegrityError: The database is missing or damaged.
    """
    wanted = set(key_ids)
    with KeyDatabase(database).read() as connection:
        return {row.wrapped for row in rows.wrap_rows(connection)} & wanted


class KeyStore:
    """Creates, opens and destroys keys; everything that changes keys.db holds one lock."""

    def __init__(
        self,
        db: Path,
        holder: FileKeyHolder,
        *,
        random_bytes: Callable[[int], bytes] = os.urandom,
        clock: Callable[[], datetime],
        lock_seconds: float = 10.0,
    ) -> None:
        self.database = KeyDatabase(db, busy_seconds=lock_seconds)
        self.holder = holder
        self.random_bytes = random_bytes
        self._clock = clock
        self._lock_seconds = lock_seconds

    def create(self) -> None:
        """Make an empty key store with its first epoch and the keys of the installation; finds one that exists.

        Raises:
            IntegrityError: There are keys in VLM_KEYS but no key database, or the other way round: one of them was
                lost, or is another installation's, and a new one would open nothing.
        """
        if self._complete():
            if not self.holder.epochs():
                raise IntegrityError(
                    f'the keys of this registry are not in "{self.holder.folder}"',
                    hint="set VLM_KEYS to the folder that has them, or put a copy of that folder back",
                )
            return
        with self.locked():
            if not self.database.path.exists() and self.holder.epochs():
                raise IntegrityError(
                    f'the key database "{self.database.path.name}" is missing',
                    hint="vlm doctor",
                )
            self.database.create()
            with self.database.write() as connection:
                if not rows.epochs(connection):
                    number = max(self.holder.epochs(), default=0) or 1
                    rows.add_epoch(connection, self.new_epoch(number))
                for purpose in _INSTALLATION_KEYS:
                    if rows.find_key(connection, purpose=purpose, subject=None) is None:
                        self._add(connection, purpose=purpose, subject=None, parent=None)

    def _complete(self) -> bool:
        if not self.database.ready():
            return False
        with self.database.read() as connection:
            return all(
                rows.find_key(connection, purpose=purpose, subject=None) is not None
                for purpose in _INSTALLATION_KEYS
            )

    def create_subject(self, subject_uid: str) -> None:
        """Make the keys of a person: subject key, fingerprint key, key of sealed rows. Repeating it is fine."""
        with self._changing() as connection:
            if rows.find_key(connection, purpose="subject", subject=subject_uid) is not None:
                return
            subject, _ = self._add(connection, purpose="subject", subject=subject_uid, parent=None)
            # Wrapped by the store key itself: it must outlive a replaced subject key unchanged.
            self._add(connection, purpose="fingerprint", subject=subject_uid, parent=None)
            self._add(connection, purpose="row", subject=subject_uid, parent=subject)

    def create_data_key(
        self, *, subject_uid: str | None, purpose: str, until: datetime | None = None
    ) -> DataKey:
        """Make a key for one recording set (or one voice's goldens, one person's evidence).

        Args:
            subject_uid: The person, or None for a voice without a person.
            purpose: "source", "template", "label" or "evidence".
            until: For evidence: when its root may be destroyed.

        Raises:
            KeyDestroyed: The person's keys are gone.
            UsageError: An unknown purpose.
        """
        if purpose not in DATA_PURPOSES:
            raise UsageError(f'"{purpose}" is not what a data key is for')
        with self._changing() as connection:
            if purpose == "evidence":
                parent = self._evidence_root(connection, subject_uid, until)
            else:
                parent = _only(connection, purpose="subject", subject=subject_uid)
            key, material = self._add(connection, purpose=purpose, subject=subject_uid, parent=parent)
        return DataKey(id=key.uid, material=material)

    def data_key(self, key_id: str) -> DataKey:
        """Open a data key.

        Raises:
            KeyDestroyed: It is gone.
            IntegrityError: Its wrap does not open (`EpochGone`: the epoch's key is not in VLM_KEYS).
        """
        return DataKey(id=key_id, material=self._read(lambda _, chain: chain.material(key_id)))

    def key_ids(self, subject_uid: str | None) -> Mapping[str, str]:
        """Return the ids of a person's data keys, each with its purpose."""
        with self.database.read() as connection:
            found = rows.key_rows(connection).values()
            return {
                key.uid: key.purpose
                for key in found
                if key.subject == subject_uid and key.purpose in DATA_PURPOSES
            }

    def expired_evidence(self, now: datetime) -> list[str]:
        """Return the evidence keys whose end date has come."""
        with self.database.read() as connection:
            keys = rows.key_rows(connection)
            return [
                row.wrapped
                for row in rows.wrap_rows(connection)
                if (root := keys.get(row.wrapping)) is not None
                and root.purpose == "evidence-root"
                and root.ends_at is not None
                and datetime.fromisoformat(root.ends_at) <= now
            ]

    def seal_bytes(self, subject_uid: str | None, content: bytes) -> bytes:
        """Seal a row about a person, or (None) one of the installation.

        Raises:
            KeyDestroyed: The person's keys are gone.
        """
        key, material = self._read(_only_key("row", subject_uid))
        head = _ROW + bytes.fromhex(key)
        return head + seal_small(material, content, _ROW_BOUND + head, random_bytes=self.random_bytes)

    def open_bytes(self, sealed: bytes) -> bytes:
        """Open a sealed row; the row itself says with which key.

        Raises:
            KeyDestroyed: Its key is gone.
            IntegrityError: It was changed.
        """
        if len(sealed) < 17 or sealed[:1] != _ROW:
            raise IntegrityError("a sealed row is damaged", hint="vlm doctor")
        material = self._read(lambda _, chain: chain.material(sealed[1:17].hex()))
        content = open_small(material, sealed[17:], _ROW_BOUND + sealed[:17])
        if content is None:
            raise IntegrityError("a sealed row was changed", hint="vlm doctor")
        return content

    def seal_text(self, subject_uid: str | None, text: str) -> bytes:
        """Seal a text, such as a name or a path (also one that is no valid Unicode); see `seal_bytes`."""
        return self.seal_bytes(subject_uid, text.encode("utf-8", "surrogateescape"))

    def open_text(self, sealed: bytes) -> str:
        """Open a sealed text; see `open_bytes`."""
        return self.open_bytes(sealed).decode("utf-8", "surrogateescape")

    def fingerprint(self, subject_uid: str | None, content: Digest) -> str:
        """Return BLAKE3 of a content's digest, keyed for one person (or, None, for the installation): `blake3:hex`.

        Raises:
            KeyDestroyed: The person's keys are gone.
        """
        _, material = self._read(_only_key("fingerprint", subject_uid))
        return f"blake3:{blake3(str(content).encode('ascii'), key=material).hexdigest()}"

    def lookup_tag(self, text: str) -> str:
        """Return a keyed tag (64 hexadecimal digits) by which a name is found; case and form do not matter."""
        normal = unicodedata.normalize("NFC", unicodedata.normalize("NFKC", text).casefold()).strip()
        _, material = self._read(_only_key("lookup", None))
        return blake3(normal.encode("utf-8", "surrogateescape"), key=material).hexdigest()

    def purge(
        self,
        key_ids: Collection[str],
        *,
        subject_uid: str | None,
        subject_leaves: bool,
        progress: Progress | None = None,
        failpoint: Callable[[str], None] = hit,
    ) -> PurgedKeys:
        """Destroy data keys so that no older copy of VLM_HOME opens them with today's VLM_KEYS.

        Called again with the same arguments after any crash, it finishes and gives the same answer.

        Args:
            subject_leaves: Destroy every key of the person but evidence; else the subject key is replaced.

        Raises:
            Busy: Another process changes or reads the keys.
            IntegrityError: A surviving key did not open in the fresh process; nothing was destroyed.
        """
        from lifecycle.vault.rotation import Wanted, purge

        wanted = Wanted(tuple(sorted(set(key_ids))), subject_uid, subject_leaves=subject_leaves)
        with self.locked():
            return purge(self, wanted, progress=progress, failpoint=failpoint)

    def resume(self) -> bool:
        """Finish a purge of keys that was interrupted; False if there is none to finish."""
        from lifecycle.vault.rotation import resume

        with self.database.read() as connection:
            if rows.rotation(connection) is None:
                return False
        with self.locked():
            return resume(self, failpoint=hit)

    def restore_from_keybag(self) -> int:
        """Give an older copy of keys.db the wraps that survived, and those only; return how many keys.

        Raises:
            IntegrityError: There is no keybag, or it does not open with the keys that are held.
        """
        from lifecycle.vault.keybag import newest_keybag, read_keybag, restore_keybag

        with self.locked():
            path = newest_keybag(self.holder.folder.parent / "keybags")
            if path is None:
                raise IntegrityError("there is no keybag beside the keys", hint="vlm doctor")
            bag = read_keybag(path, self.holder)
            self.database.create()
            with self.database.write() as connection:
                restore_keybag(connection, bag)
            self.database.forget()
        return len(bag.keys)

    def check(self) -> Sequence[str]:
        """Return what `vlm doctor` should say about the keys, a sentence each; empty when all is well."""
        from lifecycle.vault.key_check import findings

        return findings(self)

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Hold the store-wide lock on keys."""
        path = self.database.path
        return locked(path.with_name(path.name + ".lock"), what="the keys", seconds=self._lock_seconds)

    def new_epoch(self, number: int) -> EpochRow:
        """Make an epoch: its key durable with the holder, its random store key wrapped by it."""
        self.holder.create(number)
        store_key_id = self.random_bytes(16).hex()
        wrapped = self.holder.wrap(number, self.random_bytes(KEY_BYTES), store_key_id)
        return EpochRow(
            number=number, current=True, store_key=store_key_id, wrapped=wrapped, created_at=self.now()
        )

    def now(self) -> str:
        """Return the time as it is stored."""
        return self._clock().isoformat(timespec="seconds")

    @contextlib.contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        with self.locked(), self.database.write() as connection:
            if rows.rotation(connection) is not None:
                raise Busy("a purge of keys was interrupted and must end first", hint="vlm doctor")
            yield connection

    def _read(self, work: Callable[[sqlite3.Connection, KeyChain], T]) -> T:
        try:
            with self.database.read() as connection:
                return work(connection, KeyChain(connection, self.holder))
        except EpochGone:
            # A purge may have ended between our view of the database and the look at the holder.
            with self.database.read() as connection:
                return work(connection, KeyChain(connection, self.holder))

    def _evidence_root(
        self, connection: sqlite3.Connection, subject: str | None, until: datetime | None
    ) -> KeyRow:
        ends_at = None if until is None else until.isoformat(timespec="seconds")
        root = rows.find_key(connection, purpose="evidence-root", subject=subject, ends_at=ends_at)
        if root is None:
            root, _ = self._add(
                connection, purpose="evidence-root", subject=subject, parent=None, ends_at=ends_at
            )
        return root

    def _add(
        self,
        connection: sqlite3.Connection,
        *,
        purpose: str,
        subject: str | None,
        parent: KeyRow | None,
        ends_at: str | None = None,
    ) -> tuple[KeyRow, bytes]:
        key = KeyRow(self.random_bytes(16).hex(), purpose, subject, ends_at, self.now())
        material = self.random_bytes(KEY_BYTES)
        rows.add_key(connection, key)
        chain = KeyChain(connection, self.holder)
        epoch = rows.current_epoch(connection)
        wrapping = epoch.store_key if parent is None else parent.uid
        above = chain.store_key(epoch) if parent is None else chain.material(parent.uid)
        empty = WrapRow(wrapping, key.uid, epoch.number, b"")
        content = wrap(above, material, empty.binding(key), random_bytes=self.random_bytes)
        rows.add_wrap(connection, WrapRow(wrapping, key.uid, epoch.number, content))
        return key, material


def _only(connection: sqlite3.Connection, *, purpose: str, subject: str | None) -> KeyRow:
    key = rows.find_key(connection, purpose=purpose, subject=subject)
    if key is None:
        whose = "the installation" if subject is None else f'subject "{subject[:12]}"'
        raise KeyDestroyed(f"the keys of {whose} were destroyed")
    return key


def _only_key(
    purpose: str, subject: str | None
) -> Callable[[sqlite3.Connection, KeyChain], tuple[str, bytes]]:
    def work(connection: sqlite3.Connection, chain: KeyChain) -> tuple[str, bytes]:
        uid = _only(connection, purpose=purpose, subject=subject).uid
        return uid, chain.material(uid)

    return work


def arguments_digest(text: str) -> str:
    """Return by what a rotation recognises that it is asked for again."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
