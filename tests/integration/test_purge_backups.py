"""A copy of VLM_HOME from before a purge, beside today's VLM_KEYS: who was purged stays closed, others open."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lifecycle.domain.errors import VlmError
from lifecycle.domain.voices import Artifact
from lifecycle.registry.engine import Registry
from lifecycle.vault import key_database as rows
from lifecycle.vault.blobs import BlobStore
from lifecycle.vault.key_chain import KeyChain
from lifecycle.vault.keybag import newest_keybag, read_keybag, restore_keybag
from lifecycle.vault.keys import FileKeyHolder, KeyDestroyed, KeyStore
from lifecycle.vault.wraps import open_small
from tests.conftest import Vlm
from tests.e2e.test_retire import register


@dataclass(frozen=True)
class Case:
    """One person with two voices, of which one was purged; `before` is a copy of VLM_HOME from before."""

    vlm: Vlm
    before: Path

    @property
    def keys(self) -> Path:
        """The folder of this installation in today's VLM_KEYS."""
        (folder,) = [path for path in self.vlm.keys.iterdir() if path.is_dir()]
        return folder

    def store(self, home: Path) -> KeyStore:
        holder = FileKeyHolder(self.keys / "epochs")
        return KeyStore(home / "keys.db", holder, clock=lambda: datetime.now(UTC))

    def sealed(self, voice: str) -> list[Artifact]:
        """What was sealed for a voice before the purge, evidence left out."""
        with reading(self.before) as registry, registry.read() as uow:
            artifacts = uow.voices.artifacts(uow.voices.get(voice).uid)
        return [a for a in artifacts if a.key_id is not None and a.data_class.value != "evidence"]


class reading:  # noqa: N801
    """A registry that is closed again."""

    def __init__(self, home: Path) -> None:
        self._registry = Registry.open(home / "registry.db")

    def __enter__(self) -> Registry:
        return self._registry

    def __exit__(self, *_: object) -> None:
        self._registry.close()


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    vlm = Vlm(tmp_path_factory.mktemp("purged"))
    vlm.ok("init")
    register(vlm, "leaver", seed=1)
    register(vlm, "survivor", seed=2)
    before = vlm.folder / "before"
    shutil.copytree(vlm.home, before)
    vlm.ok("retire", "leaver", "--purge-audio", "--yes")
    return Case(vlm, before)


def test_the_copy_did_open_before(case: Case) -> None:
    assert len(case.sealed("leaver")) >= 2
    assert len(case.sealed("survivor")) >= 2


def test_todays_keys_do_not_open_the_copy_of_who_was_purged(case: Case) -> None:
    store, blobs = case.store(case.before), BlobStore(case.before / "blobs")

    for artifact in case.sealed("leaver"):
        assert blobs.exists(artifact.digest), "the ciphertext is in the copy, so only keys protect it"
        assert artifact.key_id is not None
        with pytest.raises(VlmError):
            store.data_key(artifact.key_id)


def test_no_key_that_can_be_opened_today_opens_an_old_wrap_of_what_was_purged(case: Case) -> None:
    now = case.store(case.vlm.home)
    with now.database.read() as connection:
        chain = KeyChain(connection, now.holder)
        alive = [chain.material(uid) for uid in rows.key_rows(connection)]
        alive += [chain.store_key(epoch) for epoch in rows.epochs(connection).values()]
    purged = {artifact.key_id for artifact in case.sealed("leaver")}
    with rows.KeyDatabase(case.before / "keys.db").read() as connection:
        known = rows.key_rows(connection)
        every = rows.wrap_rows(connection)
    above = {wrap.wrapping for wrap in every if wrap.wrapped in purged}

    old = [wrap for wrap in every if wrap.wrapped in purged | above]

    assert old
    for wrap in old:
        bound = wrap.binding(known[wrap.wrapped]).associated_data()
        assert all(open_small(key, wrap.content, bound) is None for key in alive)


def test_the_other_voice_of_the_same_person_still_opens(case: Case) -> None:
    store, blobs = case.store(case.vlm.home), BlobStore(case.vlm.home / "blobs")
    originals = {path.read_bytes() for path in (case.vlm.folder / "recordings-survivor").iterdir()}

    opened = set()
    for artifact in case.sealed("survivor"):
        assert artifact.key_id is not None
        opened.add(blobs.read_bytes(artifact.digest, key=store.data_key(artifact.key_id), limit=1 << 24))

    assert originals <= opened


def test_the_copy_with_the_newest_keybag_opens_the_survivor_and_not_who_was_purged(
    case: Case, tmp_path: Path
) -> None:
    home = tmp_path / "restored"
    shutil.copytree(case.before, home)
    store = case.store(home)
    newest = newest_keybag(case.keys / "keybags")
    assert newest is not None
    with store.database.write() as connection:
        restore_keybag(connection, read_keybag(newest, store.holder))

    blobs = BlobStore(home / "blobs")
    for artifact in case.sealed("survivor"):
        assert artifact.key_id is not None
        assert blobs.read_bytes(artifact.digest, key=store.data_key(artifact.key_id), limit=1 << 24)
    for artifact in case.sealed("leaver"):
        assert artifact.key_id is not None
        with pytest.raises(KeyDestroyed):
            store.data_key(artifact.key_id)


def test_the_copy_in_the_place_of_todays_home_decrypts_nothing_and_says_so(
    case: Case, tmp_path: Path
) -> None:
    folder = tmp_path / "rolled-back"
    shutil.copytree(case.before, folder / "home")
    shutil.copytree(case.vlm.keys, folder / "keys")

    answer = Vlm(folder).run("speak", "survivor", "--text", "hello", "-o", folder / "x.wav", "--json")

    assert answer.code == 5, answer.out
    assert not answer.json["ok"]
