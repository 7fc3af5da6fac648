"""Opens what the vault keeps in VLM_HOME and what lies with the keys in VLM_KEYS."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from lifecycle.vault.anchor import AnchorFile
from lifecycle.vault.blobs import BlobStore
from lifecycle.vault.failpoints import arm_from
from lifecycle.vault.keys import FileKeyHolder, KeyStore
from lifecycle.vault.ledger import Ledger
from lifecycle.vault.signing import Signing


@dataclass(frozen=True)
class Vault:
    """The vault of one installation."""

    blobs: BlobStore
    keys: KeyStore
    signing: Signing
    anchor: AnchorFile
    ledger: Ledger


def open_vault(
    home: Path,
    keys: Path,
    installation_id: str,
    *,
    random_bytes: Callable[[int], bytes] = os.urandom,
    clock: Callable[[], datetime],
    shared: bool = False,
) -> Vault:
    """Open the vault, making what is not there yet.

    Args:
        home: VLM_HOME: blobs and wrapped keys.
        keys: VLM_KEYS: the keys of this installation lie in a folder of its id.
        shared: Other machines may open the same home at the same time.

    Raises:
        IntegrityError: The key database or the keys are lost or damaged; nothing was made in their place.
        Unavailable: A folder cannot be made.
    """
    # A core dump of a process that sees keys would hold them.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    arm_from(os.environ)
    folder = keys / installation_id
    store = KeyStore(
        home / "keys.db",
        FileKeyHolder(folder / "epochs", random_bytes=random_bytes),
        random_bytes=random_bytes,
        clock=clock,
    )
    store.create()
    store.database.share(shared)
    signing = Signing(folder / "signing", random_bytes=random_bytes)
    signing.create()
    return Vault(
        blobs=BlobStore(home / "blobs", random_bytes=random_bytes),
        keys=store,
        signing=signing,
        anchor=AnchorFile(folder / "anchor.json", signing),
        ledger=Ledger(folder / "ledger.jsonl", signing, clock=clock),
    )
