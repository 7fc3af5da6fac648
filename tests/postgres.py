"""A throw-away server of PostgreSQL for one process of tests, and one database in it for each registry."""

from __future__ import annotations

import atexit
import grp
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from functools import cache
from itertools import count
from pathlib import Path

import pytest

NOT_INSTALLED = (
    "PostgreSQL is not installed: apt-get install -y --no-install-recommends postgresql, or set VLM_TEST_POSTGRES to "
    "the folder of its programs"
)
# Nothing here must outlive the run, so no write waits for the disk.
FAST = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "autovacuum": "off",
    "jit": "off",
}


def binaries() -> Path | None:
    """Return the folder of initdb and postgres; None where PostgreSQL is not installed."""
    named = os.environ.get("VLM_TEST_POSTGRES")
    on_path = shutil.which("initdb")
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3].split(".")[0])
    )
    candidates = [
        *([Path(named)] if named else []),
        *(path.parent for path in reversed(found)),
        *([Path(on_path).parent] if on_path else []),
    ]
    return next((folder for folder in candidates if (folder / "initdb").exists()), None)


class Server:
    """One running server on a socket of its own; it ends with the process that started it.

    Args:
        settings: In place of `FAST`; empty for a server that keeps what it says it kept.
    """

    def __init__(self, settings: Mapping[str, str] = FAST) -> None:
        folder = binaries()
        if folder is None:
            raise FileNotFoundError(NOT_INSTALLED)
        self._binaries = folder
        self._settings = settings
        # The server's user must be able to enter every folder above, which pytest's own forbid.
        self.folder = Path(tempfile.mkdtemp(prefix="vlm-pg-"))
        self._as: list[str] = []
        if os.geteuid() == 0:
            # It refuses to run as root; Debian's package brings a user of its own.
            user = "postgres" if _exists("postgres") else "nobody"
            shutil.chown(self.folder, user)
            self._as = ["setpriv", f"--reuid={user}", f"--regid={grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name}",
                        "--init-groups"]  # fmt: skip
        self._numbers = count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._run(
            "initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"
        )
        self.start()
        atexit.register(self.end)

    @property
    def data(self) -> Path:
        """Where the server keeps its files."""
        return self.folder / "data"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = [f"-c{name}={value}" for name, value in self._settings.items()]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._as, *(["--pdeathsig=INT"] if self._as else []), self._binaries / "postgres",
                 "-D", self.data, f"-cunix_socket_directories={self.folder}", *options],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        for _ in range(600):
            ready = [self._binaries / "pg_isready", "-q", "-h", self.folder]
            if subprocess.run(ready, check=False).returncode == 0:
                return
            time.sleep(0.05)
        raise RuntimeError((self.folder / "log").read_text(errors="replace")[-2000:])

    def crash(self) -> None:
        """Stop it at once, as a machine without power would."""
        self._run("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop")
        if self._process is not None:
            self._process.wait(timeout=30)

    def end(self) -> None:
        """Stop it and remove what it kept."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self._process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str) -> str:
        """Return the URL of a database."""
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def ask(self, sql: str, *, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement outside any transaction, as the server's administrator."""
        import psycopg

        with psycopg.connect(
            host=str(self.folder), user="postgres", dbname=database, autocommit=True
        ) as connection:
            cursor = connection.execute(sql)  # type: ignore[call-overload]
            return list(cursor.fetchall()) if cursor.description else []

    def create(self, *, template: str = "template0") -> str:
        """Make a database and return its name."""
        name = f"r{next(self._numbers)}"
        self.ask(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return name

    def drop(self, name: str) -> None:
        """Remove a database, whoever uses it."""
        self.ask(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def migrated(self) -> str:
        """Make a database that holds an empty registry; the migrations run once for all of them."""
        return self.create(template=_template(self))

    def _run(self, program: str, *arguments: str | Path) -> None:
        command = [*self._as, self._binaries / program, *arguments]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.folder)
        if ran.returncode != 0:
            raise RuntimeError(f"{program} ended with {ran.returncode}: {ran.stderr}")


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


@cache
def _template(server: Server) -> str:
    from lifecycle.registry.engine import Registry

    name = server.create()
    registry = Registry.open(server.url(name))
    registry.close()
    return name


@cache
def server() -> Server:
    """Return this process's server, started on first use; without one the test is skipped, or fails in CI."""
    if binaries() is None:
        (pytest.fail if os.environ.get("VLM_TEST_REQUIRE_ALL") else pytest.skip)(NOT_INSTALLED)
    return Server()


class Databases:
    """The databases of the registries below the folders of tests, made when a folder is first asked for."""

    def __init__(self) -> None:
        self.active = False
        self._known: dict[Path, str] = {}

    def url_of(self, folder: Path) -> str | None:
        """Return the URL for the registry of a folder; None while the tests run on SQLite.

        A folder that was copied with its home gets a copy of the database that belongs to the original.
        """
        if not self.active:
            return None
        folder = folder.resolve()
        if folder not in self._known:
            mine = _installation(folder)
            original = next(
                (name for other, name in self._known.items() if mine and _installation(other) == mine), None
            )
            self._known[folder] = (
                server().migrated() if original is None else server().create(template=original)
            )
        return server().url(self._known[folder])

    def drop_below(self, folder: Path) -> None:
        """Remove the databases of a folder and of those in it."""
        folder = folder.resolve()
        for known in [each for each in self._known if each == folder or folder in each.parents]:
            server().drop(self._known.pop(known))


def _installation(folder: Path) -> str | None:
    try:
        return (folder / "home" / "installation").read_text(encoding="ascii").strip()
    except OSError:
        return None


databases = Databases()
