"""Carrying a registry between SQLite and PostgreSQL, interrupted anywhere, and never opened in two places."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lifecycle.bootstrap import Rooms
from lifecycle.domain import failpoints
from lifecycle.domain.errors import IntegrityError, Refused, Unavailable, UsageError
from lifecycle.domain.voices import State, Voice
from lifecycle.registry.engine import Registry
from lifecycle.services.jobs import working
from lifecycle.services.registry_move import MoveResult, move, show
from lifecycle.services.session import open_session
from lifecycle.services.trail import verify_trail
from lifecycle.settings import Settings
from tests.postgres import databases, server
from tests.rooms import session, settings_of

POINTS = [point for point in failpoints.POINTS if point.startswith("move.")]


class Crash(BaseException):
    """The process ends here."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose registry holds voices with every kind of value."""
    with session(tmp_path) as rooms, rooms.registry.write() as uow:
        for number in range(5):
            uow.voices.add(voice(number, rooms))
        uow.trail.append("note", voice_uid="0" * 32, details={"reason": "Änne\x00 \U0001f600"})
        uow.commit()
    return tmp_path


def voice(number: int, rooms: Rooms) -> Voice:
    facts = {"rate": 0.1, "deep": {"b": [1, None, True], "a": "ä\x00"}}
    uid, now = f"{number:032x}", rooms.clock()
    return Voice(uid, f"kol-{number}", State.ACTIVE, "ops", None, "default", None, now, now, facts=facts)


@pytest.fixture
def there(home: Path) -> Iterator[str]:
    """The other database, empty: PostgreSQL beside SQLite, and SQLite beside PostgreSQL."""
    if databases.active:
        yield "sqlite"
    else:
        name = server().create()
        yield server().url(name)
        server().drop(name)


def settings_there(home: Path, there: str) -> Settings:
    return replace(settings_of(home), database_url=None if there == "sqlite" else there)


def carry(home: Path, url: str, *, dry_run: bool = False, settings: Settings | None = None) -> MoveResult:
    rooms = open_session(settings or settings_of(home), writable=False)
    try:
        return move(url, rooms=rooms, confirm=lambda _question: None, dry_run=dry_run)
    finally:
        rooms.closing.clear()
        rooms.close()


def content(settings: Settings) -> tuple[object, ...]:
    rooms = open_session(settings)
    try:
        with rooms.registry.read() as uow:
            voices = [(each.name, each.facts, each.owner) for each in uow.voices.all()]
        report = verify_trail(rooms=rooms)
        return voices, report.size, report.problems, report.details
    finally:
        rooms.close()


def test_a_registry_is_the_same_after_a_move_and_goes_on_there(home: Path, there: str) -> None:
    voices, size, _, details = content(settings_of(home))

    done = carry(home, there)

    assert done.trail_size == size + 1
    assert content(settings_there(home, there)) == (voices, size + 1, (), details + 1)
    rooms = open_session(settings_there(home, there))
    with rooms.registry.write() as uow:
        uow.voices.add(voice(9, rooms))  # its id is one that no carried row has
        uow.trail.append("note")
        uow.commit()
    rooms.close()


def test_what_was_left_is_not_opened_again_and_says_where_to_go(home: Path, there: str) -> None:
    carry(home, there)

    with pytest.raises(Refused, match="was moved to") as caught, session(home):
        pass

    assert "VLM_DATABASE_URL" in (caught.value.hint or "")
    with session(home, writable=False) as rooms:
        assert show(rooms=rooms).moved_to is not None
        with pytest.raises(Refused, match="was moved to"), rooms.registry.write():
            pass


def test_a_process_that_had_it_open_cannot_write_into_what_was_left(home: Path, there: str) -> None:
    with session(home) as rooms:
        carry(home, there)

        with pytest.raises(Refused, match="was moved to"), rooms.registry.write():
            pass
        rooms.closing.clear()


def test_there_and_back_again(home: Path, there: str) -> None:
    voices, size, _, details = content(settings_of(home))
    carry(home, there)
    back = settings_of(home).database_url or "sqlite"

    carry(home, back, settings=settings_there(home, there))

    assert content(settings_of(home)) == (voices, size + 2, (), details + 2)
    with pytest.raises(Refused, match="was moved to"):
        open_session(settings_there(home, there))


@pytest.mark.parametrize("point", POINTS)
def test_a_move_that_was_killed_anywhere_is_finished_by_running_it_again(
    home: Path, there: str, point: str
) -> None:
    voices, size, _, _ = content(settings_of(home))

    def crash() -> None:
        raise Crash

    failpoints.arm(point, crash)
    try:
        with pytest.raises(Crash):
            carry(home, there)
    finally:
        failpoints.arm(None)
    alive = [opened for opened in (opens(settings_of(home)), opens(settings_there(home, there))) if opened]

    carry(home, there)

    assert len(alive) <= 1  # never in two places
    assert content(settings_there(home, there))[:3] == (voices, size + 1, ())


def opens(settings: Settings) -> bool:
    try:
        open_session(settings).close()
    except (IntegrityError, Refused):
        return False
    return True


def test_a_dry_run_changes_nothing_on_either_side(home: Path, there: str) -> None:
    before = content(settings_of(home))

    told = carry(home, there, dry_run=True)

    assert (told.dry_run, told.trail_size) == (True, before[1])
    assert content(settings_of(home)) == before
    with pytest.raises(IntegrityError, match="there is no registry"):
        open_session(settings_there(home, there))


def test_what_arrives_damaged_leaves_the_registry_where_it_was(home: Path, there: str) -> None:
    before = content(settings_of(home))
    target = Registry(settings_there(home, there).database_url or home / "home" / "registry.db")

    def damage() -> None:
        with target.change() as uow:
            uow._connection.exec_driver_sql("UPDATE voices SET owner = 'somebody' WHERE name = 'kol-3'")
            uow.commit()

    failpoints.arm("move.after_copy", damage)
    try:
        with pytest.raises(IntegrityError, match=r"not what was sent \(voices\)"):
            carry(home, there)
    finally:
        failpoints.arm(None)
        target.close()

    assert content(settings_of(home)) == before
    assert not opens(settings_there(home, there))


@pytest.mark.sqlite
def test_a_database_with_something_else_in_it_is_refused(home: Path, there: str) -> None:
    server().ask("CREATE TABLE voices (id int)", database=there.split("/")[3].split("?", maxsplit=1)[0])

    with pytest.raises(Refused, match="tables of something else"):
        carry(home, there)


@pytest.mark.sqlite
def test_the_registry_of_another_home_is_neither_filled_nor_opened(home: Path, there: str) -> None:
    other = home / "other"
    with session(other):
        pass
    carry(other, there)

    with pytest.raises(Refused, match="another home"):
        carry(home, there)
    with pytest.raises(IntegrityError, match="another home"):
        open_session(settings_there(home, there))


@pytest.mark.sqlite
def test_only_the_place_that_it_was_moved_to_counts_as_done(home: Path, there: str) -> None:
    carry(home, there)
    third = server().url(server().create())
    carry(home, third, settings=settings_there(home, there))

    with pytest.raises(Refused, match="was moved to"):
        carry(home, third)
    assert carry(home, there).finished


@pytest.mark.sqlite
def test_a_registry_that_nobody_moved_away_is_not_overwritten(home: Path, there: str) -> None:
    used = Registry.open(there)
    with used.write() as uow:
        uow.trail.append("note")
        uow.commit()
    used.close()

    with pytest.raises(Refused, match="holds a registry already"):
        carry(home, there)


@pytest.mark.parametrize("url", ["sqlite:////elsewhere/registry.db", "mysql://a/b"])
def test_a_place_that_cannot_be_is_a_usage_error(home: Path, url: str) -> None:
    with pytest.raises(UsageError):
        carry(home, url)


def test_a_server_that_is_not_there_is_said(home: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        carry(home, "postgresql://nobody@/vlm?host=/nonexistent")


def test_a_running_job_stops_the_move(home: Path, there: str) -> None:
    with (
        session(home) as rooms,
        working("train", rooms=rooms),
        pytest.raises(Refused, match="a train is running"),
    ):
        carry(home, there)
