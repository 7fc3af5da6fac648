"""What prepare, train and speak share: the default runtime, its worker, and the engine's words as our errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lifecycle.domain.errors import Mute, Refused, Unavailable, UnreadableFile, UsageError, VlmError
from lifecycle.runtimes.worker import WorkerCrashed, WorkerFailure

if TYPE_CHECKING:
    from lifecycle.runtimes.environments import Runtimes
    from lifecycle.runtimes.model import Runtime

_KINDS: dict[str, type[VlmError]] = {
    "bad_audio": UnreadableFile,
    "bad_text": UsageError,
    "unknown_language": UsageError,
    "bad_voice": UnreadableFile,
    "mute": Mute,
}


def default_runtime(runtimes: Runtimes, torch: str) -> Runtime:
    """Return the runtime that voices are made and spoken in.

    Raises:
        Unavailable: It is not installed; the hint installs it.
    """
    found = runtimes.find(torch)
    if found is None:
        raise Unavailable(f"the runtime with torch {torch} is not installed", hint=f"vlm runtime add {torch}")
    return found


@contextmanager
def engine_errors(what: str) -> Iterator[None]:
    """Turn what the engine says into the error that the user gets.

    Args:
        what: Begins the sentence, such as `"me" cannot speak`.

    Raises:
        VlmError: Of the kind that fits the engine's code.
    """
    try:
        yield
    except WorkerFailure as failure:
        kind = _KINDS.get(failure.code, Refused)
        raise kind(f"{what}: {failure.message.rstrip('.')}") from None
    except WorkerCrashed as crash:
        raise Unavailable(f"{what}: {crash.sentence}", hint="vlm doctor") from None
