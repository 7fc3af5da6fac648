"""The room that services get: runtimes of this user, and one warm worker for each that is used."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from lifecycle.domain.errors import Unavailable
from lifecycle.domain.progress import Progress, Silent
from lifecycle.runtimes import sandbox
from lifecycle.runtimes.model import Runtime, RuntimePlan
from lifecycle.runtimes.snapshot import EngineCopy, snapshot
from lifecycle.runtimes.store import RuntimeStore, engine_folder
from lifecycle.runtimes.uv import Uv
from lifecycle.runtimes.worker import Limits, Worker, Workers


class RuntimeSettings(Protocol):
    """The settings that this room reads."""

    @property
    def home(self) -> Path:
        """VLM_HOME; jobs are kept in its `work`."""

    @property
    def runtimes(self) -> Path:
        """VLM_RUNTIMES."""

    @property
    def torch_index(self) -> str | None:
        """Index of CPU builds of torch, "none", or None for PyTorch's own."""

    @property
    def wheels(self) -> tuple[Path, ...]:
        """Folders of wheels."""

    @property
    def offline(self) -> bool:
        """Never reach out."""

    @property
    def sandbox(self) -> str:
        """ "auto", "bwrap", "landlock" or "none"."""


class Runtimes:
    """Runtimes and workers of one command.

    Args:
        settings: The user's settings.
        progress: Where steps are told.
        environment: The process environment, for the settings of pip and uv.
    """

    def __init__(
        self,
        settings: RuntimeSettings,
        *,
        progress: Progress | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._settings = settings
        self._progress = progress or Silent()
        self.store = RuntimeStore(
            settings.runtimes,
            environment=_environment(settings, os.environ if environment is None else environment),
        )
        self._workers = Workers(self._start)
        self._engine_copy: EngineCopy | None = None

    @property
    def engine_hash(self) -> str:
        """ "blake3:<hex>" of the engine that workers run; verdicts carry it."""
        return self._engine().digest

    @property
    def sandbox(self) -> sandbox.Sandbox | None:
        """The fence that works here, or None: then nothing may be run and a verdict is `not_checked`."""
        return sandbox.choose(self._settings.sandbox)

    def list(self) -> list[Runtime]:
        """Return the finished runtimes, oldest torch first."""
        return self.store.list()

    def find(self, spec: str) -> Runtime | None:
        """Return the newest finished runtime that `spec` (2.13.0, 2.13, 2.x, newest or an id) names, or None."""
        return self.store.find(spec)

    def get(self, spec: str) -> Runtime:
        """Like `find`.

        Raises:
            NotFound: There is no such runtime here.
        """
        return self.store.get(spec)

    def uv(self) -> Uv:
        """Return uv with the user's settings, for questions to their index."""
        return self.store.uv(offline=self._settings.offline)

    def plan(self, spec: str, *, python: str | None = None) -> RuntimePlan:
        """Say what `add` would do; asks indexes, changes nothing (see `RuntimeStore.plan`)."""
        return self.store.plan(spec, python=python, offline=self._settings.offline)

    def add(self, plan: RuntimePlan, *, show: bool = False) -> Runtime:
        """Carry a plan out, telling each step (see `RuntimeStore.add`).

        Args:
            show: Let uv draw its own progress bars on this terminal.
        """
        step = self._progress.step("runtime", None, "")

        def tell(line: str, size_bytes: int | None = None) -> None:
            step.advance(0, line if size_bytes is None else f"{line} ({size_bytes / 1e6:.0f} MB)")

        runtime = self.store.add(plan, tell, offline=self._settings.offline, show=show)
        step.done(f"torch {runtime.torch} ({runtime.build}), Python {runtime.python}")
        return runtime

    def remove(self, runtime: Runtime) -> int:
        """Delete a runtime; returns the bytes that this frees."""
        return self.store.remove(runtime)

    def worker(self, runtime: Runtime, *, device: str = "cpu") -> Worker:
        """Return the warm worker of a runtime, for our own voices only; the first call starts it.

        It runs behind the fence that works here; where none does, as a plain process.

        Raises:
            WorkerCrashed: It did not come up.
            WorkerFailure: Its torch does not import.
        """
        return self._workers.get(runtime, device)

    def start_worker(
        self,
        runtime: Runtime,
        *,
        work: Path | None = None,
        device: str = "cpu",
        limits: Limits | None = None,
        trusted: bool = False,
    ) -> Worker:
        """Start a worker of its own for one job, such as loading a foreign file; the caller closes it.

        Args:
            work: Folder in which its inputs and outputs are made; by default below VLM_HOME.
            trusted: The job reads our own formats only, so it may run where no fence works.

        Raises:
            Unavailable: No fence works here, and the job is not trusted: nothing is run.
        """
        fence = self.sandbox or (sandbox.Sandbox(sandbox.Fence.PLAIN) if trusted else None)
        if fence is None:
            raise Unavailable(
                "neither bubblewrap nor Landlock works here, so nothing is run",
                hint="apt-get install bubblewrap",
            )
        home_work = self._settings.home / "work"
        return Worker.start(
            runtime,
            sandbox=fence,
            engine=self._engine(),
            work=work or (home_work if home_work.is_dir() else None),
            device=device,
            limits=limits or Limits(),
        )

    def close(self) -> None:
        """End all warm workers."""
        self._workers.close()

    def _engine(self) -> EngineCopy:
        if self._engine_copy is None:
            self._engine_copy = snapshot(engine_folder(), self._settings.runtimes)
        return self._engine_copy

    def _start(self, runtime: Runtime, device: str) -> Worker:
        return self.start_worker(runtime, device=device, trusted=True)


def _environment(settings: RuntimeSettings, environment: Mapping[str, str]) -> dict[str, str]:
    """Settings of vlm.toml count like their variables."""
    more = {"VLM_WHEELS": os.pathsep.join(map(str, settings.wheels))} if settings.wheels else {}
    if settings.torch_index:
        more["VLM_TORCH_INDEX"] = settings.torch_index
    return {**environment, **more}
