"""What an import did: one result per row, and the code it ends with."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from lifecycle.formats import shown
from lifecycle.render.output import columns, megabytes
from lifecycle.services.imports.tables import Problem, write_table

Word = Literal["registered", "unchanged", "failed", "not_reached"]

# Of several failures the one is told that stands first here: what shakes the whole before what one row lacks.
WORST_FIRST = (1, 5, 7, 8, 6, 4, 3, 2)
_LISTED = 20
RESULT_COLUMNS = ("name", "result", "version", "message")


@dataclass(frozen=True, slots=True)
class RowResult:
    """What became of one row.

    Attributes:
        result: "registered" (a voice, a version or additions), "unchanged", "failed", or "not_reached" because the
            import had to stop before it.
        message: Why it failed, or a warning; empty else.
        code: The exit code of its failure, 0 else.
        word: That code for programs.
        left: Originals that still lie where they came from, unencrypted.
    """

    line: int
    name: str
    result: Word
    version: int | None = None
    created: str | None = None
    message: str = ""
    hint: str | None = None
    code: int = 0
    word: str | None = None
    stored_bytes: int = 0
    left: int = 0
    removed: int = 0
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return it for programs."""
        return {
            "line": self.line,
            "name": self.name,
            "result": self.result,
            "version": self.version,
            "created": self.created,
            "code": self.word,
            "message": self.message or None,
            "hint": self.hint,
            "stored_bytes": self.stored_bytes,
            "originals_left": self.left,
            "originals_removed": self.removed,
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True)
class Imported:
    """An import, or with `checked_only` the check of one.

    Attributes:
        problems: What was found wrong before anything was registered.
        places: Folders and files in which originals still lie, unencrypted, with how many.
    """

    table: str
    rows: tuple[RowResult, ...]
    problems: tuple[Problem, ...] = ()
    checked_only: bool = False
    places: Mapping[str, int] = field(default_factory=dict)
    stopped: str | None = None
    output: str | None = None
    seconds: float = 0.0

    def count(self, word: Word) -> int:
        """Return how many rows ended so."""
        return sum(row.result == word for row in self.rows)

    @property
    def exit_code(self) -> int:
        """0, or the worst code among the rows."""
        codes = {row.code for row in self.rows} | {problem.code for problem in self.problems}
        return next((code for code in WORST_FIRST if code in codes), 0)

    def to_json(self) -> dict[str, object]:
        """Return it for programs."""
        body: dict[str, object] = {
            "table": self.table,
            "check": self.checked_only,
            "rows": [row.to_json() for row in self.rows],
            "counts": {w: self.count(w) for w in ("registered", "unchanged", "failed", "not_reached")},
            "problems": [problem.to_json() for problem in self.problems],
            "stored_bytes": sum(row.stored_bytes for row in self.rows),
            "originals_left": [{"path": path, "files": files} for path, files in self.places.items()],
            "output": self.output,
            "seconds": round(self.seconds, 2),
        }
        if self.exit_code:
            body["error"] = {"code": self._worst_word(), "message": self.sentence, "hint": self._hint()}
        return body

    @property
    def sentence(self) -> str:
        """The outcome in one sentence."""
        if self.checked_only:
            bad = len({problem.line for problem in self.problems})
            good = f"{len(self.rows)} rows are fine" if len(self.rows) != 1 else "1 row is fine"
            return f"{bad} of {len(self.rows)} rows cannot be imported as they are" if bad else good
        parts = [f"{self.count('registered')} registered", f"{self.count('unchanged')} unchanged"]
        parts += [f"{self.count('failed')} failed"] if self.count("failed") else []
        parts += [f"{self.count('not_reached')} not reached"] if self.count("not_reached") else []
        return ", ".join(parts)

    def _worst_word(self) -> str:
        worst = self.exit_code
        words = [row.word for row in self.rows if row.code == worst and row.word]
        words += [problem.word for problem in self.problems if problem.code == worst]
        return words[0]

    def _hint(self) -> str | None:
        if self.stopped is not None:
            return self.stopped
        return f"mend the rows, then: vlm import {shlex.quote(self.table)}"

    def lines(self) -> list[str]:
        """Return it for people: the answer first, then each failure with its line."""
        lines = [f"{self.sentence}    {self._rate()}".rstrip()]
        named = [problem.sentence(self.table) for problem in self.problems]
        if not self.checked_only:
            named = [
                f"{self.table}:{r.line}: {r.name}: {r.message}" for r in self.rows if r.result == "failed"
            ]
        lines += _some(named)
        lines += _some([f"warning: {row.name}: {text}" for row in self.rows for text in row.warnings])
        lines += self._originals()
        if self.output is not None:
            lines.append(f"every row's result: {self.output}")
        following = self._hint() if self.exit_code else self._next()
        return lines + ([f"next: {following}"] if following else [])

    def _rate(self) -> str:
        stored = sum(row.stored_bytes for row in self.rows)
        if not stored:
            return ""
        rate = f", {megabytes(stored / self.seconds)}/s" if self.seconds >= 1 else ""
        return f"{megabytes(stored)} stored{rate}"

    def _originals(self) -> list[str]:
        removed = sum(row.removed for row in self.rows)
        lines = [f"{removed} originals removed; their sealed copies were read back first"] if removed else []
        if not self.places:
            return lines
        many = sum(self.places.values())
        lines.append(
            "1 original still lies where it came from, unencrypted:"
            if many == 1
            else f"{many} originals still lie where they came from, unencrypted:"
        )
        return lines + _some(columns([[f"  {path}", str(count)] for path, count in self.places.items()]))

    def _next(self) -> str | None:
        again = f"vlm import {shlex.quote(self.table)}"
        if self.checked_only:
            return again
        if self.places:
            return f"{again} --move    (removes them once their sealed copies were read back)"
        return "vlm audit"


def _some(lines: Sequence[str]) -> list[str]:
    rest = len(lines) - _LISTED
    return [*lines[:_LISTED], *([f"and {rest} more: see --json, or -o FILE"] if rest > 0 else [])]


def results_table(rows: Iterable[RowResult]) -> bytes:
    """Return the results as the bytes of a table."""
    cells = [
        {
            "name": row.name,
            "result": row.result,
            "version": "" if row.version is None else str(row.version),
            "message": shown(row.message or "; ".join(row.warnings), 2000),
        }
        for row in rows
    ]
    return write_table(cells, RESULT_COLUMNS)
