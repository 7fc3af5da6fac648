"""How a worker can fail its client, and how what it says is made harmless."""

from __future__ import annotations


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


def clean(text: str) -> str:
    """Strip control characters, so that nothing a worker says reaches a terminal as a command."""
    return "".join(letter for letter in text if letter in "\n\t" or letter.isprintable())
