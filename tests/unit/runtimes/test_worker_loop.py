"""The engine's loop with operations of our own, as a process without torch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from engine.protocol import Cancel, Event, Failure, Message, Reader, Request, Result, encode

_LOOP = """
import sys, time
from engine.protocol import Result
from engine.worker import Worker, leave

def wait(params, context):
    context.progress(started=True)
    while not context.cancelled():
        time.sleep(0.01)
    error = ValueError("it was cancelled")
    error.code = "cancelled"
    raise error

def sleep(params, context):
    context.progress(started=True)
    time.sleep(60)

def fail(params, context):
    raise {"memory": MemoryError("no room"), "alloc": RuntimeError("DefaultCPUAllocator: can't allocate memory"),
           "key": KeyError("weights"), "other": RuntimeError("it  broke\\n here")}[params["how"]]

def huge(params, context):
    return Result(context.request.id, {"text": "x" * 5_000_000})

def nan(params, context):
    return Result(context.request.id, {"value": float("nan")})

operations = {"wait": wait, "sleep": sleep, "fail": fail, "huge": huge, "nan": nan}
leave(Worker(sys.stdin.buffer, sys.stdout.buffer, operations).run())
"""


class Loop:
    """A running loop: send requests, read answers."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _LOOP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self.process.stdout is not None
        self._reader = Reader(self.process.stdout, allow=("event", "result", "error"))

    def send(self, message: Message) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(encode(message))
        self.process.stdin.flush()

    def read(self) -> Message | None:
        return self._reader.read()


@pytest.fixture
def loop() -> Iterator[Loop]:
    running = Loop()
    yield running
    running.process.kill()
    running.process.wait()


def test_a_running_operation_is_cancelled_and_the_next_one_is_not(loop):
    loop.send(Request(1, "wait"))
    assert loop.read() == Event(1, {"started": True})
    loop.send(Request(2, "fail", {"how": "other"}))
    loop.send(Cancel(1))

    assert loop.read() == Failure(1, "cancelled", "it was cancelled")
    assert loop.read() == Failure(2, "exception", "RuntimeError: it broke here")


def test_an_operation_that_is_cancelled_before_it_began_is_not_begun(loop):
    loop.send(Request(1, "wait"))
    loop.read()
    loop.send(Request(2, "sleep"))
    loop.send(Cancel(2))
    loop.send(Cancel(1))

    assert isinstance(loop.read(), Failure)
    answer = loop.read()
    assert isinstance(answer, Failure)
    assert (answer.id, answer.code) == (2, "cancelled")


@pytest.mark.parametrize(
    ("how", "code"),
    [("memory", "out_of_memory"), ("alloc", "out_of_memory"), ("key", "exception"), ("other", "exception")],
)
def test_what_goes_wrong_inside_an_operation_is_an_answer_with_a_code(loop, how, code):
    loop.send(Request(1, "fail", {"how": how}))

    answer = loop.read()

    assert isinstance(answer, Failure)
    assert answer.code == code


@pytest.mark.parametrize("op", ["huge", "nan"])
def test_an_answer_that_the_protocol_cannot_carry_is_an_error_and_not_the_end(loop, op):
    loop.send(Request(1, op))
    loop.send(Request(2, "shutdown"))

    assert isinstance(loop.read(), Failure)
    assert loop.read() == Result(2)
    assert loop.process.wait(timeout=10) == 0


def test_the_loop_ends_with_its_client_even_in_the_middle_of_work(loop):
    loop.send(Request(1, "sleep"))
    loop.read()

    assert loop.process.stdin is not None
    loop.process.stdin.close()

    assert loop.process.wait(timeout=20) == 1


def test_noise_ends_the_loop(loop):
    assert loop.process.stdin is not None
    loop.process.stdin.write(b"noise\n")
    loop.process.stdin.flush()

    assert loop.read() is None
    assert loop.process.wait(timeout=10) == 0
