"""How long work tells that it goes on; the renderer decides what is shown."""

from __future__ import annotations

from typing import Protocol


class Step(Protocol):
    """One step of a longer job."""

    def advance(self, amount: float, note: str = "") -> None:
        """Add to what is done, in the unit of the step's total."""

    def done(self, line: str = "") -> None:
        """End the step and leave one line."""


class Progress(Protocol):
    """Where services say what they are doing."""

    def step(self, name: str, total: float | None = None, unit: str = "") -> Step:
        """Begin a step; `total` is None where nobody knows it, `unit` is "bytes", "s" or a word."""


class _SilentStep:
    def advance(self, amount: float, note: str = "") -> None:
        """Say nothing."""

    def done(self, line: str = "") -> None:
        """Say nothing."""


class Silent:
    """A progress that says nothing; for programs and tests."""

    def step(self, name: str, total: float | None = None, unit: str = "") -> Step:  # noqa: ARG002
        """Begin a step that says nothing."""
        return _SilentStep()
