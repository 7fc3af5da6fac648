"""One process, one torch: reads requests, runs an operation, answers. An error inside an operation is an answer.

The pipes of the protocol are duplicates made before torch is imported, because torch and its friends print on
both standard streams; those point at standard error from then on.
"""

import argparse
import gc
import json
import os
import platform
import queue
import sys
import threading
from collections.abc import Callable, Mapping
from typing import IO, Any, NoReturn

from engine.operations import OPERATIONS, Context
from engine.protocol import (
    PROTOCOL,
    Cancel,
    Failure,
    Hello,
    Message,
    ProtocolError,
    Reader,
    Request,
    Result,
)
from engine.protocol import encode as encode_message

Limits = Mapping[str, int]

#: How long a running operation may go on after the client has gone.
_LAST_S = 3.0

Operation = Callable[[Mapping[str, Any], Context], Result]


class Worker:
    """The loop.

    Args:
        requests: Where requests come from.
        answers: Where answers go; written by one thread at a time.
        operations: By name.
    """

    def __init__(self, requests: IO[bytes], answers: IO[bytes], operations: Mapping[str, Operation]) -> None:
        self._reader = Reader(requests, allow=("request", "cancel"))
        self._answers = answers
        self._operations = operations
        self._queue: queue.Queue[Request | None] = queue.Queue()
        self._cancelled: set[int] = set()
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def send(self, message: Message) -> None:
        """Write one message."""
        data = encode_message(message)
        with self._lock:
            self._answers.write(data)
            self._answers.flush()

    def is_cancelled(self, request: int) -> bool:
        """True once the client asked to stop this request."""
        return request in self._cancelled

    def run(self) -> int:
        """Answer requests until the client closes the pipe or asks for "shutdown"; returns the exit status."""
        threading.Thread(target=self._read, daemon=True).start()
        try:
            return self._loop()
        finally:
            self._ended.set()

    def _loop(self) -> int:
        while True:
            request = self._queue.get()
            if request is None:
                return 0
            if request.op == "shutdown":
                self.send(Result(request.id))
                return 0
            try:
                self.send(self._answer(request))
            except ProtocolError as error:
                self.send(Failure(request.id, "too_large", str(error)))
            self._cancelled.discard(request.id)

    def _read(self) -> None:
        try:
            while True:
                message = self._reader.read()
                if isinstance(message, Cancel):
                    self._cancelled.add(message.id)
                elif isinstance(message, Request):
                    self._queue.put(message)
                else:
                    break
        except (ProtocolError, OSError) as error:
            sys.stderr.write(f"worker: {error}\n")
        self._queue.put(None)
        # nobody is left to read an answer, so an operation that still runs is not waited for
        if not self._ended.wait(_LAST_S):
            os._exit(1)

    def _answer(self, request: Request) -> Message:
        operation = self._operations.get(request.op)
        if operation is None:
            return Failure(request.id, "unknown_operation", f'there is no operation "{request.op[:80]}"')
        if self.is_cancelled(request.id):
            return Failure(request.id, "cancelled", "the request was cancelled before it began")
        try:
            context = Context(request, self.send, lambda: self.is_cancelled(request.id))
            return operation(request.params, context)
        except Exception as error:  # noqa: BLE001 - whatever foreign bytes provoke is an answer, not the end
            return failure_of(request.id, error)
        finally:
            gc.collect(0)


def failure_of(request: int, error: Exception) -> Failure:
    """Turn an exception into an answer: engine errors and missing memory keep their code."""
    text = " ".join(str(error).split())[:2000] or type(error).__name__
    step = getattr(error, "step", None)
    code = getattr(error, "code", None)
    if isinstance(code, str):
        return Failure(request, code, text, step if isinstance(step, str) else None)
    words = ("can't allocate memory", "out of memory", "not enough memory")
    if isinstance(error, MemoryError) or any(word in text for word in words):
        return Failure(request, "out_of_memory", text, step if isinstance(step, str) else None)
    if isinstance(error, KeyError):
        text = f"a parameter or entry {text} is missing"
    return Failure(
        request, "exception", f"{type(error).__name__}: {text}", step if isinstance(step, str) else None
    )


def limit(limits: Limits) -> None:
    """Bound this process for good: address_space, file_size, open_files, cpu_s; no core dumps.

    Values that the system already forbids to raise are left as they are.
    """
    import resource

    names = {
        "address_space": resource.RLIMIT_AS,
        "file_size": resource.RLIMIT_FSIZE,
        "open_files": resource.RLIMIT_NOFILE,
        "cpu_s": resource.RLIMIT_CPU,
    }
    for name, value in {**limits, "core": 0}.items():
        kind = resource.RLIMIT_CORE if name == "core" else names[name]
        hard = resource.getrlimit(kind)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(kind, (bound, bound))
        except (OSError, ValueError):
            sys.stderr.write(f"worker: the limit {name} could not be set\n")


def hello(engine_hash: str, device: str) -> Hello:
    """Say who we are; imports torch."""
    import numpy
    import torch

    from engine.compat import pick_device

    version, _, local = torch.__version__.partition("+")
    capability = getattr(getattr(torch.backends, "cpu", None), "get_cpu_capability", None)
    return Hello(
        protocol=PROTOCOL,
        engine_hash=engine_hash,
        torch=version,
        build=local or (f"cu{torch.version.cuda}".replace(".", "") if torch.version.cuda else "cpu"),
        python=platform.python_version(),
        numpy=numpy.__version__,
        device=str(pick_device(device)),
        cpu_capability=str(capability()) if capability else "unknown",
        threads=torch.get_num_threads(),
    )


def main(arguments: list[str]) -> NoReturn:
    """Run a worker on standard input and output, and end the process."""
    parser = argparse.ArgumentParser(prog="engine")
    parser.add_argument("--limits", type=json.loads, default={})
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--engine-hash", default="")
    options = parser.parse_args(arguments)
    requests, answers = _pipes()
    limit(options.limits)
    worker = Worker(requests, answers, OPERATIONS)
    try:
        import torch

        if options.threads:
            torch.set_num_threads(options.threads)
        worker.send(hello(options.engine_hash, options.device))
    except Exception as error:  # noqa: BLE001 - a torch that does not import is an answer
        worker.send(failure_of(0, error))
        leave(1)
    leave(worker.run())


def leave(status: int) -> NoReturn:
    """End the process at once: a thread that still waits for a request would make Python's own ending abort."""
    sys.stderr.flush()
    os._exit(status)


def _pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Take the protocol's two pipes away from standard input and output."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, answers
