"""What prepare, train and speak share: a fenced worker of the default runtime, in a folder that is emptied."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lifecycle.domain.errors import (
    Mute,
    NotFound,
    Refused,
    Unavailable,
    UnreadableFile,
    UsageError,
    VlmError,
)
from lifecycle.runtimes.worker import Reply, Worker, WorkerCrashed, WorkerFailure
from lifecycle.services.jobs import working
from lifecycle.vault.files import write_durably

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.runtimes.model import Runtime

# How the engine's refusals leave the program, by their code.
_ERRORS: Mapping[str, type[VlmError]] = {
    "bad_audio": UnreadableFile,
    "bad_voice": UnreadableFile,
    "bad_option": UsageError,
    "bad_text": UsageError,
    "unknown_language": UsageError,
    "mute": Mute,
    "out_of_memory": Unavailable,
    "cancelled": Refused,
}


def default_runtime(rooms: Rooms) -> Runtime:
    """Return the runtime that voices are made and spoken in; nothing is downloaded for it.

    Raises:
        Unavailable: It is not installed here.
    """
    spec = rooms.settings.default_torch
    found = rooms.runtimes.find(spec)
    if found is None:
        raise Unavailable(f"no runtime with torch {spec} is installed", hint=f"vlm runtime add {spec}")
    return found


@contextmanager
def job_worker(verb: str, *, rooms: Rooms) -> Iterator[tuple[Worker, Path]]:
    """Start a worker whose files lie in a job's own folder; both are gone afterwards.

    Raises:
        Unavailable: The runtime is missing, or nothing here can fence a worker.
    """
    runtime = default_runtime(rooms)
    with working(verb, rooms=rooms) as folder:
        try:
            worker = rooms.runtimes.start_worker(runtime, work=folder)
        except (WorkerCrashed, WorkerFailure) as error:
            raise Unavailable(
                f"torch {runtime.torch} does not start here: {error}", hint=f"vlm runtime add {runtime.torch}"
            ) from None
        with worker:
            yield worker, folder


def ask(
    worker: Worker,
    op: str,
    params: Mapping[str, Any],
    *,
    timeout_s: float,
    on_event: Callable[[Mapping[str, Any]], None] | None = None,
) -> Reply:
    """Ask a worker; its refusals become ours.

    Raises:
        VlmError: The kind that the engine's code stands for.
    """
    try:
        return worker.call(op, params, timeout_s=timeout_s, on_event=on_event)
    except WorkerFailure as failure:
        kind = _ERRORS.get(failure.code)
        message = one_line(failure.message)
        if kind is None:
            raise VlmError(f"this is a bug in vlm, please report it: {op}: {message}") from None
        raise kind(message) from None
    except WorkerCrashed as crash:
        raise Unavailable(f"the worker that was to {op} died: {crash.sentence}", hint="vlm doctor") from None


def one_line(message: str) -> str:
    """Return a message as one line, bounded, without a full stop."""
    text = " ".join(message.split())
    return (text if len(text) <= 300 else text[:299] + "…").rstrip(".")


def write_result(path: Path, content: bytes, *, force: bool) -> None:
    """Write a file that the user asked for, whole or not at all.

    Raises:
        NotFound: Its folder does not exist.
        Refused: It exists, and `force` was not given.
        Unavailable: There is no room, or it may not be written there.
    """
    check_result(path, force=force)
    write_durably(path, content, mode=0o644)


def check_result(path: Path, *, force: bool) -> None:
    """Refuse a place for a result before the work begins.

    Raises:
        NotFound, Refused: As `write_result`.
    """
    if path.is_dir():
        raise Refused(f'"{path}" is a folder; name a file in it')
    if not path.absolute().parent.is_dir():
        raise NotFound(f'the folder of "{path}" does not exist')
    if path.exists() and not force:
        raise Refused(
            f'"{path}" exists; it was left as it is', hint="give another name, or --force to replace it"
        )
