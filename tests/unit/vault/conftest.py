from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lifecycle.vault.holder import FileKeyHolder
from lifecycle.vault.keys import KeyStore

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ANNA, BORIS = "a" * 32, "b" * 32


@dataclass(frozen=True)
class Place:
    """A home with its keys apart from it, and what a backup of either would be."""

    folder: Path

    def keys(self, home: str = "home", holder: str = "keys", *, lock_seconds: float = 2.0) -> KeyStore:
        return KeyStore(
            self.folder / home / "keys.db",
            FileKeyHolder(self.folder / holder / "epochs"),
            clock=lambda: NOW,
            lock_seconds=lock_seconds,
        )

    def copy(self, name: str, to: str) -> None:
        shutil.copytree(self.folder / name, self.folder / to)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place that is made once and copied: making keys waits for the disk."""
    place = Place(tmp_path_factory.mktemp("template") / "place")
    store = place.keys()
    store.create()
    store.create_subject(ANNA)
    store.create_subject(BORIS)
    return place.folder


@pytest.fixture
def place(template: Path, tmp_path: Path) -> Place:
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return Place(tmp_path)
