"""Progress on standard error: a moving line on a terminal, one line per step elsewhere."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field

from lifecycle.render.language import told
from lifecycle.render.output import duration, megabytes, say, styled

_REDRAW_S = 0.1
_QUIET_UNTIL_S = 1.0
_BAR = 24
_NAME = 10


@dataclass
class TerminalStep:
    """One step, drawn in place; nothing is drawn before a second has passed."""

    name: str
    total: float | None
    unit: str
    moving: bool
    quiet: bool = False
    begun: float = field(default_factory=time.monotonic)
    drawn: float = 0.0
    amount: float = 0.0
    note: str = ""

    def advance(self, amount: float, note: str = "") -> None:
        """Add to what is done, in the unit of the step's total."""
        self.amount += amount
        self.note = note or self.note
        now = time.monotonic()
        if self.moving and now - self.begun > _QUIET_UNTIL_S and now - self.drawn > _REDRAW_S:
            self.drawn = now
            sys.stderr.write("\r\x1b[2K" + self._line(now - self.begun))
            sys.stderr.flush()

    def done(self, line: str = "") -> None:
        """End the step and leave one line."""
        if self.drawn:
            sys.stderr.write("\r\x1b[2K")
        if line and not self.quiet:
            say(f"{styled(self.name.ljust(_NAME), 'dim', stream=sys.stderr)}{told(line)}")

    def _line(self, elapsed_s: float) -> str:
        shown = self.name.ljust(_NAME)
        if not self.total:
            return f"{shown}{self._amount(self.amount)} {self.note}".rstrip()
        share = min(self.amount / self.total, 1.0)
        full = round(share * _BAR)
        left = elapsed_s / share - elapsed_s if share > 0 else 0.0
        rate = f" {megabytes(self.amount / elapsed_s)}/s" if self.unit == "bytes" and elapsed_s > 0 else ""
        bar = "█" * full + "░" * (_BAR - full)
        return f"{shown}{bar} {share:4.0%} {self.note}{rate}  {told(f'{duration(left)} left')}"

    def _amount(self, amount: float) -> str:
        if self.unit == "bytes":
            return megabytes(amount)
        return f"{amount:g} {self.unit}" if self.unit else ""


class TerminalProgress:
    """Progress for people; `quiet` shows nothing."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet

    def step(self, name: str, total: float | None = None, unit: str = "") -> TerminalStep:
        """Begin a step."""
        return TerminalStep(
            name, total, unit, moving=not self.quiet and sys.stderr.isatty(), quiet=self.quiet
        )
