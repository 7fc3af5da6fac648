"""The managed runtimes of this machine: list, plan, add, remove.

A runtime is built at its final path, because an environment holds absolute paths, and exists from the moment its
`runtime.json` does: that file is written last. A folder without it is what a crash left; the next `add` clears it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from packaging.version import Version

from lifecycle.domain.errors import Busy, NotFound, Unavailable
from lifecycle.runtimes import build, pythons
from lifecycle.runtimes.indexes import package_settings
from lifecycle.runtimes.model import Interpreter, Progress, Runtime, RuntimePlan, Wheel, silent
from lifecycle.runtimes.uv import Uv, make_uv
from lifecycle.runtimes.wheels import Search, TorchSpec

_MARKER = "runtime.json"
_SOURCES = {"cpu-index": "PyTorch's CPU index", "index": "package index, CUDA build without CUDA"}
#: Room for what comes beside torch and for what unpacking takes beyond twice the wheel.
_ROOM_BYTES = 1_000_000_000
#: How long `add` waits for another process that makes the same runtime.
_WAIT_S = 1800.0
_WAITING = "another process is making this runtime; waiting for it"


class RuntimeStore:
    """The runtimes below one folder, shared by all registries of a user.

    Args:
        root: VLM_RUNTIMES.
        environment: The user's environment: index settings, VLM_WHEELS, VLM_TORCH_INDEX.
        requirements: What the engine needs besides torch, as PEP 508 lines.
    """

    def __init__(
        self,
        root: Path,
        *,
        environment: Mapping[str, str] | None = None,
        requirements: tuple[str, ...] | None = None,
    ) -> None:
        self.root = root
        self._environment = dict(os.environ if environment is None else environment)
        self._requirements = engine_requirements() if requirements is None else requirements

    def list(self) -> list[Runtime]:
        """Return the finished runtimes, oldest torch first."""
        files = sorted(self.root.glob(f"*/{_MARKER}"))
        found = [runtime for file in files if (runtime := _read(file)) is not None]
        return sorted(found, key=lambda runtime: (Version(runtime.torch), runtime.id))

    def find(self, spec: str) -> Runtime | None:
        """Return the newest finished runtime that `spec` (2.13.0, 2.13, 2.x, newest or an id) names."""
        runtimes = self.list()
        for runtime in runtimes:
            if runtime.id == spec:
                return runtime
        wanted = TorchSpec.parse(spec)
        fitting = [runtime for runtime in runtimes if wanted.accepts(runtime.torch)]
        return fitting[-1] if fitting else None

    def get(self, spec: str) -> Runtime:
        """Like `find`.

        Raises:
            NotFound: There is no such runtime here.
        """
        found = self.find(spec)
        if found is None:
            raise NotFound(f'no runtime with torch "{spec}" is installed', hint=f"vlm runtime add {spec}")
        return found

    def plan(self, spec: str, *, python: str | None = None, offline: bool = False) -> RuntimePlan:
        """Say what `add` would do; asks indexes, changes nothing.

        Raises:
            UsageError: The version or the Python cannot be understood.
            Unavailable: No rung of the ladder has a fitting wheel.
        """
        wanted = TorchSpec.parse(spec)
        interpreter = self._interpreter(wanted, python)
        existing = self._existing(wanted, interpreter, any_python=python is None) if wanted.exact else None
        if existing is not None:
            return RuntimePlan(existing.torch, existing.source, 0, interpreter, None, existing, ())
        search = Search(
            wanted, interpreter, self.uv(offline=offline), self._environment.get("VLM_TORCH_INDEX")
        )
        wheel = search.find()
        exact = TorchSpec.parse(wheel.public)
        existing = self._existing(exact, interpreter, any_python=python is None)
        if existing is not None:
            return RuntimePlan(existing.torch, existing.source, 0, interpreter, None, existing, ())
        return RuntimePlan(
            wheel.public,
            _source(wheel),
            0 if wheel.local else wheel.size_bytes,
            interpreter,
            wheel,
            None,
            _steps(wheel),
        )

    def add(
        self, plan: RuntimePlan, progress: Progress = silent, *, offline: bool = False, show: bool = False
    ) -> Runtime:
        """Carry a plan out; a runtime that another process finished meanwhile is returned as it is.

        Args:
            show: Let uv draw its own progress on this terminal.

        Raises:
            Unavailable: A package could not be had, there is no room, or torch does not run.
            Busy: Another process still builds or removes the same runtime after half an hour.
        """
        if plan.existing is not None or plan.wheel is None:
            return self.get(plan.existing.id if plan.existing else plan.torch)
        self.root.mkdir(parents=True, exist_ok=True)
        folder = self.root / f"torch-{_safe(plan.wheel.version)}-{plan.python.tag}"
        with self._locked(folder.name, wait_s=_WAIT_S, waiting=lambda: progress(_WAITING, None)):
            finished = _read(folder / _MARKER)
            if finished is not None:
                return finished
            self._room(plan.wheel)
            build.remove_tree(folder)
            folder.mkdir()
            try:
                runtime = self._build(folder, plan, progress, offline=offline, show=show)
            except OSError as error:
                build.remove_tree(folder)
                raise Unavailable(
                    f'"{folder}" could not be written: {error.strerror}', hint="vlm runtime list"
                ) from error
            except BaseException:
                build.remove_tree(folder)
                raise
        return runtime

    def remove(self, runtime: Runtime) -> int:
        """Delete a runtime and return the bytes that this frees (files shared with others free nothing).

        Raises:
            Busy: Another process builds or removes it.
        """
        with self._locked(runtime.path.name):
            freed = size_bytes(runtime.path, private=True)
            # without its marker it is no runtime any more, whatever happens to the rest
            (runtime.path / _MARKER).unlink(missing_ok=True)
            build.remove_tree(runtime.path)
        return freed

    def _build(
        self, folder: Path, plan: RuntimePlan, progress: Progress, *, offline: bool, show: bool
    ) -> Runtime:
        wheel = plan.wheel
        assert wheel is not None
        uv = self.uv(offline=offline, show=show)
        venv = folder / "venv"
        build.make_environment(uv, plan.python, venv)
        built = build.fill(
            uv,
            venv,
            python=plan.python,
            wheel=wheel,
            requirements=self._requirements,
            progress=progress,
        )
        progress("compiling", None)
        build.compile_all(venv)
        lock_text = json.dumps(built.lock, sort_keys=True, separators=(",", ":"))
        runtime = Runtime(
            path=folder,
            id=folder.name,
            torch=plan.torch,
            build=built.build,
            python=plan.python.text,
            python_prefix=str(plan.python.prefix),
            platform=f"{platform.system().lower()}-{platform.machine()}",
            source=_source(wheel),
            created=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            lock=built.lock,
            lock_hash="sha256:" + hashlib.sha256(lock_text.encode()).hexdigest(),
            cuda_arch=tuple(str(built.facts.get("arch") or "").split()),
            numpy=built.facts.get("numpy"),
        )
        _write(folder / _MARKER, runtime)
        return runtime

    def _interpreter(self, wanted: TorchSpec, python: str | None) -> Interpreter:
        if python is not None:
            return pythons.chosen(python)
        found = pythons.find("" if wanted.floating else wanted.text)
        if found is None:
            raise Unavailable(
                f"torch {wanted.text} needs Python {pythons.names_for(wanted.text)}, and none was found",
                hint=f"vlm runtime add {wanted.text} --python /path/to/python3",
            )
        return found

    def _existing(self, wanted: TorchSpec, python: Interpreter, *, any_python: bool) -> Runtime | None:
        minor = ".".join(map(str, python.minor)) + "."
        fitting = [runtime for runtime in self.list() if wanted.accepts(runtime.torch)]
        return next((runtime for runtime in fitting if any_python or runtime.python.startswith(minor)), None)

    def uv(self, *, offline: bool, show: bool = False) -> Uv:
        """Return uv, bound to the user's settings of pip and uv."""
        settings = package_settings(self._environment)
        return make_uv(self.root, settings, self._environment, offline=offline, show=show)

    def _room(self, wheel: Wheel) -> None:
        free = shutil.disk_usage(self.root).free
        needed = _ROOM_BYTES + 2 * (wheel.size_bytes or 0)
        if free < needed:
            raise Unavailable(
                f"torch {wheel.public} needs about {needed / 1e9:.1f} GB while it is unpacked, and "
                f'"{self.root}" has {free / 1e9:.1f} GB left',
                hint="vlm runtime list",
            )

    @contextlib.contextmanager
    def _locked(
        self, name: str, *, wait_s: float = 0.0, waiting: Callable[[], None] = lambda: None
    ) -> Iterator[None]:
        """Hold the runtime's lock; wait for another process at most `wait_s`, and say so once."""
        locks = self.root / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        with (locks / name).open("w") as lock:
            deadline = time.monotonic() + wait_s
            told = False
            while not _try_lock(lock.fileno()):
                if time.monotonic() >= deadline:
                    raise Busy(f'another process is working on the runtime "{name}"', hint="vlm runtime list")
                if not told:
                    waiting()
                    told = True
                time.sleep(0.5)
            yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def engine_requirements() -> tuple[str, ...]:
    """Return the engine's requirements besides torch, from the file that travels with it."""
    file = engine_folder() / "requirements" / "base.txt"
    lines = file.read_text("utf-8").splitlines()
    return tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def engine_folder() -> Path:
    """Find `engine/` beside `lifecycle/` without importing it."""
    return Path(__file__).resolve().parents[2] / "engine"


def size_bytes(folder: Path, *, private: bool = False) -> int:
    """Return the blocks that a folder holds on disk, each inode once.

    Args:
        private: Count only files that no other folder shares by hard link.
    """
    seen: set[tuple[int, int]] = set()
    total = 0
    for parent, _folders, files in os.walk(folder):
        for name in files:
            status = (Path(parent) / name).lstat()
            key = (status.st_dev, status.st_ino)
            if key in seen or (private and status.st_nlink > 1):
                continue
            seen.add(key)
            total += status.st_blocks * 512
    return total


def _source(wheel: Wheel) -> str:
    if wheel.rung == "folder":
        return f"wheel folder {Path(wheel.location).parent}"
    if wheel.rung == "index" and platform.system() != "Linux":
        return "package index"
    return _SOURCES[wheel.rung]


def _steps(wheel: Wheel) -> tuple[str, ...]:
    steps = [f"install {wheel.name}", "install numpy and what torch needs in Python, no CUDA packages"]
    if wheel.rung == "index" and platform.system() == "Linux":
        steps.append("generate stub libraries in place of CUDA")
    return (*steps, "test in a child process and compile")


def _safe(version: str) -> str:
    return "".join(letter if letter.isalnum() or letter in ".+" else "." for letter in version)


def _read(file: Path) -> Runtime | None:
    try:
        told: dict[str, Any] = json.loads(file.read_text("utf-8"))
        known = {field.name for field in fields(Runtime)} - {"path"}
        values = {name: value for name, value in told.items() if name in known}
        values["lock"] = tuple(values["lock"])
        values["cuda_arch"] = tuple(values.get("cuda_arch", ()))
        return Runtime(path=file.parent, **values)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _write(file: Path, runtime: Runtime) -> None:
    told = asdict(runtime)
    told.pop("path")
    temporary = file.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as stream:
        json.dump(told, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.rename(file)
    descriptor = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
