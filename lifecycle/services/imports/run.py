"""`vlm import TABLE`: every row becomes a voice, a version or additions; resumable, and a bad row stops only itself.

A row that is finished is remembered by a keyed digest of its words and of what its files look like (size, times,
inode), in the transaction that registered it. A second run compares that and opens nothing.
"""

from __future__ import annotations

import json
import os
import shlex
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3

from lifecycle.domain.digest import Digest
from lifecycle.domain.errors import Busy, IntegrityError, Unavailable, UsageError, VlmError
from lifecycle.domain.failpoints import hit
from lifecycle.formats import shown
from lifecycle.registry.queries.imports import Imported as Finished
from lifecycle.services.imports.request import Places, Wanted, missing_files, read_row
from lifecycle.services.imports.result import Imported, RowResult
from lifecycle.services.imports.tables import Problem, Row, Table, read_table
from lifecycle.services.registration.batch import Batch, batch
from lifecycle.services.registration.register import register
from lifecycle.services.retention.files import load_policy, policy_home

if TYPE_CHECKING:
    from lifecycle.bootstrap import Rooms
    from lifecycle.domain.progress import Progress, Step
    from lifecycle.registry.unit_of_work import UnitOfWork
    from lifecycle.services.registration.request import Registered


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How a table is imported.

    Attributes:
        again: Read every file anew, whatever was remembered.
        move: Remove originals once their sealed copies were read back.
        goldens: Record a golden for each voice that can have one, where a runtime is here.
        check: Say what is wrong, and register nothing.
    """

    again: bool = False
    move: bool = False
    goldens: bool = False
    check: bool = False


def import_table(path: Path, *, rooms: Rooms, options: ImportOptions = ImportOptions()) -> Imported:
    """Import a table, or check it.

    Raises:
        NotFound, UnreadableFile: There is no such table.
        UsageError: The table as a whole cannot be imported, and nothing was: a wrong column, a name twice.
    """
    table = read_table(path)
    _refuse_whole(table, check=options.check)
    return _Import(table, rooms, options).run()


def _refuse_whole(table: Table, *, check: bool) -> None:
    whole = [problem for problem in table.problems if problem.whole]
    if check or not whole:
        return
    name = shown(table.path.name)
    more = f", and {len(whole) - 1} more such lines" if len(whole) > 1 else ""
    raise UsageError(
        f"{whole[0].sentence(name)}{more}; nothing was registered",
        hint=f"vlm import {shlex.quote(shown(str(table.path)))} --check",
    )


class _Import:
    """One import of one table."""

    def __init__(self, table: Table, rooms: Rooms, options: ImportOptions) -> None:
        self._table = table
        self._rooms = rooms
        self._options = options
        self._results: list[RowResult] = []
        self._finished: dict[int, Finished] = {}
        self._digests: dict[int, tuple[str, str]] = {}
        self._shared: set[int] = set()
        self._inner = rooms
        self._policies: dict[str, str | None] = {}
        mark = Digest("blake3", blake3(b"vlm imported rows v1").hexdigest())
        self._key = blake3(rooms.vault.keys.fingerprint(None, mark).encode("ascii")).digest()

    def run(self) -> Imported:
        begun = time.monotonic()
        places = Places(self._table.folder)
        wanted = [read_row(row, places, move=self._options.move) for row in self._table.rows]
        self._tell_finished(wanted)
        problems = self._problems(wanted)
        if self._options.check:
            return self._checked(wanted, problems)
        stopped = self._register_all(wanted, problems)
        return Imported(
            table=shown(str(self._table.path), 1000),
            rows=tuple(self._results),
            problems=tuple(p for found in problems.values() for p in found),
            places=self._left(wanted),
            stopped=stopped,
            seconds=time.monotonic() - begun,
        )

    def _tell_finished(self, wanted: Sequence[Wanted]) -> None:
        """Find the rows that are finished, and those whose originals were moved into the store, wholly or partly."""
        for each in wanted:
            self._digests[each.line] = self._digest(each), self._digest(each, moved=True)
        with self._rooms.registry.read() as uow:
            known = uow.imports.finished([digest for both in self._digests.values() for digest in both])
        for each in wanted:
            whole, moved = self._digests[each.line]
            was_moved = moved in known
            if was_moved:
                each.left_over()
            done = known.get(whole) or (known.get(moved) if not each.originals else None)
            must_move = self._options.move and bool(each.lying)
            if done is not None and not must_move and (was_moved or not self._options.again):
                self._finished[each.line] = done

    def _problems(self, wanted: Sequence[Wanted]) -> dict[int, list[Problem]]:
        """Return what is wrong with each row, by its line."""
        found: dict[int, list[Problem]] = {}
        for problem in self._table.problems:
            found.setdefault(problem.line, []).append(problem)
        for each in wanted:
            if each.line in self._finished:
                continue
            mine = [*each.problems, *missing_files(each), *self._policy(each)]
            if mine:
                found.setdefault(each.line, []).extend(mine)
        return found

    def _policy(self, wanted: Wanted) -> list[Problem]:
        name = None if wanted.request is None else wanted.request.policy
        if name is None:
            return []
        if name not in self._policies:
            try:
                load_policy(name, own=policy_home(self._rooms))
                self._policies[name] = None
            except VlmError as error:
                self._policies[name] = error.message
        told = self._policies[name]
        return [] if told is None else [Problem(wanted.line, "policy", told, 3, "not_found")]

    def _checked(self, wanted: Sequence[Wanted], problems: Mapping[int, Sequence[Problem]]) -> Imported:
        rows = [
            RowResult(each.line, each.name, "failed" if problems.get(each.line) else "not_reached")
            for each in wanted
        ]
        return Imported(
            table=shown(str(self._table.path), 1000),
            rows=tuple(rows),
            problems=tuple(p for line in sorted(problems) for p in problems[line]),
            checked_only=True,
        )

    def _register_all(
        self, wanted: Sequence[Wanted], problems: Mapping[int, Sequence[Problem]]
    ) -> str | None:
        """Register row by row; return why it had to stop, or None."""
        todo = [w for w in wanted if w.line not in self._finished and not problems.get(w.line)]
        step = self._rooms.progress.step("importing", sum(each.size for each in todo) or None, "bytes")
        self._inner = replace(self._rooms, progress=_Inner(step))
        self._shared = _needed_later(todo)
        weights = [path for each in todo if each.request for path in each.request.weights]
        stopped: str | None = None
        done = 0
        with batch(self._rooms, weights, goldens=self._options.goldens) as among:
            for each in wanted:
                result = self._without_reading(each, problems, stopped=stopped is not None)
                if result is None:
                    done += 1
                    step.advance(0, f"{done}/{len(todo)} {each.name}"[:40])
                    result, stopped = self._register(each, among)
                self._results.append(result)
        step.done(f"{done} of {len(todo)} rows" if todo else "")
        return stopped

    def _without_reading(
        self, wanted: Wanted, problems: Mapping[int, Sequence[Problem]], *, stopped: bool
    ) -> RowResult | None:
        """Return the result of a row that is not registered now, or None."""
        if wanted.line in self._finished:
            version = self._finished[wanted.line].version
            return RowResult(wanted.line, wanted.name, "unchanged", version=version)
        if problems.get(wanted.line):
            return _failed(wanted.row, problems[wanted.line][0])
        return RowResult(wanted.line, wanted.name, "not_reached") if stopped else None

    def _register(self, wanted: Wanted, among: Batch) -> tuple[RowResult, str | None]:
        """Register one row; originals that a later row needs too stay until that one is in."""
        assert wanted.request is not None
        request = replace(wanted.request, move=wanted.request.move and wanted.line not in self._shared)
        whole, moved = self._digests[wanted.line]
        digests = [whole, moved] if wanted.request.move else [whole]

        def also(uow: UnitOfWork, voice_uid: str) -> None:
            uow.imports.remember(voice_uid, digests, at=self._rooms.clock())

        try:
            done = register(request, rooms=self._inner, also=also, among=among)
        except (Unavailable, Busy, IntegrityError) as error:
            again = f"vlm import {shlex.quote(shown(str(self._table.path)))}"
            return _broke(wanted, error), f"{error.hint}, then: {again}" if error.hint else again
        except VlmError as error:
            return _broke(wanted, error), None
        except Exception as error:  # noqa: BLE001  a bug that one row meets does not end the others
            told = f"this is a bug in vlm, please report it: {type(error).__name__}: {error}"
            return _broke(wanted, VlmError(told)), None
        hit("import.after_row")
        return _did(wanted, done), None

    def _digest(self, wanted: Wanted, *, moved: bool = False) -> str:
        """Return the keyed digest of a row; without the key it says nothing about names or paths."""
        text = json.dumps(wanted.content(moved=moved), ensure_ascii=True, separators=(",", ":"))
        return blake3(text.encode("ascii"), key=self._key).hexdigest()

    def _left(self, wanted: Sequence[Wanted]) -> dict[str, int]:
        """Return the folders in which originals still lie, with how many."""
        well = {r.line for r in self._results if r.result in {"registered", "unchanged"}}
        left = {path for each in wanted if each.line in well for path in each.lying}
        folders = Counter(shown(str(Path(path).parent), 1000) for path in left if os.path.lexists(path))
        return dict(sorted(folders.items()))


def _needed_later(todo: Sequence[Wanted]) -> set[int]:
    """Return the lines of rows whose originals a later row names too."""
    last: dict[str, int] = {path: each.line for each in todo for path in each.lying}
    return {each.line for each in todo if any(last[path] != each.line for path in each.lying)}


def _did(wanted: Wanted, done: Registered) -> RowResult:
    return RowResult(
        line=wanted.line,
        name=wanted.name,
        result="unchanged" if done.created == "nothing" else "registered",
        version=done.version,
        created=done.created,
        stored_bytes=done.stored_bytes,
        left=done.originals_left,
        removed=done.originals_removed,
        warnings=done.warnings,
    )


def _failed(row: Row, problem: Problem) -> RowResult:
    message = f"{problem.column + ': ' if problem.column else ''}{problem.message}"
    name = shown(row.get("name").strip(), 80)
    return RowResult(row.line, name, "failed", message=message, code=problem.code, word=problem.word)


def _broke(wanted: Wanted, error: VlmError) -> RowResult:
    return RowResult(
        line=wanted.line,
        name=wanted.name,
        result="failed",
        message=error.message,
        hint=error.hint,
        code=error.exit_code,
        word=error.code,
    )


@dataclass(slots=True)
class _InnerStep:
    """A step of one row: its bytes count for the whole import, its lines are not shown."""

    whole: Step
    counts: bool

    def advance(self, amount: float, note: str = "") -> None:  # noqa: ARG002
        if self.counts:
            self.whole.advance(amount)

    def done(self, line: str = "") -> None:
        """Say nothing: there is one line per row at the end, not one per file."""


@dataclass(slots=True)
class _Inner:
    """The progress of one row inside the progress of all."""

    whole: Step
    words: frozenset[str] = field(default=frozenset({"reading", "sealing"}))

    def step(self, name: str, total: float | None = None, unit: str = "") -> _InnerStep:  # noqa: ARG002
        return _InnerStep(self.whole, counts=name in self.words)


if TYPE_CHECKING:
    _: type[Progress] = _Inner
