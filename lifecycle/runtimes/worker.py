"""The client of a worker: starts one behind a fence, hands files in, asks, and takes results out.

Nothing that comes back is believed: lines, payloads and standard error are bounded, results are plain values and
arrays, files are opened without following links. A worker that breaks the protocol, dies or is too slow is
killed, and the call raises.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from engine import protocol
from lifecycle.domain.errors import Unavailable
from lifecycle.runtimes.faults import WorkerCrashed, WorkerFailure, clean
from lifecycle.runtimes.machine import folder_prefix
from lifecycle.runtimes.model import Runtime
from lifecycle.runtimes.outputs import plain_name, read_output
from lifecycle.runtimes.process import GRACE_S, Limits, Tail, kill, pipe, status_words
from lifecycle.runtimes.sandbox import Cell, Sandbox
from lifecycle.runtimes.snapshot import EngineCopy

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Limits", "Reply", "Worker", "WorkerCrashed", "WorkerFailure", "Workers"]

_START_TIMEOUT_S = 180.0


@dataclass(frozen=True)
class Reply:
    """A result.

    Args:
        values: JSON values.
        raw: Named arrays as they came.
        bytes: Bytes that belong to no array.
        wall_s: How long the call took.
    """

    values: Mapping[str, Any]
    raw: tuple[protocol.Array, ...] = ()
    bytes: bytes = field(default=b"", repr=False)
    wall_s: float = 0.0

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """The named arrays as read-only numpy arrays."""
        import numpy as np

        return {
            each.name: np.frombuffer(each.data, dtype=each.dtype).reshape(each.shape) for each in self.raw
        }


class Worker:
    """A running worker; use it as a context manager.

    Calls come from one thread at a time. The thread that starts it must outlive it: the fence ends the worker
    with its parent.

    Args:
        process: The fenced process.
        hello: What the worker said about itself.
        inputs: Folder whose files the worker sees, read-only.
        outputs: Folder the worker writes.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], *, sandbox: Sandbox, cell: Cell, work: Path, answer_bytes: int
    ) -> None:
        self._process = process
        self._sandbox = sandbox
        self._cell = cell
        self._work = work
        self._ids = itertools.count(1)
        self._messages: queue.Queue[protocol.Message | Exception | None] = queue.Queue(maxsize=64)
        self._stderr = Tail(process.stderr)
        reader = protocol.Reader(
            pipe(process.stdout), allow=("hello", "event", "result", "error"), max_payload=answer_bytes
        )
        threading.Thread(target=self._read, args=(reader,), daemon=True).start()
        self.hello: protocol.Hello = self._greet()

    @classmethod
    def start(
        cls,
        runtime: Runtime,
        *,
        sandbox: Sandbox,
        engine: EngineCopy,
        work: Path | None = None,
        device: str = "cpu",
        limits: Limits = Limits(),  # frozen, so one for all is fine
    ) -> Worker:
        """Start a worker of a runtime behind a fence.

        Args:
            engine: The copy of the engine that runs.
            work: Folder for this worker's inputs and outputs, a job's own where they are personal data; a temporary
                one by default. What is in it is deleted at the end.
            device: "auto", "cpu", "cuda" or "mps".
            limits: Bounds of the process.

        Raises:
            WorkerCrashed: It did not come up.
            WorkerFailure: Its torch does not import.
            Unavailable: It is not the engine or protocol of this vlm.
        """
        folder = Path(tempfile.mkdtemp(prefix=folder_prefix(), dir=work))
        read = (runtime.path, Path(runtime.python_prefix), engine.folder)
        cell = Cell(read, folder / "inputs", folder / "outputs", limits.threads)
        for inner in (cell.inputs, cell.outputs):
            inner.mkdir(mode=0o700)
        program = [str(runtime.executable), "-I", str(engine.script)]
        program += ["--limits", limits.as_json(), "--threads", str(limits.threads), "--device", device]
        program += ["--engine-hash", engine.digest]
        process = subprocess.Popen(
            sandbox.command(cell, program),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env={"PATH": os.defpath},
        )
        try:
            worker = cls(process, sandbox=sandbox, cell=cell, work=folder, answer_bytes=limits.answer_bytes)
        except BaseException:
            kill(process)
            shutil.rmtree(folder, ignore_errors=True)
            raise
        if (worker.hello.protocol, worker.hello.engine_hash) != (protocol.PROTOCOL, engine.digest):
            worker.close(grace_s=0)
            raise Unavailable("the worker runs another engine than this vlm", hint="vlm doctor")
        return worker

    @property
    def sandbox(self) -> str:
        """The fence it runs behind: "bwrap", "landlock" or "plain"."""
        return self._sandbox.name

    @property
    def alive(self) -> bool:
        """True while the process runs."""
        return self._process.poll() is None

    @property
    def stderr(self) -> str:
        """The last words on standard error, without control characters."""
        return self._stderr.text()

    @property
    def outputs(self) -> Path:
        """The folder where the worker's files appear."""
        return self._cell.outputs

    def put(self, file: Path, name: str | None = None) -> str:
        """Hand a file in and return its path as the worker sees it.

        The file is linked where the disk allows it, else copied.

        Args:
            name: A plain basename; the file's own by default.
        """
        target = self._cell.inputs / plain_name(name or file.name)
        target.unlink(missing_ok=True)
        try:
            os.link(file, target, follow_symlinks=True)
        except OSError:
            shutil.copyfile(file, target)
        return str(self._sandbox.inputs(self._cell) / target.name)

    def put_bytes(self, content: bytes, name: str) -> str:
        """Hand bytes in as a file and return its path as the worker sees it."""
        target = self._cell.inputs / plain_name(name)
        target.unlink(missing_ok=True)
        target.write_bytes(content)
        target.chmod(0o600)
        return str(self._sandbox.inputs(self._cell) / target.name)

    def out(self, name: str = "") -> str:
        """Return the path, as the worker sees it, of its writable folder or of a file to be written there."""
        folder = self._sandbox.outputs(self._cell)
        return str(folder / plain_name(name) if name else folder)

    def take(self, name: str, *, max_bytes: int) -> bytes:
        """Read a file that the worker wrote: a regular file with one link, followed nowhere, bounded.

        Args:
            name: A basename, or the worker's own path of it.

        Raises:
            UnreadableFile: It is missing, too large, or no such file.
        """
        return read_output(self._cell.outputs, Path(name).name, max_bytes=max_bytes)

    def clear(self) -> None:
        """Empty the inputs and outputs, so that the next job finds nothing of this one."""
        for folder in (self._cell.inputs, self._cell.outputs):
            for entry in folder.iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry, ignore_errors=True)
                else:
                    entry.unlink(missing_ok=True)

    def call(
        self,
        op: str,
        params: Mapping[str, Any] | None = None,
        *,
        payload: bytes = b"",
        timeout_s: float = 600.0,
        on_event: Callable[[Mapping[str, Any]], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Reply:
        """Ask for one operation and wait for its answer.

        Args:
            on_event: Gets the values of each progress event.
            cancelled: Asked a few times a second; once true the worker is told to stop.

        Raises:
            WorkerFailure: The operation failed; the worker stays usable.
            WorkerCrashed: The worker died, was too slow, or broke the protocol.
        """
        request = protocol.Request(next(self._ids), op, params or {}, payload)
        started = time.monotonic()
        try:
            self._send(request)
            return self._wait(request.id, started, started + timeout_s, on_event, cancelled)
        except KeyboardInterrupt:
            self.close(grace_s=0)
            raise

    def close(self, *, grace_s: float = GRACE_S) -> None:
        """End the worker: politely, then not; removes its folders."""
        with contextlib.suppress(OSError):
            pipe(self._process.stdin).close()
        try:
            self._process.wait(timeout=grace_s)
        except subprocess.TimeoutExpired:
            kill(self._process)
        self._drain()
        shutil.rmtree(self._work, ignore_errors=True)

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(grace_s=GRACE_S if kind is None else 0.2)

    def _send(self, message: protocol.Message) -> None:
        try:
            stdin = pipe(self._process.stdin)
            stdin.write(protocol.encode(message))
            stdin.flush()
        except (OSError, ValueError):
            raise self._crash("the worker died") from None

    def _wait(
        self,
        request: int,
        started: float,
        deadline: float,
        on_event: Callable[[Mapping[str, Any]], None] | None,
        cancelled: Callable[[], bool] | None,
    ) -> Reply:
        told = False
        while True:
            if cancelled is not None and not told and cancelled():
                self._send(protocol.Cancel(request))
                told = True
            left = deadline - time.monotonic()
            if left <= 0:
                raise self._crash("the worker was too slow and was stopped")
            message = self._next(min(left, 0.2) if cancelled else left)
            if message is None or getattr(message, "id", request) != request:
                continue
            if isinstance(message, protocol.Event):
                if on_event is not None:
                    on_event(message.values)
            elif isinstance(message, protocol.Failure):
                raise WorkerFailure(message.code, clean(message.message), message.step)
            elif isinstance(message, protocol.Result):
                return Reply(message.values, message.arrays, message.payload, time.monotonic() - started)
            else:
                raise self._crash("the worker broke the protocol")

    def _next(self, timeout_s: float) -> protocol.Message | None:
        """Return the next message, or None when none came in time."""
        try:
            message = self._messages.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if message is None:
            raise self._crash("the worker died")
        if isinstance(message, Exception):
            raise self._crash(f"the worker broke the protocol ({message})")
        return message

    def _greet(self) -> protocol.Hello:
        message = self._next(_START_TIMEOUT_S)
        if isinstance(message, protocol.Hello):
            return message
        if isinstance(message, protocol.Failure):
            raise WorkerFailure(message.code, clean(message.message), message.step)
        raise self._crash(
            "the worker did not come up" if message is None else "the worker broke the protocol"
        )

    def _read(self, reader: protocol.Reader) -> None:
        try:
            while (message := reader.read()) is not None:
                self._messages.put(message)
        except (protocol.ProtocolError, OSError, ValueError) as error:
            self._messages.put(error)
            return
        self._messages.put(None)

    def _crash(self, why: str) -> WorkerCrashed:
        status = kill(self._process)
        self._drain()
        return WorkerCrashed(f"{why} ({status_words(status)})" if status else why, status, self.stderr)

    def _drain(self) -> None:
        """Let the reader thread end: it may wait for room in the queue."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._messages.get_nowait()
        self._stderr.join()


class Workers:
    """One warm worker per runtime and device in this process.

    Args:
        start: Starts a worker for a runtime and a device.
    """

    def __init__(self, start: Callable[[Runtime, str], Worker]) -> None:
        self._start = start
        self._warm: dict[tuple[str, str], Worker] = {}

    def get(self, runtime: Runtime, device: str = "cpu") -> Worker:
        """Return the warm worker, or start one where none lives."""
        key = (runtime.id, device)
        worker = self._warm.get(key)
        if worker is None or not worker.alive:
            if worker is not None:
                worker.close(grace_s=0)
            worker = self._warm[key] = self._start(runtime, device)
        return worker

    def close(self) -> None:
        """End them all."""
        while self._warm:
            self._warm.popitem()[1].close()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
