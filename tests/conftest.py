"""Shared fixtures: `vlm` as a process with a registry of its own, and a real torch runtime.

`pytest` runs everything with registries in SQLite. `pytest --database postgresql` runs what touches a registry
again, each registry in a database of a throw-away server; `make test` does both.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from lifecycle.runtimes.judge import Judge
from tests.postgres import NOT_INSTALLED, binaries, databases

# What tests read is English, whatever the developer's locale; those about languages set it themselves.
os.environ["LC_ALL"] = "C.UTF-8"

# No test is about time; in CI the same examples are tried each time.
settings.register_profile("vlm", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("vlm")

ROOT = Path(__file__).parents[1]
# Modules that touch a registry and still run on SQLite alone, each with its reason.
SQLITE_ONLY: Mapping[str, str] = {
    "tests.e2e.test_put_back": "a copy of VLM_HOME holds the registry only where it is a file",
    "tests.e2e.test_make": "its time is torch's: the rows of train and speak are those of test_every_use",
    "tests.e2e.test_verify": "its time is torch's: the rows of verify are those of test_verify_registry",
    "tests.e2e.test_inspect": "reads files and opens no registry",
    "tests.e2e.test_schedule": "prints and installs timers; what they start is test_nightly",
    "tests.integration.test_completion": "completes words, and reads one list for it",
    "tests.integration.test_lock_image": "its time is Docker's: the rows of a lock are those of test_lock",
    "tests.integration.test_runtimes": "installs and removes environments, which no registry knows of",
    "tests.integration.test_purge_backups": "a copy of VLM_HOME from before a purge, beside the keys from after it",
    "tests.property.test_trail": "hundreds of examples about hashes, each on a copy of one file",
}
# What a test that touches a registry uses.
_OPENS = {"vlm", "bare_vlm", "registry"}
_IMPORTS = {"session", "settings_of", "Registry", "Vlm", "database_url"}
TEST_RUNTIMES = Path(os.environ.get("VLM_TEST_RUNTIMES") or Path(sys.prefix) / "test-runtimes")


@dataclass(frozen=True)
class Answer:
    """What a command gave."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object on standard output."""
        loaded: dict[str, Any] = json.loads(self.out)
        return loaded


@dataclass(frozen=True)
class Vlm:
    """The program, run as a process in a folder of its own."""

    folder: Path
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def keys(self) -> Path:
        return self.folder / "keys"

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("VLM_")}
        return {
            **kept,
            "VLM_HOME": str(self.home),
            "VLM_KEYS": str(self.keys),
            "VLM_RUNTIMES": str(TEST_RUNTIMES),
            "VLM_CONFIG": str(self.folder / "vlm.toml"),
            "NO_COLOR": "1",
            **self._database,
            **self.extra,
        }

    @property
    def _database(self) -> Mapping[str, str]:
        url = None if "VLM_DATABASE_URL" in self.extra else databases.url_of(self.folder)
        return {} if url is None else {"VLM_DATABASE_URL": url}

    def with_env(self, **extra: str) -> Vlm:
        """The same registry with more environment variables."""
        return Vlm(self.folder, {**self.extra, **extra})

    def run(self, *arguments: str | Path, stdin: str | None = None, timeout_s: float = 300) -> Answer:
        """Run `vlm ...` to its end; text is decoded with replacements."""
        done = subprocess.run(
            [sys.executable, "-m", "lifecycle", *map(os.fspath, arguments)],
            cwd=self.folder,
            env=self.environment,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def ok(self, *arguments: str | Path, stdin: str | None = None) -> Answer:
        """Run `vlm ...`, which must end with 0."""
        answer = self.run(*arguments, stdin=stdin)
        assert answer.code == 0, f"{arguments} ended with {answer.code}\n{answer.out}\n{answer.err}"
        return answer

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """Start `vlm ...` and return the running process."""
        return subprocess.Popen(
            [sys.executable, "-m", "lifecycle", *map(os.fspath, arguments)],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )


def pytest_addoption(parser: pytest.Parser) -> None:
    """Choose the database of the registries."""
    parser.addoption("--database", choices=["sqlite", "postgresql"], default="sqlite")


def pytest_configure(config: pytest.Config) -> None:
    """Where nothing may be missing, PostgreSQL may not be either."""
    databases.active = config.getoption("--database") == "postgresql"
    if databases.active and binaries() is None and os.environ.get("VLM_TEST_REQUIRE_ALL"):
        raise pytest.UsageError(NOT_INSTALLED)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep what touches a registry, when the registries are in PostgreSQL; else what is not about PostgreSQL."""
    keeps = [
        _touches_a_registry(item) if databases.active else item.get_closest_marker("postgresql") is None
        for item in items
    ]
    config.hook.pytest_deselected(items=[item for item, kept in zip(items, keeps, strict=True) if not kept])
    items[:] = [item for item, kept in zip(items, keeps, strict=True) if kept]
    if databases.active and binaries() is None:
        for item in items:
            item.add_marker(pytest.mark.skip(reason=NOT_INSTALLED))


def _touches_a_registry(item: pytest.Item) -> bool:
    module = getattr(item, "module", None)
    if module is None or module.__name__ in SQLITE_ONLY or item.get_closest_marker("sqlite"):
        return False
    return bool(_OPENS & set(getattr(item, "fixturenames", ())) or _IMPORTS & set(vars(module)))


@pytest.fixture(autouse=True)
def _forget_databases(request: pytest.FixtureRequest) -> Iterator[None]:
    """Remove the databases of a test with its folder."""
    folder = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    yield
    if databases.active and folder is not None:
        databases.drop_below(folder)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Where nothing may be missing (VLM_TEST_REQUIRE_ALL), a skipped test of a real server has failed."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.skipped and os.environ.get("VLM_TEST_REQUIRE_ALL") and item.get_closest_marker("server"):
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be missing: {report.longrepr}"


@pytest.fixture
def bare_vlm(tmp_path: Path) -> Vlm:
    """The program without a registry."""
    return Vlm(tmp_path)


@pytest.fixture
def vlm(tmp_path: Path) -> Vlm:
    """The program with an empty registry."""
    program = Vlm(tmp_path)
    program.ok("init")
    return program


@pytest.fixture(scope="session")
def torch_runtime() -> str:
    """The version of the default torch, installed once by the real ladder into the tests' shared runtimes."""
    from lifecycle.settings import DEFAULT_TORCH

    environment = {**os.environ, "VLM_RUNTIMES": str(TEST_RUNTIMES)}
    done = subprocess.run(
        [sys.executable, "-m", "lifecycle", "runtime", "add", DEFAULT_TORCH, "--yes"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return DEFAULT_TORCH


@pytest.fixture(scope="session")
def debug_voice(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The files of a tiny voice of ours: weights, and the speaker file that makes it speak."""
    from engine.training.debug import make_debug_voice

    return make_debug_voice(tmp_path_factory.mktemp("debug"), seed=0)


@pytest.fixture(scope="session")
def recogniser() -> Judge:
    """A speech recogniser in an environment of its own; its package also brings real recordings."""
    from lifecycle.domain.errors import Unavailable
    from lifecycle.runtimes.indexes import package_settings
    from lifecycle.runtimes.judge import ensure_judge
    from lifecycle.runtimes.uv import make_uv

    try:
        return ensure_judge(TEST_RUNTIMES, make_uv(TEST_RUNTIMES, package_settings(os.environ), os.environ))
    except Unavailable as error:
        pytest.skip(f"{error.message}; {error.hint}")
