"""The process of a worker: its bounds, its last words, its end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from dataclasses import dataclass
from typing import IO

from lifecycle.runtimes.faults import clean

GRACE_S = 5.0
_STDERR_BYTES = 4096


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


class Tail:
    """Keeps the last few kilobytes of a stream."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        self._data = b""
        self._stream = pipe(stream)
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
        """Return what is kept, without control characters."""
        return clean(self._data.decode("utf-8", errors="replace"))


def pipe(stream: IO[bytes] | None) -> IO[bytes]:
    """Return a pipe that the process was started with."""
    if stream is None:
        raise RuntimeError("the process was started without its pipes")
    return stream


def kill(process: subprocess.Popen[bytes]) -> int | None:
    """End a process for good and return its status; one that just died keeps its own."""
    try:
        return process.wait(timeout=0.5)
    except subprocess.TimeoutExpired:
        process.kill()
    try:
        process.wait(timeout=GRACE_S)
    except subprocess.TimeoutExpired:
        return None
    return process.returncode


def status_words(status: int) -> str:
    """Name the signal that ended a process, or its exit status."""
    number = -status if status < 0 else status - 128 if status > 128 else 0
    try:
        return signal.Signals(number).name if number else f"exit status {status}"
    except ValueError:
        return f"exit status {status}"
