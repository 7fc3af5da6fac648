"""From a row of the table to a registration: dates, words and paths are read here, and what is wrong is named."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

from lifecycle.domain.errors import NotFound, UnreadableFile, UsageError, VlmError
from lifecycle.formats import shown
from lifecycle.services.imports.tables import LISTS, Problem, Row
from lifecycle.services.registration.recordings import find_recordings
from lifecycle.services.registration.request import Reference, RegisterRequest

_YES = frozenset({"yes", "y", "true", "1", "x", "是"})
_NO = frozenset({"no", "n", "false", "0", "否"})
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(?:[-_][A-Za-z0-9]{1,8})*")
_PATHS = ("weights", "embedding", "features", "ref_audio", "lockfile", "io_spec", "audio", "consent")
# Words that only tell people something; a change in them is no reason to read files again.
_UNREAD = frozenset({"note", "other_weights"})
_GONE, _EMPTY = ["gone"], ["empty"]


Look = tuple[str, ...]


@dataclass(slots=True)
class Wanted:
    """A row, the registration it asks for, and the files it names.

    Attributes:
        request: None where the row cannot be read as one.
        files: For each file its path, size, times and inode; "gone" in place of them where it is not there.
        originals: The same of recordings and clips; "empty" for a folder without any.
        size: Bytes of all files.
    """

    row: Row
    request: RegisterRequest | None = None
    problems: list[Problem] = field(default_factory=list)
    files: list[Look] = field(default_factory=list)
    originals: list[Look] = field(default_factory=list)
    size: int = 0

    @property
    def line(self) -> int:
        """Where the row begins in its table."""
        return self.row.line

    @property
    def name(self) -> str:
        """The voice's name as the row gives it, fit for a terminal."""
        return shown(self.row.get("name").strip(), 80)

    @property
    def lying(self) -> list[str]:
        """The recordings and clips that still lie where the row says."""
        return [path for path, *seen in self.originals if seen not in (_GONE, _EMPTY)]

    def content(self, *, moved: bool = False) -> list[object]:
        """Return what makes this row this row: its words and its files as they lie there.

        Args:
            moved: Without the originals, as the row is once they were removed.
        """
        words = sorted((name, cell) for name, cell in self.row.cells.items() if name not in _UNREAD)
        looks = self.files if moved else [*self.files, *self.originals]
        return [[list(pair) for pair in words], [list(look) for look in looks], moved]

    def left_over(self) -> None:
        """Ask only for the originals that are still there: the others were moved into the store before."""
        request = self.request
        if request is None:
            return
        absent = {path for path, *seen in self.originals if seen in (_GONE, _EMPTY)}
        references = tuple(r for r in request.references if os.fspath(r.path) not in absent)
        audio = tuple(path for path in request.audio if os.fspath(path) not in absent)
        dated = audio or references or request.features
        self.request = replace(
            request,
            references=references,
            audio=audio,
            move=request.move and bool(audio or references),
            recorded_on=request.recorded_on if dated else None,
        )
        self.originals = [look for look in self.originals if look[0] not in absent]

    def look(self) -> None:
        """Look at the files, without opening them."""
        request = self.request
        if request is None:
            return
        for path in _files_of(request):
            self.files.append(self._look(path))
        for reference in request.references:
            self.originals.append(self._look(reference.path))
        for path in request.audio:
            self._recordings(path)

    def _recordings(self, path: Path) -> None:
        try:
            listed = find_recordings(path).files
        except VlmError:
            listed = [path]
        if not listed:
            self.originals.append((os.fspath(path), *_EMPTY))
        seen = {look[0] for look in self.originals}
        self.originals += [self._look(file) for file in listed if os.fspath(file) not in seen]

    def _look(self, path: Path) -> Look:
        try:
            seen = path.stat()
        except (OSError, ValueError):
            return (os.fspath(path), *_GONE)
        self.size += seen.st_size if stat.S_ISREG(seen.st_mode) else 0
        times = (seen.st_size, seen.st_mtime_ns, seen.st_ino, seen.st_ctime_ns)
        return (os.fspath(path), *map(str, times))


def _files_of(request: RegisterRequest) -> Iterator[Path]:
    yield from request.weights
    yield from (path for path in (request.embedding, request.lockfile, request.io_spec) if path is not None)
    yield from request.features
    yield from request.consents


class Places:
    """Says whether paths stay inside the table's folder; each folder above them is followed once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._root = Path(os.path.realpath(self.folder))
        self._known: dict[Path, Path] = {}

    def inside(self, path: Path) -> bool:
        """Whether a path, its links followed, lies in the folder or is the folder."""
        try:
            real = self._known.get(path.parent)
            if real is None:
                real = self._known[path.parent] = Path(os.path.realpath(path.parent))
            last = real / path.name
            if path.name == ".." or last.is_symlink():
                last = Path(os.path.realpath(last))
        except (OSError, ValueError):
            return False
        return last.is_relative_to(self._root)


def read_row(row: Row, places: Places, *, move: bool = False) -> Wanted:
    """Read a row; what is wrong with it stands in `problems`, and no file is opened.

    Args:
        places: What relative paths are relative to, and may not leave.
        move: Remove the originals once their sealed copies were read back.
    """
    return _Parser(Wanted(row), places).read(move=move)


class _Parser:
    def __init__(self, wanted: Wanted, places: Places) -> None:
        self._wanted = wanted
        self._row = wanted.row
        self._places = places
        self._folder = places.folder

    def read(self, *, move: bool) -> Wanted:
        files = {column: self._files(column) for column in _PATHS}
        clip = files["ref_audio"]
        if not clip and (self._row.get("ref_text") or self._row.get("ref_lang")):
            self._wrong("ref_text", "there is no ref_audio that it is said in")
        if not self._row.get("name"):
            self._wrong("name", "is empty")
        text = self._row.get
        request = RegisterRequest(
            name=text("name").strip(),
            weights=tuple(files["weights"]),
            embedding=_first(files["embedding"]),
            references=tuple(Reference(p, "default", text("ref_text"), self._language()) for p in clip),
            features=tuple(files["features"]),
            lockfile=_first(files["lockfile"]),
            image=self._word("image"),
            io_spec=_first(files["io_spec"]),
            audio=tuple(files["audio"]),
            move=move and bool(files["audio"] or clip),
            subject=self._word("subject"),
            consents=tuple(files["consent"]),
            consent_from=self._date("consent_from"),
            consent_until=self._date("consent_until"),
            consent_scope=self._word("consent_scope"),
            own_voice=self._flag("own_voice"),
            owner=self._word("owner"),
            contact=self._word("contact"),
            rights=self._word("rights"),
            contract_ends=self._date("contract_ends"),
            recorded_on=self._date("recorded_on"),
            upstream=self._word("upstream"),
            policy=self._word("policy"),
        )
        self._check(request)
        self._wanted.request = request
        self._wanted.look()
        return self._wanted

    def _check(self, request: RegisterRequest) -> None:
        if not request.name:
            return
        if (request.audio or request.consents) and not (request.subject or request.own_voice):
            column = "audio" if request.audio else "consent"
            self._wrong(column, "belongs to a person: say whose in subject, or yes in own_voice")
        try:
            request.check()
        except UsageError as error:
            self._wrong("", error.message)

    def _files(self, column: str) -> list[Path]:
        named = self._row.many(column) if column in LISTS else [self._row.get(column)]
        return [path for text in named if text and (path := self._path(column, text)) is not None]

    def _path(self, column: str, text: str) -> Path | None:
        """Return a path; a relative one may not leave the table's folder, neither by `..` nor over a link."""
        path = Path(text)
        if path.is_absolute():
            return path
        joined = self._folder / path
        if not self._places.inside(joined):
            self._wrong(column, f'"{shown(text)}" leaves the folder of the table; write an absolute path')
            return None
        return Path(os.path.normpath(joined))

    def _date(self, column: str) -> date | None:
        text = self._row.get(column).strip()
        if not text:
            return None
        try:
            if _DATE.fullmatch(text) is None:
                raise ValueError
            return date.fromisoformat(text)
        except ValueError:
            self._wrong(column, f'"{shown(text, 40)}" is not a date such as 2027-06-30')
            return None

    def _flag(self, column: str) -> bool:
        text = self._row.get(column).strip().lower()
        if text and text not in _YES and text not in _NO:
            self._wrong(column, f'"{shown(text, 40)}" is neither yes nor no')
        return text in _YES

    def _word(self, column: str) -> str | None:
        return self._row.get(column).strip() or None

    def _language(self) -> str:
        text = self._row.get("ref_lang").strip()
        if text and _LANGUAGE.fullmatch(text) is None:
            self._wrong("ref_lang", f'"{shown(text, 40)}" is no language such as en or zh')
            return ""
        return text

    def _wrong(self, column: str, message: str) -> None:
        self._wanted.problems.append(Problem(self._row.line, column, message))


def missing_files(wanted: Wanted) -> list[Problem]:
    """Name the files of a row that are not there, or are no files."""
    problems = []
    columns = {os.fspath(p): c for c, p in _columns(wanted)}
    for path, *seen in (*wanted.files, *wanted.originals):
        if seen == _GONE:
            told = f'"{shown(str(path), 300)}" does not exist'
            column = columns.get(str(path), "")
            problems.append(Problem(wanted.row.line, column, told, NotFound.exit_code, NotFound.code))
        elif columns.get(str(path), "audio") != "audio" and Path(str(path)).is_dir():
            told = f'"{shown(str(path), 300)}" is a folder'
            code, word = UnreadableFile.exit_code, UnreadableFile.code
            problems.append(Problem(wanted.row.line, columns[str(path)], told, code, word))
    return problems


def _columns(wanted: Wanted) -> Iterator[tuple[str, Path]]:
    request = wanted.request
    if request is None:
        return
    yield from (("audio", path) for path in request.audio)
    yield from (("consent", path) for path in request.consents)
    yield from (("features", path) for path in request.features)
    yield from (("ref_audio", reference.path) for reference in request.references)
    yield from (("weights", path) for path in request.weights)
    for column, path in (
        ("embedding", request.embedding),
        ("lockfile", request.lockfile),
        ("io_spec", request.io_spec),
    ):
        if path is not None:
            yield column, path


def _first(paths: list[Path]) -> Path | None:
    return paths[0] if paths else None
