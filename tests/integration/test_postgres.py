"""A registry in PostgreSQL: several processes, and a server that goes away at any moment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection

from lifecycle.bootstrap import Rooms
from lifecycle.cli.main import _run
from lifecycle.domain import failpoints
from lifecycle.domain.errors import Busy, IntegrityError, Unavailable, UsageError, VlmError
from lifecycle.registry.engine import Registry
from lifecycle.registry.migrate import HEAD
from lifecycle.registry.postgres import PostgresDatabase
from lifecycle.services import jobs
from lifecycle.services.hold import hold, unhold
from lifecycle.services.trail import verify_trail
from tests.conftest import Vlm
from tests.files import recordings, weights
from tests.postgres import databases, server
from tests.rooms import session
from tests.unit.registry.sealers import XorSealer

pytestmark = pytest.mark.postgresql


@pytest.fixture
def where() -> Iterator[str]:
    """The URL of a database with an empty registry."""
    name = server().migrated()
    yield server().url(name)
    server().drop(name)


@pytest.fixture
def registry(where: str) -> Iterator[Registry]:
    opened = Registry.open(where, sealer=XorSealer())
    yield opened
    opened.close()


def end_every_backend() -> None:
    """End every connection to the server, as its restart or an administrator would."""
    server().ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'vlm'")


def size(registry: Registry) -> int:
    with registry.read() as uow:
        return uow.trail.head()[0]


def test_every_connection_answers_the_settings_that_were_asked_for(registry: Registry) -> None:
    with registry.read() as uow:
        told = {
            name: uow._connection.exec_driver_sql(f"SHOW {name}").scalar()
            for name in (
                "lock_timeout",
                "statement_timeout",
                "TimeZone",
                "transaction_isolation",
                "transaction_read_only",
            )
        }

    assert told == {
        "lock_timeout": "30s", "statement_timeout": "15min", "TimeZone": "UTC",
        "transaction_isolation": "repeatable read", "transaction_read_only": "on",
    }  # fmt: skip


def test_a_reader_sees_one_moment_whatever_is_written_meanwhile(registry: Registry, where: str) -> None:
    other = Registry.open(where, sealer=XorSealer())
    with registry.read() as reader:
        assert reader.trail.head()[0] == 0
        with other.write() as writer:
            writer.trail.append("note")
            writer.commit()
        assert reader.trail.head()[0] == 0
    other.close()

    assert size(registry) == 1


def test_two_registries_lie_in_two_schemas_of_one_database(where: str) -> None:
    server().ask("CREATE SCHEMA second", database=where.split("/")[3].split("?", maxsplit=1)[0])
    first = Registry.open(where, sealer=XorSealer())
    second = Registry.open(f"{where}&options=-csearch_path%3Dsecond", sealer=XorSealer())

    with first.write() as one, second.write() as two:  # neither waits for the other
        one.trail.append("first")
        two.trail.append("second")
        one.commit()
        two.commit()

    for opened, verb in ((first, "first"), (second, "second")):
        with opened.read() as uow:
            assert [stored.event.verb for stored in uow.trail.stored()] == [verb]
        assert opened.check() == []
        opened.close()


def test_a_process_keeps_few_connections(registry: Registry) -> None:
    for _ in range(10):
        with registry.write() as uow:
            uow.trail.append("note")
            uow.commit()
        size(registry)

    [(open_now,)] = server().ask(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'vlm' AND datname = "
        f"'{registry.database._url.database}'"  # type: ignore[attr-defined]
    )

    assert open_now == 1


def test_a_server_that_restarted_between_two_transactions_is_not_noticed(registry: Registry) -> None:
    with registry.write() as uow:
        uow.trail.append("before")
        uow.commit()
    end_every_backend()

    with registry.write() as uow:
        uow.trail.append("after")
        uow.commit()

    assert size(registry) == 2


@pytest.mark.parametrize("moment", ["start", "middle", "before commit"])
def test_a_server_that_goes_away_within_a_transaction_changes_nothing(
    registry: Registry, moment: str
) -> None:
    def work() -> None:
        with registry.write() as uow:
            if moment == "start":
                end_every_backend()
            uow.trail.append("lost")
            if moment == "middle":
                end_every_backend()
                uow.trail.append("lost")
            if moment == "before commit":
                end_every_backend()
            uow.commit()

    with pytest.raises(Unavailable, match="went away") as caught:
        work()

    assert "nothing was changed" in caught.value.message
    assert size(registry) == 0


@pytest.mark.parametrize(("kept", "events"), [(True, 1), (False, 0)])
def test_a_commit_whose_answer_was_lost_is_looked_up(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, kept: bool, events: int
) -> None:
    real = Connection.commit
    lost: list[bool] = []

    def commit(connection: Connection) -> None:
        if lost:
            return real(connection)
        lost.append(True)
        if kept:
            real(connection)
            connection.begin()
            connection.exec_driver_sql("SELECT 1")
        end_every_backend()
        return real(connection)  # the connection is gone, and so is the answer

    monkeypatch.setattr(Connection, "commit", commit)

    def work() -> None:
        with registry.write() as uow:
            uow.trail.append("told")
            uow.commit()

    if kept:
        work()
    else:
        with pytest.raises(Unavailable, match="nothing was changed"):
            work()

    assert size(registry) == events


def test_a_commit_that_nobody_can_look_up_is_said_to_be_unknown(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lifecycle.registry.postgres.RESOLVE_SECONDS", 0.1)
    registry = Registry.open(where, sealer=XorSealer())

    def work() -> None:
        with registry.write() as uow:
            uow.trail.append("told")
            server().crash()
            uow.commit()

    try:
        with pytest.raises(Unavailable, match="not known") as caught:
            work()
    finally:
        server().start()

    assert caught.value.exit_code == 7
    assert size(registry) == 0
    registry.close()


def test_a_server_that_is_down_is_said_in_one_sentence_and_comes_back(vlm: Vlm) -> None:
    server().crash()
    try:
        answers = [vlm.run(*words) for words in (["list"], ["hold", "kol-a", "--reason", "case"], ["doctor"])]
    finally:
        server().start()

    for answer in answers:
        assert answer.code == 7
        assert "cannot be reached" in answer.err
        assert "Traceback" not in answer.err
    vlm.ok("list")


# Each verb with the points that lie inside or around its transactions.
VERBS = {
    "register.": ["register", "kol-b", "--weights", "b.safetensors", "--audio", "more", "--subject", "ann"],
    "trail.": ["register", "kol-b", "--weights", "b.safetensors", "--audio", "more", "--subject", "ann"],
    "states.": ["deprecate", "kol-a"],
    "retire.": ["retire", "kol-a", "--purge-audio", "--yes"],
    "purge.": ["retire", "kol-a", "--purge-audio", "--yes"],
}
LOST = [
    (point, verb) for point in failpoints.POINTS for begin, verb in VERBS.items() if point.startswith(begin)
]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one registered voice, and files for a second one."""
    program = Vlm(tmp_path_factory.mktemp("lost"))
    program.ok("init")
    recordings(program.folder / "audio")
    recordings(program.folder / "more", seed=7)
    model = weights(program.folder / "a.safetensors")
    weights(program.folder / "b.safetensors", seed=7)
    program.ok(
        "register", "kol-a", "--weights", model, "--audio", program.folder / "audio", "--subject", "ann"
    )
    return program.folder


@pytest.mark.parametrize(("point", "words"), LOST, ids=[point for point, _ in LOST])
def test_a_verb_that_loses_its_server_anywhere_is_done_by_running_it_again(
    template: Path,
    tmp_path: Path,
    point: str,
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Every connection ends as the program passes one point, as when the server restarts."""
    vlm = Vlm(Path(shutil.copytree(template, tmp_path / "vlm")))
    cuts: list[str] = []

    def cut() -> None:
        if not cuts:
            cuts.append(point)
            end_every_backend()

    failpoints.arm(point, cut)
    try:
        code, told = here(vlm, words, monkeypatch, capfd)
    finally:
        failpoints.arm(None)
    assert code in {0, 7, 9}, told
    found, doctor = here(vlm, ["doctor"], monkeypatch, capfd)
    again, repeated = here(vlm, words, monkeypatch, capfd)

    assert code != 7 or "went away" in told
    assert found == 0, doctor
    assert again in {0, 9}, repeated
    assert here(vlm, ["trail", "verify"], monkeypatch, capfd)[0] == 0


def here(
    vlm: Vlm, words: Sequence[str | Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    """Run a command in this process; return its exit code and what it said."""
    with monkeypatch.context() as patched:
        for name, value in vlm.environment.items():
            patched.setenv(name, value)
        patched.setattr(sys, "argv", ["vlm", *map(str, words)])
        patched.chdir(vlm.folder)
        code = _run()
    told = capfd.readouterr()
    return code, told.out + told.err


def test_several_processes_write_at_once_and_the_trail_stays_one_chain(tmp_path: Path) -> None:
    with session(tmp_path) as rooms:
        url = rooms.settings.database_url
    program = (
        "import sys\n"
        "from lifecycle.registry.engine import Registry\n"
        "from tests.unit.registry.sealers import XorSealer\n"
        "r = Registry.open(sys.argv[1], sealer=XorSealer())\n"
        "for _ in range(25):\n"
        "    with r.write() as uow:\n"
        "        uow.trail.append('worked'); uow.commit()\n"
    )
    root = str(Path(__file__).parents[2])
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(url)], cwd=root, env={**os.environ, "PYTHONPATH": root}
        )
        for _ in range(4)
    ]

    assert [process.wait(timeout=120) for process in running] == [0] * 4
    with session(tmp_path) as rooms:
        report = verify_trail(rooms=rooms)
    assert (report.problems, report.size) == ((), 101)


def test_a_registry_of_another_home_is_refused(tmp_path: Path) -> None:
    with session(tmp_path / "one") as rooms:
        url = rooms.settings.database_url
    other = Vlm(tmp_path / "two").with_env(VLM_DATABASE_URL=str(url))
    (tmp_path / "two").mkdir()

    answer = other.run("init")

    assert answer.code == 5
    assert "another home" in answer.err


def test_a_home_whose_database_is_not_named_any_more_makes_no_second_registry(vlm: Vlm) -> None:
    bare = vlm.with_env(VLM_DATABASE_URL="sqlite")

    answer = bare.run("list")

    assert answer.code == 5
    assert "there is no registry in" in answer.err
    assert "VLM_DATABASE_URL" in answer.err
    assert not (vlm.home / "registry.db").exists()


def test_a_registry_from_a_newer_vlm_is_left_alone(vlm: Vlm) -> None:
    database = databases.url_of(vlm.folder).split("/")[3].split("?")[0]  # type: ignore[union-attr]
    server().ask("UPDATE alembic_version SET version_num = '9999'", database=database)

    answer = vlm.run("list")

    assert answer.code == 5
    assert "newer vlm" in answer.err


def test_a_password_is_never_printed(bare_vlm: Vlm) -> None:
    secret = "tooth-paste"
    url = f"postgresql://vlm:{secret}@/nothing?host={server().folder}"
    program = bare_vlm.with_env(VLM_DATABASE_URL=url)

    answers = [program.run("init"), program.run("config", "show"), program.run("list"), program.run("doctor")]

    assert [answer.code for answer in answers][:2] == [7, 0]
    assert all(secret not in answer.out + answer.err for answer in answers)


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("mysql://a/b", UsageError),
        ("postgresql://host/", UsageError),
        ("postgresql://u@127.0.0.1:1/db", Unavailable),
        ("postgresql://u@/db?host=/nonexistent", Unavailable),
        ("postgresql://u@/db?nonsense=1", VlmError),
    ],
)
def test_a_url_that_cannot_be_used_is_one_sentence(url: str, error: type[VlmError]) -> None:
    with pytest.raises(error) as caught:
        Registry.open(url)

    assert "\n" not in caught.value.message


def test_without_the_driver_the_way_to_install_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)

    with pytest.raises(Unavailable, match="psycopg") as caught:
        PostgresDatabase("postgresql://host/db")

    assert "pip install" in (caught.value.hint or "")


def test_a_writer_that_waits_too_long_says_that_another_writes(registry: Registry, where: str) -> None:
    second = Registry.open(where, sealer=XorSealer(), busy_seconds=0.1)

    with registry.write(), pytest.raises(Busy, match="nothing was changed"), second.write():
        pass

    second.close()


def test_rows_that_contradict_each_other_are_refused(registry: Registry) -> None:
    def work() -> None:
        with registry.write() as uow:
            for _ in range(2):
                uow._connection.exec_driver_sql(
                    "INSERT INTO registry_facts VALUES ('a', 'secret of a person')"
                )

    with pytest.raises(IntegrityError, match="contradict") as caught:
        work()

    assert "secret" not in caught.value.message


def test_a_table_that_is_gone_is_found(registry: Registry) -> None:
    with registry.database.changing() as connection:
        connection.exec_driver_sql("DROP TABLE findings")

    assert registry.check() == ['the table "findings" is missing']


def test_the_schema_is_made_once_and_says_so(registry: Registry) -> None:
    assert registry.schema_version() == HEAD


def on_another_machine(monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(jobs, "machine_id", lambda: "f" * 32)
        elsewhere.setattr(jobs, "boot_id", lambda: "another boot")
        work()


def test_a_job_of_another_machine_is_not_taken_for_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with session(tmp_path) as rooms:
        entered = jobs.working("train", rooms=rooms)
        folders: list[Path] = []
        on_another_machine(monkeypatch, lambda: folders.append(entered.__enter__()))

        assert jobs.clear_dead(rooms) == []
        assert folders[0].is_dir()
        assert [job.verb for job in jobs.elsewhere(rooms)] == ["train"]
        assert jobs.strays(rooms) == []

        assert jobs.end_elsewhere(rooms) == ["train"]
        assert not folders[0].exists()


def test_two_machines_hold_and_unhold_at_once(tmp_path: Path) -> None:
    with session(tmp_path) as one, session(tmp_path) as two:
        _voice(one)
        hold("kol-a", reason="case 1", rooms=one)
        hold("kol-a", reason="case 2", rooms=two)

        assert unhold("kol-a", rooms=one).released == 2
        assert verify_trail(rooms=two).problems == ()


def _voice(rooms: Rooms) -> None:
    from lifecycle.domain.voices import State, Voice

    now = rooms.clock()
    with rooms.registry.write() as uow:
        uow.voices.add(Voice("1" * 32, "kol-a", State.ACTIVE, None, None, "default", None, now, now))
        uow.commit()


def test_the_driver_is_the_one_that_is_documented() -> None:
    assert psycopg.__version__.startswith("3.")
