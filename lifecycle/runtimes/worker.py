"""The client of a worker: starts one behind a fence, hands files in, asks, and takes results out.

Nothing that comes back is believed: lines, payloads and standard error are bounded, results are plain values and
arrays, files are opened without following links. A worker that breaks the protocol, dies or is too slow is
killed, and the call raises.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from engine import protocol
from lifecycle.domain.errors import Unavailable, UnreadableFile
from lifecycle.runtimes.model import Runtime
from lifecycle.runtimes.sandbox import Cell, Sandbox
from lifecycle.runtimes.snapshot import EngineCopy

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STDERR_BYTES = 4096
_START_TIMEOUT_S = 180.0
_GRACE_S = 5.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a worker process; None leaves the system's own.

    Args:
        address_space: Bytes; torch alone takes 1.6 GB of it.
        file_size: Bytes of one file it may write.
        open_files: Descriptors.
        cpu_s: Seconds of processor time over its whole life.
        threads: Threads of the numeric libraries.
        answer_bytes: Bytes that may follow one line of its answers.
    """

    address_space: int | None = 16 << 30
    file_size: int | None = 2 << 30
    open_files: int | None = 1024
    cpu_s: int | None = None
    threads: int = 2
    answer_bytes: int = 1 << 30

    def as_json(self) -> str:
        """The worker's `--limits`."""
        named = {name: getattr(self, name) for name in ("address_space", "file_size", "open_files", "cpu_s")}
        return json.dumps({name: value for name, value in named.items() if value is not None})


class WorkerError(Exception):
    """A worker did not give a result."""


class WorkerCrashed(WorkerError):
    """The process died, was too slow, or broke the protocol (and was killed).

    Args:
        why: One phrase.
        status: Exit status; negative is a signal.
        stderr: The last words, cleaned.
    """

    def __init__(self, why: str, status: int | None, stderr: str) -> None:
        super().__init__(why)
        self.why = why
        self.status = status
        self.stderr = stderr

    def __str__(self) -> str:
        return self.sentence

    @property
    def sentence(self) -> str:
        """What happened, with the last line that the process wrote."""
        last = next((line for line in reversed(self.stderr.splitlines()) if line.strip()), "")
        return f"{self.why}: {last.strip()[:300]}" if last else self.why


class WorkerFailure(WorkerError):
    """The operation failed and said so; the worker stays usable.

    Args:
        code: Such as "mute", "refused", "out_of_memory", "cancelled", "exception".
        message: One sentence.
        step: Where, if the operation has steps.
    """

    def __init__(self, code: str, message: str, step: str | None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.step = step


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
        self._stderr = _Tail(process.stderr)
        reader = protocol.Reader(
            _stream(process.stdout), allow=("hello", "event", "result", "error"), max_payload=answer_bytes
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
            work: Folder for this worker's inputs and outputs (VLM_HOME/work/JOB where they are personal data);
                a temporary one by default. What is in it is deleted at the end.
            device: "auto", "cpu", "cuda" or "mps".
            limits: Bounds of the process.

        Raises:
            WorkerCrashed: It did not come up.
            WorkerFailure: Its torch does not import.
            Unavailable: It is not the engine or protocol of this vlm.
        """
        folder = Path(tempfile.mkdtemp(prefix="worker-", dir=work))
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
            _kill(process)
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
        target = self._cell.inputs / _basename(name or file.name)
        target.unlink(missing_ok=True)
        try:
            os.link(file, target, follow_symlinks=True)
        except OSError:
            shutil.copyfile(file, target)
        return str(self._sandbox.inputs(self._cell) / target.name)

    def put_bytes(self, content: bytes, name: str) -> str:
        """Hand bytes in as a file and return its path as the worker sees it."""
        target = self._cell.inputs / _basename(name)
        target.unlink(missing_ok=True)
        target.write_bytes(content)
        target.chmod(0o600)
        return str(self._sandbox.inputs(self._cell) / target.name)

    def out(self, name: str = "") -> str:
        """Return the path, as the worker sees it, of its writable folder or of a file to be written there."""
        folder = self._sandbox.outputs(self._cell)
        return str(folder / _basename(name) if name else folder)

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

    def close(self, *, grace_s: float = _GRACE_S) -> None:
        """End the worker: politely, then not; removes its folders."""
        with contextlib.suppress(OSError):
            _stream(self._process.stdin).close()
        try:
            self._process.wait(timeout=grace_s)
        except subprocess.TimeoutExpired:
            _kill(self._process)
        self._drain()
        shutil.rmtree(self._work, ignore_errors=True)

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(grace_s=_GRACE_S if kind is None else 0.2)

    def _send(self, message: protocol.Message) -> None:
        try:
            stdin = _stream(self._process.stdin)
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
        status = _kill(self._process)
        self._drain()
        return WorkerCrashed(f"{why} ({_status_words(status)})" if status else why, status, self.stderr)

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


class _Tail:
    """Keeps the last few kilobytes of a stream."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        self._data = b""
        self._stream = _stream(stream)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while block := os.read(self._stream.fileno(), 65536):
                self._data = (self._data + block)[-_STDERR_BYTES:]

    def join(self) -> None:
        """Wait a moment for the rest of the stream."""
        self._thread.join(timeout=2)

    def text(self) -> str:
        return clean(self._data.decode("utf-8", errors="replace"))


def clean(text: str) -> str:
    """Strip control characters, so that nothing a worker says reaches a terminal as a command."""
    return "".join(letter for letter in text if letter in "\n\t" or letter.isprintable())


def read_output(folder: Path, name: str, *, max_bytes: int) -> bytes:
    """Read a file that a confined process wrote into `folder`.

    Raises:
        UnreadableFile: It is missing, a link, a pipe, linked twice, or larger than `max_bytes`.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(folder / _basename(name), flags)
    except OSError as error:
        raise UnreadableFile(
            f'the worker\'s file "{clean(name)}" cannot be read: {error.strerror}'
        ) from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        os.close(descriptor)
        raise UnreadableFile(f'the worker\'s file "{clean(name)}" is not a plain file')
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise UnreadableFile(f'the worker\'s file "{clean(name)}" is larger than {max_bytes} bytes')
    return data


def _basename(name: str) -> str:
    if not name or name in {".", ".."} or Path(name).name != name or "\0" in name:
        raise UnreadableFile(f'"{clean(name)}" is not a plain file name')
    return name


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise RuntimeError("the process was started without its pipes")
    return stream


def _kill(process: subprocess.Popen[bytes]) -> int | None:
    """End a process for good and return its status; one that just died keeps its own."""
    try:
        return process.wait(timeout=0.5)
    except subprocess.TimeoutExpired:
        process.kill()
    try:
        process.wait(timeout=_GRACE_S)
    except subprocess.TimeoutExpired:
        return None
    return process.returncode


def _status_words(status: int) -> str:
    number = -status if status < 0 else status - 128 if status > 128 else 0
    try:
        return signal.Signals(number).name if number else f"exit status {status}"
    except ValueError:
        return f"exit status {status}"
