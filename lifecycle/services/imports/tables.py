"""The table of voices: columns, cells that a spreadsheet cannot run, and reading it back without believing it.

One row is one voice. The format is written down in docs/reference/import-csv.md and only ever grows.
"""

from __future__ import annotations

import csv
import difflib
import io
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lifecycle.domain.errors import UsageError
from lifecycle.formats import shown
from lifecycle.render.output import megabytes
from lifecycle.services.inspect import opened

MAX_BYTES = 64 << 20
MAX_ROWS = 100_000
MAX_CELL = 1 << 20

# Column -> what it holds, in the order in which they are written.
COLUMNS: Mapping[str, str] = {
    "name": "name of the voice",
    "weights": "files of its weights",
    "other_weights": "other epochs that were found; never read",
    "embedding": "its speaker file",
    "features": "features made from its recordings, such as an RVC index",
    "ref_audio": "a reference clip",
    "ref_text": "what is said in it",
    "ref_lang": "its language",
    "audio": "recordings, or folders of them",
    "lockfile": "the packages it runs with",
    "image": "the container image it runs in",
    "io_spec": "its I/O specification",
    "subject": "whose voice it is",
    "consent": "evidence of their consent",
    "consent_from": "first day of the consent",
    "consent_until": "last day of the consent",
    "consent_scope": "what they agree to, such as speak,train",
    "own_voice": "yes: it is your own voice",
    "contract_ends": "last day of the contract",
    "recorded_on": "day of the recordings",
    "owner": "who answers for it",
    "contact": "how to reach them",
    "rights": "what it may be used for",
    "upstream": "where its code is from",
    "policy": "the policy it is kept by",
    "note": "for people; never read",
}
LISTS = frozenset({"weights", "other_weights", "features", "audio", "consent"})
REQUIRED = ("name", "weights")
# What a spreadsheet takes for a formula, and the mark that says it is text; OWASP "CSV injection".
_MARK = "'"
_RUNS = frozenset("=+-@\t\r＝＋－＠")
_PRINTED = frozenset("\n\t")


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the line of the file it begins in (the header is 1), and its cells that are not empty."""

    line: int
    cells: Mapping[str, str]

    def get(self, column: str) -> str:
        """Return a cell, empty where there is none."""
        return self.cells.get(column, "")

    def many(self, column: str) -> list[str]:
        """Return the entries of a cell that holds several."""
        return split_list(self.get(column))


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a line of the table, or with what it names.

    Attributes:
        column: Where it stands; empty for the row as a whole.
        message: One sentence.
        code: The exit code that it leads to.
        word: The code for programs, such as "usage".
        whole: Nothing of the table may be registered while it stands.
    """

    line: int
    column: str
    message: str
    code: int = UsageError.exit_code
    word: str = UsageError.code
    whole: bool = False

    def to_json(self) -> dict[str, object]:
        """Return it for programs."""
        told: dict[str, object] = {"line": self.line, "column": self.column or None}
        return told | {"code": self.word, "message": self.message}

    def sentence(self, name: str) -> str:
        """Return it with its place, as compilers write."""
        return f"{name}:{self.line}: {self.column + ': ' if self.column else ''}{self.message}"


@dataclass(slots=True)
class Table:
    """A table as it was read, and what is wrong with its form."""

    path: Path
    rows: list[Row] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """What relative paths are relative to."""
        return self.path.parent


def has_controls(text: str) -> bool:
    """Whether a text holds what no table can hold: control characters but line breaks and tabs, or broken letters."""
    return any(unicodedata.category(letter) in {"Cc", "Cs"} and letter not in _PRINTED for letter in text)


def guarded(cell: str) -> str:
    """Return a cell that no spreadsheet runs as a formula."""
    return _MARK + cell if cell[:1] in _RUNS or cell.startswith(_MARK) else cell


def unguarded(cell: str) -> str:
    """Return what `guarded` was given; a cell that people typed stays as it is."""
    return cell[1:] if cell.startswith(_MARK) and (cell[1:2] in _RUNS or cell[1:2] == _MARK) else cell


def join_list(entries: Iterable[str]) -> str:
    """Write several entries into one cell: `;` between them, with a backslash where an entry has one of its own."""
    return ";".join(_escaped(entry) for entry in entries)


def _escaped(entry: str) -> str:
    ends = {0, len(entry) - 1}
    return "".join(
        "\\" + letter if letter in "\\;" or (letter == " " and place in ends) else letter
        for place, letter in enumerate(entry)
    )


def split_list(cell: str) -> list[str]:
    """Return the entries of a cell; blanks around them and empty ones are dropped."""
    entries: list[str] = []
    entry: list[str] = []
    kept, escaped = 0, False  # kept: how many letters of the entry stay, though they may be blanks
    for letter in cell:
        if escaped:
            entry.append(letter if letter in "\\; " else "\\" + letter)
            kept, escaped = len(entry), False
        elif letter == "\\":
            escaped = True
        elif letter == ";":
            entries.append(_trimmed(entry, kept))
            entry, kept = [], 0
        elif letter != " " or entry:
            entry.append(letter)
    if escaped:
        entry.append("\\")
        kept = len(entry)
    entries.append(_trimmed(entry, kept))
    return [each for each in entries if each]


def _trimmed(entry: list[str], kept: int) -> str:
    return "".join(entry[:kept]) + "".join(entry[kept:]).rstrip(" ")


def write_table(rows: Iterable[Mapping[str, str]], columns: Sequence[str] = tuple(COLUMNS)) -> bytes:
    """Return a table as bytes: UTF-8 with a byte order mark, which Excel needs, commas, and CRLF (RFC 4180)."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([guarded(row.get(column, "")) for column in columns])
    return text.getvalue().encode("utf-8-sig", "backslashreplace")


def read_table(path: Path) -> Table:
    """Read a table; what is wrong with its lines is kept beside them.

    Raises:
        NotFound, UnreadableFile: The file is not there, or no regular file.
        UsageError: It is no table at all: too large, not UTF-8, or without a header that fits.
    """
    quoted = f'"{shown(path.name)}"'
    with opened(path) as (file, size):
        content = file.read(MAX_BYTES + 1) if size <= MAX_BYTES else b""
    if size > MAX_BYTES or len(content) > MAX_BYTES:
        raise UsageError(f"{quoted} is larger than {megabytes(MAX_BYTES)}", hint="cut it into several tables")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UsageError(
            f"{quoted} is not UTF-8 in line {line}", hint='save it as "CSV UTF-8" and import it again'
        ) from None
    return _Reader(Table(path), text).read()


class _Reader:
    """Reads the text of one table."""

    def __init__(self, table: Table, text: str) -> None:
        self._table = table
        self._quoted = f'"{shown(table.path.name)}"'
        self._skip = 0
        first, _, rest = text.partition("\n")
        if first.strip().lower() in {"sep=,", "sep=;"}:  # Excel's own way to name the delimiter
            text, self._skip = rest, 1
        csv.field_size_limit(MAX_CELL)
        header = text.partition("\n")[0]
        delimiter = max(",;\t", key=lambda mark: sum(_known(cell) for cell in header.split(mark)))
        self._lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)

    def read(self) -> Table:
        try:
            header = self._header(next(self._lines, []))
            self._missing(header)
            line = self._lines.line_num + self._skip + 1
            for cells in self._lines:
                if any(cell.strip() for cell in cells):
                    self._row(header, cells, line)
                line = self._lines.line_num + self._skip + 1
        except csv.Error as error:
            line = self._lines.line_num + self._skip
            raise UsageError(f"{self._quoted} cannot be read in line {line}: {error}", hint=_HELP) from None
        self._twice()
        return self._table

    def _header(self, cells: Sequence[str]) -> list[str]:
        names = [cell.strip().lower() for cell in cells]
        for number, name in enumerate(names):
            if not name and not any(names[number:]):
                return names[:number]
            if name not in COLUMNS:
                near = difflib.get_close_matches(name, COLUMNS, n=1)
                guess = f'; did you mean "{near[0]}"' if near else ""
                raise UsageError(
                    f'{self._quoted} has a column "{shown(name, 60)}", which does not exist{guess}',
                    hint=_HELP,
                )
            if name in names[:number]:
                raise UsageError(f'{self._quoted} has the column "{name}" twice', hint=_HELP)
        return names

    def _row(self, header: Sequence[str], cells: Sequence[str], line: int) -> None:
        if len(self._table.rows) >= MAX_ROWS:
            raise UsageError(
                f"{self._quoted} has more than {MAX_ROWS} rows", hint="cut it into several tables"
            )
        extra = [cell for cell in cells[len(header) :] if cell.strip()]
        if extra:
            told = f"has {len(cells)} cells where the header has {len(header)}"
            self._table.problems.append(Problem(line, "", told, whole=True))
            return
        named = zip(header, map(unguarded, cells), strict=False)
        row = Row(line, {name: cell for name, cell in named if cell.strip()})
        for name, cell in row.cells.items():
            if has_controls(cell):
                self._table.problems.append(Problem(line, name, "holds a control character"))
        self._table.rows.append(row)

    def _twice(self) -> None:
        """Note rows that name one voice twice: which of them is meant, nobody can say."""
        seen: dict[str, int] = {}
        for row in self._table.rows:
            name = row.get("name").strip()
            if name in seen:
                told = f'"{shown(name, 80)}" is the name of line {seen[name]} too'
                self._table.problems.append(Problem(row.line, "name", told, whole=True))
            elif name:
                seen[name] = row.line

    def _missing(self, header: Sequence[str]) -> None:
        for name in REQUIRED:
            if name not in header:
                raise UsageError(f'{self._quoted} lacks the column "{name}"', hint=_HELP)


_HELP = "see the columns: vlm import --help"


def _known(cell: str) -> bool:
    return cell.strip().strip('"').lower() in COLUMNS
