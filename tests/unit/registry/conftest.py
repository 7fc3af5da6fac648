from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lifecycle.registry.engine import Registry
from tests.postgres import databases, server
from tests.unit.registry.sealers import XorSealer


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated registry in SQLite; each test works on a copy of it."""
    path = tmp_path_factory.mktemp("registry") / "registry.db"
    registry = Registry.open(path)
    registry.vacuum()
    registry.close()
    return path


@pytest.fixture
def empty(tmp_path: Path, empty_registry: Path) -> Iterator[Path | str]:
    """Where an empty registry lies, in the database that the tests run on."""
    if databases.active:
        name = server().migrated()
        yield server().url(name)
        server().drop(name)
    else:
        shutil.copy(empty_registry, tmp_path / "registry.db")
        yield tmp_path / "registry.db"


@pytest.fixture
def registry(empty: Path | str) -> Iterator[Registry]:
    opened = Registry.open(empty, sealer=XorSealer(), busy_seconds=0.2)
    yield opened
    opened.close()
