from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lifecycle.registry.engine import Registry
from tests.unit.registry.sealers import XorSealer


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated registry; each test works on a copy of it."""
    path = tmp_path_factory.mktemp("registry") / "registry.db"
    registry = Registry.open(path)
    registry.vacuum()
    registry.close()
    return path


@pytest.fixture
def registry(tmp_path: Path, empty_registry: Path) -> Iterator[Registry]:
    shutil.copy(empty_registry, tmp_path / "registry.db")
    opened = Registry.open(tmp_path / "registry.db", sealer=XorSealer(), busy_seconds=0.2)
    yield opened
    opened.close()
