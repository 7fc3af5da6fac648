"""How a registry is opened, locked and kept, in either database."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from lifecycle.domain.errors import Busy, NotFound, Refused, Unavailable
from lifecycle.registry.engine import Registry
from lifecycle.registry.migrate import HEAD, migration_config, migration_folder
from tests.unit.registry.sealers import XorSealer


def test_the_newest_migration_is_the_one_that_the_program_knows() -> None:
    assert ScriptDirectory.from_config(migration_config()).get_heads() == [HEAD]


def test_opening_a_registry_that_is_up_to_date_does_not_import_alembic(registry: Registry) -> None:
    code = (
        "import sys; from pathlib import Path, PosixPath; from lifecycle.registry.engine import Registry;"
        f"Registry.open({registry.where!r}); print('alembic' in sys.modules)"
    )

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "False"


def test_the_migrations_are_found_inside_the_package_before_a_checkout(tmp_path: Path) -> None:
    package = tmp_path / "lifecycle"
    for folder in (package / "_data" / "migrations", tmp_path / "migrations"):
        folder.mkdir(parents=True)
        (folder / "env.py").touch()

    assert migration_folder(package) == package / "_data" / "migrations"


def test_an_installation_without_migrations_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="missing from this installation"):
        migration_folder(tmp_path / "lifecycle")


def test_what_is_not_committed_is_not_kept(registry: Registry) -> None:
    with registry.write() as uow:
        uow.trail.append("forgotten")

    with registry.read() as uow:
        assert uow.trail.head()[0] == 0


def test_an_error_inside_keeps_nothing(registry: Registry) -> None:
    def work() -> None:
        with registry.write() as uow:
            uow.trail.append("forgotten")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        work()

    with registry.read() as uow:
        assert uow.trail.head()[0] == 0


def test_a_reader_cannot_write(registry: Registry) -> None:
    with pytest.raises(Unavailable, match="cannot be opened for writing"), registry.read() as uow:
        uow.trail.append("sneaked")


def test_a_writer_waits_and_then_says_that_another_writes(registry: Registry) -> None:
    second = Registry.open(registry.where, sealer=XorSealer(), busy_seconds=0.05)

    with registry.write(), pytest.raises(Busy, match="nothing was changed"), second.write():
        pass


def test_readers_go_on_while_somebody_writes(registry: Registry) -> None:
    second = Registry.open(registry.where, sealer=XorSealer(), busy_seconds=0.05)

    with registry.write() as writer:
        writer.trail.append("begun")
        with second.read() as reader:
            assert reader.trail.head()[0] == 0


def test_many_writers_lose_no_event(registry: Registry) -> None:
    where = registry.where

    def work() -> None:
        mine = Registry.open(where, sealer=XorSealer())
        for _ in range(5):
            with mine.write() as uow:
                uow.trail.append("worked")
                uow.commit()
        mine.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with registry.read() as uow:
        assert [stored.event.sequence for stored in uow.trail.stored()] == list(range(20))


def test_a_registry_that_was_put_back_refuses_every_change(registry: Registry) -> None:
    registry.writable = False

    with pytest.raises(Refused, match="reading only"), registry.write():
        pass
