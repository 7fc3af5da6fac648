"""Who holds the keys of the epochs: here, files that only their owner can read, apart from the registry."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from lifecycle.domain.canonical import canonical_json
from lifecycle.domain.errors import IntegrityError
from lifecycle.vault.files import make_private, read_small, sync_folder, write_durably
from lifecycle.vault.wraps import KEY_BYTES, open_small, seal_small

_NAME = re.compile(r"epoch-(\d{8})\.key")


class EpochGone(IntegrityError):
    """The key of an epoch is not there: it was destroyed, or another VLM_KEYS is in use."""

    code = "epoch_gone"


class FileKeyHolder:
    """One random key-encryption key per epoch, `epoch-00000001.key` (0600), 64 hexadecimal digits."""

    def __init__(self, folder: Path, *, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self.folder = folder
        self._random_bytes = random_bytes

    def create(self, epoch: int) -> None:
        """Make the key of an epoch durable; one that exists is kept."""
        make_private(self.folder)
        if not self._path(epoch).exists():
            write_durably(self._path(epoch), self._random_bytes(KEY_BYTES).hex().encode() + b"\n")

    def epochs(self) -> list[int]:
        """Return the epochs whose keys are held, in order."""
        if not self.folder.is_dir():
            return []
        found = (_NAME.fullmatch(path.name) for path in self.folder.iterdir())
        return sorted(int(match[1]) for match in found if match)

    def wrap(self, epoch: int, store_key: bytes, store_key_id: str) -> bytes:
        """Encrypt the store key of an epoch.

        Raises:
            EpochGone: The epoch's key is not held.
        """
        return seal_small(
            self._key(epoch), store_key, _bound(epoch, store_key_id), random_bytes=self._random_bytes
        )

    def unwrap(self, epoch: int, wrapped: bytes, store_key_id: str) -> bytes:
        """Decrypt the store key of an epoch.

        Raises:
            EpochGone: The epoch's key is not held.
            IntegrityError: The wrap does not open with it.
        """
        store_key = open_small(self._key(epoch), wrapped, _bound(epoch, store_key_id))
        if store_key is None:
            raise IntegrityError(
                f"the store key of epoch {epoch} does not open with VLM_KEYS", hint="vlm doctor"
            )
        return store_key

    def destroy(self, epoch: int) -> bool:
        """Remove the key of an epoch durably; False if it was gone.

        The file is overwritten first, which reaches the old blocks on some disks and promises nothing.
        """
        path = self._path(epoch)
        for unfinished in self.folder.glob(".epoch-*.tmp"):  # of a process that died while it made a key
            unfinished.unlink(missing_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        try:
            os.write(descriptor, b"0" * os.fstat(descriptor).st_size)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        path.unlink(missing_ok=True)
        sync_folder(self.folder)
        return True

    def _key(self, epoch: int) -> bytes:
        try:
            text = read_small(self._path(epoch), limit=4096).strip()
        except FileNotFoundError:
            raise EpochGone(
                f'the key of epoch {epoch} is not in "{self.folder}"',
                hint="vlm doctor",
            ) from None
        try:
            key = bytes.fromhex(text.decode("ascii"))
        except ValueError:
            key = b""
        if len(key) != KEY_BYTES:
            raise IntegrityError(f"the key file of epoch {epoch} is damaged", hint="vlm doctor")
        return key

    def _path(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch:08d}.key"


def _bound(epoch: int, store_key_id: str) -> bytes:
    return b"vlm store key v1\x00" + canonical_json({"epoch": epoch, "key": store_key_id})
