"""What is known of a voice's input and output, each line with who says it; where two disagree, both are named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

WEIGHTS = "from the weights"
CONFIGURATION = "from the configuration"
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that is known, or not.

    Attributes:
        section: "output", "frames", "dimensions", "input", "front_end", "tokens".
        value: A number, a word or a list of words; None where nobody says it.
        said: "from the weights", "from the configuration", "said by ..." or "unknown".
    """

    section: str
    name: str
    value: object
    said: str


@dataclass(frozen=True, slots=True)
class Clash:
    """Two that say different things of the same."""

    name: str
    message: str


@dataclass(frozen=True, slots=True)
class Need:
    """A part without which the voice does not speak; it is kept with the voice, or not."""

    part: str
    present: bool
    purpose: str


@dataclass(slots=True)
class Sheet:
    """The lines of one voice, in the order in which they were found."""

    lines: list[Line] = field(default_factory=list)
    clashes: list[Clash] = field(default_factory=list)
    needs: list[Need] = field(default_factory=list)

    def say(self, section: str, name: str, value: object, said: str) -> None:
        """Add a line; one that is known already only has to agree, and None is left to others."""
        if value is None:
            return
        before = self.find(section, name)
        if before is None:
            self.lines.append(Line(section, name, value, said))
        elif before.value != value:
            self.clash(name, f"{before.said} it is {_told(before.value)}, {said} {_told(value)}")

    def both(self, section: str, name: str, weights: int | None, configured: object) -> None:
        """Add a number that the weights show and the configuration names; the weights are right."""
        self.say(section, name, weights, WEIGHTS)
        self.say(section, name, whole(configured), CONFIGURATION)

    def unknown(self, section: str, *names: str) -> None:
        """Say of what nobody said anything that it is unknown."""
        for name in names:
            if self.find(section, name) is None:
                self.lines.append(Line(section, name, None, UNKNOWN))

    def find(self, section: str, name: str) -> Line | None:
        """Return a line, or None."""
        return next((line for line in self.lines if (line.section, line.name) == (section, name)), None)

    def clash(self, name: str, message: str) -> None:
        """Note a contradiction."""
        self.clashes.append(Clash(name, f"{name.replace('_', ' ')}: {message}"))


def whole(value: object) -> int | None:
    """Return a whole number that a size or a rate can be, else None."""
    fits = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 31
    return value if isinstance(value, int) and fits else None


def part(config: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """Return a table inside a configuration; empty where there is none."""
    found: object = config
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def count_of(names: Iterable[str], prefix: str) -> int | None:
    """Return how many numbered things stand below a prefix in tensor names; None for none."""
    found = {name[len(prefix) :].partition(".")[0] for name in names if name.startswith(prefix)}
    return len([number for number in found if number.isdigit()]) or None


def _told(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
