"""What the files below a folder are: weights of voices, lists of clips, locks, settings; told by content."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle.domain.errors import VlmError
from lifecycle.formats import Inspection, faiss, safetensors
from lifecycle.formats.lists import MAX_BYTES as MAX_LIST_BYTES
from lifecycle.formats.lists import Clip, read_list, read_names
from lifecycle.formats.model import Unread
from lifecycle.formats.zips import looks_like_zip
from lifecycle.services.imports.walk import File, Tree
from lifecycle.services.inspect import inspect_file
from lifecycle.services.registration.state import small_file

if TYPE_CHECKING:
    from lifecycle.domain.progress import Progress

GPT, SOVITS = "gpt-sovits-gpt", "gpt-sovits-sovits"
VOICES = frozenset({GPT, SOVITS, "rvc", "so-vits-svc", "vlm-voice"})
SPEAKER, SETTINGS, INDEX = "vlm-speaker", "so-vits-svc-config", "faiss-index"
_REASONS = {
    "gpt-sovits-gpt-training": "a training checkpoint; it cannot speak as it is",
    "gpt-sovits-sovits-training": "a training checkpoint; it cannot speak as it is",
    "gpt-sovits-discriminator": "a discriminator; it cannot speak",
    "gpt-sovits-base": "a base model, nobody's voice",
}
_WEIGHTS = (".ckpt", ".pth", ".pt", ".safetensors", ".bin", ".onnx", ".pkl")
_LOCKS = ("requirements*.txt", "*freeze*.txt", "pylock*.toml", "uv.lock", "environment*.y*ml", "conda*.txt")
_SMALL = 8 << 20


@dataclass(frozen=True, slots=True)
class Model:
    """A file that belongs to a voice: what it is, by its content."""

    path: Path
    size: int
    kind: str
    facts: Mapping[str, object]
    summary: str


@dataclass(slots=True)
class Things:
    """What was found below a folder.

    Attributes:
        lists: For each list of clips its lines.
        trained: For each folder of an experiment the names of the clips it was trained on.
        refused: Files that look like weights and would run something, or could not be read; each with why.
        aside: Files that were read and are no voice, each with why.
    """

    tree: Tree
    models: list[Model] = field(default_factory=list)
    speakers: list[Model] = field(default_factory=list)
    settings: list[Model] = field(default_factory=list)
    indexes: list[Model] = field(default_factory=list)
    locks: list[Model] = field(default_factory=list)
    lists: dict[Path, list[Clip]] = field(default_factory=dict)
    trained: dict[Path, set[str]] = field(default_factory=dict)
    refused: list[tuple[str, str]] = field(default_factory=list)
    aside: list[tuple[str, str]] = field(default_factory=list)
    read_bytes: int = 0


def look(tree: Tree, *, progress: Progress) -> Things:
    """Inspect every file of a tree that may belong to a voice; each is read once, and nothing is executed."""
    things = Things(tree)
    wanted = [file for file in tree.files if _worth_reading(file)]
    step = progress.step("looking", sum(file.size for file in wanted), "bytes")
    for file in wanted:
        _inspect(file, things)
        things.read_bytes += file.size
        step.advance(file.size, file.path.name[:40])
    for file in tree.files:
        _words(file, things)
    step.done("")
    return things


def _worth_reading(file: File) -> bool:
    """Whether the first bytes or the name make a file worth reading to its end."""
    head = file.head
    if looks_like_zip(head) or head[:1] == b"\x80" or faiss.looks_like(head):
        return True
    if safetensors.looks_like(head, file.size):
        return True
    return file.size <= _SMALL and (_is_lock(file.path.name) or file.path.name == "config.json")


def _is_lock(name: str) -> bool:
    return any(fnmatch.fnmatch(name.lower(), pattern) for pattern in _LOCKS)


def _inspect(file: File, things: Things) -> None:
    try:
        found = inspect_file(file.path).inspection
    except VlmError as error:
        things.refused.append((things.tree.shown(file.path), error.message))
        return
    places = {SPEAKER: things.speakers, SETTINGS: things.settings, INDEX: things.indexes}
    places |= {"lockfile": things.locks, **dict.fromkeys(VOICES, things.models)}
    if found.safe and found.kind in places and not _is_training(found):
        model = Model(file.path, file.size, found.kind, found.facts, found.summary.partition("     ")[0])
        places[found.kind].append(model)
    else:
        _set_aside(file, found, things)


def _is_training(found: Inspection) -> bool:
    # A G_*.pth of so-vits-svc is the voice itself: that project has no smaller file.
    return found.facts.get("stage") in ("training", "base") and found.kind != "so-vits-svc"


def _set_aside(file: File, found: Inspection, things: Things) -> None:
    shown = things.tree.shown(file.path)
    if found.safe is False and found.danger is not None:
        things.refused.append((shown, found.danger.message))
    elif found.safe is None:
        if file.path.suffix.lower() in _WEIGHTS:
            things.refused.append(
                (shown, (found.error or "was not read").partition('" ')[2] or "was not read")
            )
    elif file.path.suffix.lower() in _WEIGHTS or found.kind in _REASONS:
        reason = _REASONS.get(found.kind, found.summary.partition("     ")[0])
        things.aside.append((shown, "a training checkpoint" if _is_training(found) else reason))


def _words(file: File, things: Things) -> None:
    """Read lists of clips; whatever else is called so is left alone."""
    name = file.path.name
    if name == "2-name2text.txt":
        with_names = _small(file, things)
        if with_names is not None:
            try:
                things.trained[file.path.parent] = read_names(with_names)
            except Unread as unread:
                things.aside.append((things.tree.shown(file.path), unread.reason))
    elif file.path.suffix.lower() == ".list":
        content = _small(file, things)
        if content is not None:
            try:
                things.lists[file.path] = read_list(content)
            except Unread as unread:
                things.aside.append((things.tree.shown(file.path), unread.reason))


def _small(file: File, things: Things) -> bytes | None:
    try:
        return small_file(file.path, MAX_LIST_BYTES)
    except VlmError as error:
        things.aside.append((things.tree.shown(file.path), error.message))
        return None
