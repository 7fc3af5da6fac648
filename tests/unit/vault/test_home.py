from __future__ import annotations

import io
import resource
import stat

import pytest

from lifecycle.domain.errors import IntegrityError
from lifecycle.vault.home import open_vault
from tests.unit.vault.conftest import ANNA, NOW


def opened(tmp_path, installation="1" * 32):
    return open_vault(tmp_path / "home", tmp_path / "keys", installation, clock=lambda: NOW)


def test_a_vault_is_made_once_and_found_again(tmp_path):
    vault = opened(tmp_path)
    vault.keys.create_subject(ANNA)
    key = vault.keys.create_data_key(subject_uid=ANNA, purpose="source")
    stored = vault.blobs.put(io.BytesIO(b"a recording"), key=key)

    again = opened(tmp_path)

    assert again.blobs.read_bytes(stored.digest, key=again.keys.data_key(key.id), limit=100) == b"a recording"
    assert again.signing.trusted() == vault.signing.trusted()
    assert again.ledger.read() == []
    assert again.anchor.read() is None
    assert again.keys.check() == []


def test_two_installations_share_a_folder_of_keys_and_nothing_else(tmp_path):
    first = opened(tmp_path)
    second = open_vault(tmp_path / "home-2", tmp_path / "keys", "2" * 32, clock=lambda: NOW)

    assert {path.name for path in (tmp_path / "keys").iterdir()} == {"1" * 32, "2" * 32}
    assert first.keys.lookup_tag("Anna") != second.keys.lookup_tag("Anna")


def test_with_a_wrong_folder_of_keys_nothing_is_opened_and_nothing_is_made(tmp_path):
    opened(tmp_path)

    with pytest.raises(IntegrityError, match="the keys of this registry are not in"):
        open_vault(tmp_path / "home", tmp_path / "other", "1" * 32, clock=lambda: NOW)

    assert not (tmp_path / "other").exists()


def test_everything_is_the_owners_alone(tmp_path):
    opened(tmp_path)

    for path in (tmp_path / "home", tmp_path / "keys", *tmp_path.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_process_that_sees_keys_leaves_no_core_dump(tmp_path):
    opened(tmp_path)

    assert resource.getrlimit(resource.RLIMIT_CORE)[0] == 0
