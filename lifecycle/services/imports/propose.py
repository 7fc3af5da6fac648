"""`vlm import DIR --dry-run`: look at a folder and propose a table of voices; nothing is changed."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3

from lifecycle.formats import shown
from lifecycle.render.output import columns, megabytes
from lifecycle.services.imports.clips import Library
from lifecycle.services.imports.find import GPT, SOVITS, Model, Things, look
from lifecycle.services.imports.pairs import Group, gather, pair
from lifecycle.services.imports.tables import COLUMNS, join_list, split_list, write_table
from lifecycle.services.imports.walk import walk
from lifecycle.vault.files import write_durably

if TYPE_CHECKING:
    from lifecycle.domain.progress import Progress
    from lifecycle.settings import Settings

_WORDS = {"rvc": "RVC", "so-vits-svc": "so-vits-svc", "vlm-voice": "vlm-voice"}
_LISTED = 20


@dataclass(frozen=True, slots=True)
class Proposal:
    """The rows that a folder gave, and what was left out, each with its reason."""

    folder: str
    rows: tuple[Mapping[str, str], ...]
    kinds: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]
    aside: tuple[tuple[str, str], ...]
    skipped: tuple[tuple[str, str], ...]
    made: tuple[str, ...]
    left_over: tuple[tuple[str, int], ...]
    read_bytes: int
    output: str | None = None

    def to_json(self) -> dict[str, object]:
        """Return it for programs."""
        return {
            "folder": self.folder,
            "output": self.output,
            "voices": [
                {"kind": kind, **{name: row.get(name, "") for name in COLUMNS}}
                for kind, row in zip(self.kinds, self.rows, strict=True)
            ],
            "refused": [{"path": path, "reason": reason} for path, reason in self.refused],
            "aside": [{"path": path, "reason": reason} for path, reason in self.aside],
            "skipped": [{"path": path, "reason": reason} for path, reason in self.skipped],
            "features": list(self.made),
            "left_over": [{"path": path, "recordings": count} for path, count in self.left_over],
            "read_bytes": self.read_bytes,
        }

    def lines(self) -> list[str]:
        """Return it for people: what was found, what cannot be used and why, and the next thing to do."""
        many = f"{len(self.rows)} voice{'s' if len(self.rows) != 1 else ''}"
        lines = [f"found {many} in {self.folder}    {megabytes(self.read_bytes)} read, nothing was changed"]
        if self.rows:
            table = [["  name", "kind", "weights", "recordings", "text", "other"]]
            table += [self._row(kind, row) for kind, row in zip(self.kinds, self.rows, strict=True)]
            lines += columns(table)
        lines += (
            _named("refused", self.refused) + _named("aside", self.aside) + _named("skipped", self.skipped)
        )
        if self.made:
            lines.append(f"features and cut copies of recordings lie in {_some(self.made)}")
        if self.left_over:
            count = sum(number for _, number in self.left_over)
            places = _some([f"{path} ({number})" for path, number in self.left_over])
            lines.append(f"recordings that no row names, so that they stay as they are: {count}, in {places}")
        if self.output is not None:
            check = f"vlm import {shlex.quote(self.output)} --check"
            lines.append(f"next: say in {self.output} whose voices they are, then: {check}")
        elif self.rows:
            lines.append(f"next: vlm import {shlex.quote(self.folder)} --dry-run -o voices.csv")
        return lines

    def _row(self, kind: str, row: Mapping[str, str]) -> list[str]:
        def count(column: str) -> str:
            return str(len(split_list(row.get(column, "")))) if row.get(column) else "-"

        text = "yes" if row.get("ref_text") else "-"
        return [f"  {row['name']}", kind, count("weights"), count("audio"), text, count("other_weights")]


def _named(word: str, found: Sequence[tuple[str, str]]) -> list[str]:
    lines = columns([[f"  {word}", path, reason] for path, reason in found[:_LISTED]])
    rest = len(found) - _LISTED
    return lines + ([f"  {word}  {rest} more: see --json"] if rest > 0 else [])


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def propose(
    folder: Path,
    *,
    settings: Settings,
    progress: Progress,
    output: Path | None = None,
    given: Mapping[str, str] | None = None,
) -> Proposal:
    """Look at everything below a folder and propose a row for each voice.

    Args:
        output: Where the table will lie; paths are written relative to its folder where they lie below it.
        given: Cells that every row gets, such as owner.

    Raises:
        NotFound, UnreadableFile: There is no such folder, or it cannot be read.
    """
    tree = walk(folder, leave=(settings.home, settings.keys, settings.runtimes))
    things = look(tree, progress=progress)
    pairs = pair([model for model in things.models if model.kind in (GPT, SOVITS)])
    groups = pairs + gather([m for m in things.models if m.kind not in (GPT, SOVITS)], things.settings)
    groups.sort(key=lambda group: (str(group.root), group.voice.casefold(), group.family))
    base = tree.root if output is None else output.absolute().parent
    maker = _Rows(things, base, len(groups), given or {})
    rows = [maker.row(group) for group in groups]
    return Proposal(
        folder=shown(str(folder), 1000),
        rows=tuple(rows),
        kinds=tuple(_kind(group) for group in groups),
        refused=tuple(things.refused),
        aside=tuple(things.aside),
        skipped=tuple(tree.skipped),
        made=tuple(tree.shown(path) for path in tree.made),
        left_over=tuple((tree.shown(path), count) for path, count in maker.left_over()),
        read_bytes=things.read_bytes,
        output=None if output is None else shown(str(output), 1000),
    )


def table_of(proposal: Proposal) -> bytes:
    """Return the proposal as the bytes of a table."""
    return write_table(proposal.rows)


def _kind(group: Group) -> str:
    version = next((str(m.facts["version"]) for m in reversed(group.chosen) if m.facts.get("version")), "")
    word = _WORDS.get(group.chosen[0].kind, "GPT-SoVITS")
    return f"{word} {version}".strip() if word != "vlm-voice" else word


class _Rows:
    """Writes the rows of one table."""

    def __init__(self, things: Things, base: Path, voices: int, given: Mapping[str, str]) -> None:
        self._things = things
        self._base = base
        self._given = given
        self._library = Library(things, voices)
        self._names: set[str] = set()

    def row(self, group: Group) -> dict[str, str]:
        clips = self._library.of(group.voice, group.root)
        name = self._name(group)
        notes = [*group.notes, *clips.notes]
        if name != group.voice:
            notes.insert(0, f"experiment {shown(group.voice, 80)}")
        row = {
            "name": name,
            "weights": self._cell(model.path for model in group.chosen),
            "other_weights": self._cell(model.path for model in group.others),
            "embedding": self._speaker(group),
            "features": self._cell(self._indexes(group)),
            "ref_audio": "" if clips.reference is None else self._path(clips.reference),
            "ref_text": clips.text,
            "ref_lang": clips.language,
            "audio": self._cell(clips.audio),
            "lockfile": self._lock(group),
            **self._given,
        }
        if row["audio"] and not (self._given.get("subject") or self._given.get("own_voice")):
            notes.append("fill in subject, or own_voice")
        return {key: text for key, text in {**row, "note": "; ".join(notes)}.items() if text}

    def left_over(self) -> list[tuple[Path, int]]:
        """Return the folders whose recordings stand in none of the rows, and how many they are."""
        return self._library.left_over()

    def _name(self, group: Group) -> str:
        """Return a name for the voice that nobody has yet: the experiment's, as far as names may hold it."""
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", group.voice).strip("._-")
        plain = re.sub(r"\.{2,}", ".", plain)[:50].strip("._-")
        if not any(letter.isalnum() for letter in plain) or not group.voice.isascii():
            digest = blake3(group.voice.encode("utf-8", "surrogatepass")).hexdigest()[:6]
            plain = f"{plain or 'voice'}-{digest}"
        choices = [plain, *([f"{plain}-{group.family}"] if group.family else [])]
        choices += [f"{plain}-{number}" for number in range(2, len(self._names) + 3)]
        name = next(choice for choice in choices if choice.casefold() not in self._names)
        self._names.add(name.casefold())
        return name

    def _speaker(self, group: Group) -> str:
        """Return the speaker file of a voice of ours: the one called like it, else the only one beside it."""
        if group.chosen[0].kind != "vlm-voice":
            return ""
        beside = [m for m in self._things.speakers if m.path.parent == group.chosen[0].path.parent]
        stem = group.chosen[0].path.name.partition(".")[0]
        same = [model for model in beside if model.path.name.partition(".")[0] == stem]
        found = same or (beside if len(beside) == 1 else [])
        return self._path(found[0].path) if found else ""

    def _indexes(self, group: Group) -> list[Path]:
        if group.chosen[0].kind != "rvc":
            return []
        return [
            model.path
            for model in self._things.indexes
            if model.path.parent.name == group.voice or f"_{group.voice}" in model.path.stem
        ][:20]

    def _lock(self, group: Group) -> str:
        """Return the best lock beside the project or above it: one that pins everything, then one that pins most."""
        above = [group.root, *group.root.parents]
        near = [model for model in self._things.locks if model.path.parent in above]
        best = max(near, key=lambda model: (_pinned(model), len(model.path.parts)), default=None)
        return "" if best is None else self._path(best.path)

    def _cell(self, paths: Iterable[Path]) -> str:
        return join_list(self._path(path) for path in paths)

    def _path(self, path: Path) -> str:
        return os.fspath(path.relative_to(self._base)) if path.is_relative_to(self._base) else os.fspath(path)


def _pinned(model: Model) -> float:
    packages, pinned = model.facts.get("packages"), model.facts.get("pinned")
    if not isinstance(packages, int) or not isinstance(pinned, int) or not packages:
        return 0.0
    return pinned / packages


def write_file(path: Path, content: bytes) -> None:
    """Write a table for its owner alone: it names people and what they said.

    Raises:
        Unavailable: It cannot be written.
    """
    write_durably(path, content)
