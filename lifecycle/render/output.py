"""Results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import IO

from lifecycle.domain.errors import VlmError
from lifecycle.render.language import told, word

# Codes at which the command did its work; `ok` in JSON says so.
_DONE = frozenset({0, 9, 10, 11, 12, 13, 14})

_BOLD, _RED, _YELLOW, _GREEN, _DIM, _RESET = (
    "\x1b[1m",
    "\x1b[31m",
    "\x1b[33m",
    "\x1b[32m",
    "\x1b[2m",
    "\x1b[0m",
)
STYLES: Mapping[str, str] = {
    "strong": _BOLD,
    "bad": _RED,
    "warn": _YELLOW,
    "good": _GREEN,
    "dim": _DIM,
}


def use_colour(stream: IO[str], environment: Mapping[str, str] = os.environ) -> bool:
    """Whether colour is wanted on a stream. Source: no-color.org."""
    if environment.get("NO_COLOR") or environment.get("TERM") == "dumb":
        return False
    return stream.isatty()


def styled(text: str, style: str, *, stream: IO[str] | None = None) -> str:
    """Return text in a style where the stream (standard output by default) takes colour."""
    if not use_colour(stream or sys.stdout):
        return text
    return f"{STYLES[style]}{text}{_RESET}"


def printable(text: str) -> str:
    """Return text in which no control character is left, so that a file name cannot steer a terminal."""
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character in "\n\t\x1b" or unicodedata.category(character) not in {"Cc", "Cf", "Cs"}:
        return character
    return "\N{REPLACEMENT CHARACTER}"


def width(text: str) -> int:
    """Return how many terminal columns a text takes; wide East Asian characters take two."""
    plain, inside = 0, False
    for character in text:
        if character == "\x1b":
            inside = True
        elif inside:
            inside = character != "m"
        elif unicodedata.combining(character) == 0:
            plain += 2 if unicodedata.east_asian_width(character) in "WF" else 1
    return plain


def columns(rows: Sequence[Sequence[str]], *, gap: int = 2, titled: bool = False) -> list[str]:
    """Return rows as lines with aligned columns; the last column is not padded.

    Args:
        rows: Cells; sentences in them are told in the user's language before anything is measured.
        gap: Blanks between columns.
        titled: The first row holds titles, so its single words are translated too.
    """
    if not rows:
        return []
    titles = [[word(cell) for cell in rows[0]]] if titled else []
    rows = [*titles, *([told(cell) for cell in row] for row in rows[len(titles) :])]
    n_columns = max(len(row) for row in rows)
    widths = [max((width(row[i]) for row in rows if i < len(row)), default=0) for i in range(n_columns)]
    lines = []
    for row in rows:
        cells = [cell + " " * (widths[i] - width(cell) + gap) for i, cell in enumerate(row[:-1])]
        lines.append(("".join(cells) + (row[-1] if row else "")).rstrip())
    return lines


def print_lines(lines: Iterable[str], *, document: bool = False) -> None:
    """Write result lines to standard output; a document, such as YAML or a unit, is in no language of ours."""
    for line in lines:
        sys.stdout.write(printable(line if document else told(line)) + "\n")
    sys.stdout.flush()


def say(line: str) -> None:
    """Write one line that is not a result to standard error."""
    sys.stderr.write(printable(told(line)) + "\n")
    sys.stderr.flush()


def print_json(data: Mapping[str, object], *, exit_code: int = 0) -> None:
    """Write the one JSON object of a command; `ok` is true when it did its work."""
    body = {"ok": exit_code in _DONE, **data}
    sys.stdout.write(json.dumps(body, ensure_ascii=True, indent=2) + "\n")
    sys.stdout.flush()


def print_error(error: VlmError, *, as_json: bool, extra: Mapping[str, object] | None = None) -> None:
    """Write an error: one sentence and the next thing to do."""
    if as_json:
        body = {
            "error": {"code": error.code, "message": printable(error.message), "hint": error.hint},
            **(extra or {}),
        }
        print_json(body, exit_code=error.exit_code)
        return
    prefix = styled("vlm:", "bad", stream=sys.stderr)
    say(f"{prefix} {told(error.message)}")
    if error.hint:
        say(f"     {told(error.hint)}")


def megabytes(size_bytes: float) -> str:
    """Return a size for people, in decimal units."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= scale:
            return f"{size_bytes / scale:.1f} {unit}"
    return f"{int(size_bytes)} B"


def ago(age: timedelta) -> str:
    """Return how long ago something was, for people; in whole units, rounded down."""
    seconds = max(age.total_seconds(), 0)
    for length, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{int(seconds // length)} {unit} ago"
    return "just now"


def duration(seconds: float) -> str:
    """Return a duration for people."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 90:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
