"""Every file below a folder that may belong to a voice: bounded, no link followed, nothing opened but regular files."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lifecycle.domain.errors import NotFound, UnreadableFile
from lifecycle.formats import shown
from lifecycle.services.imports.tables import has_controls

MAX_DEPTH = 24
MAX_FILES = 500_000
HEAD_BYTES = 512

AUDIO = (".wav", ".wave", ".flac", ".mp3", ".ogg", ".oga", ".opus")
# Recordings that are not read here; they are a person's all the same, so they are counted.
UNREAD_AUDIO = (".m4a", ".aac", ".aif", ".aiff", ".amr", ".caf", ".wma")
# Folders that hold programs, downloads and samples, never somebody's voice; hidden ones are skipped too.
_SKIPPED = frozenset({
    "__pycache__", "node_modules", "site-packages", "dist-packages", "pretrained_models", "pretrained", "pretrained_v2",
    "uvr5_weights", "sample_data", "lost+found", "hubert", "contentvec", "rmvpe", "g2pwmodel",
})  # fmt: skip
# What GPT-SoVITS and RVC make of recordings while they prepare them: `3-bert`, `7-sv_cn`, `3_feature768`, `2a_f0`.
_MADE = re.compile(r"\d{1,2}[a-z]?[-_].+")
RECUT = frozenset({"5-wav32k", "0_gt_wavs"})
"""Of those, the folders that hold the recordings themselves, cut."""


@dataclass(frozen=True, slots=True)
class File:
    """A regular file that was seen, and its first bytes (empty for what its folder or size rules out)."""

    path: Path
    size: int
    head: bytes = b""


@dataclass(slots=True)
class Folder:
    """A folder that was seen, with the recordings in it, by name, and how many more of them cannot be read here."""

    path: Path
    recordings: list[Path] = field(default_factory=list)
    unread: int = 0


@dataclass(slots=True)
class Tree:
    """What lies below a folder.

    Attributes:
        files: All but recordings, in the order of their paths.
        folders: Those that hold recordings, by path.
        made: Folders of features and cut copies that were made from recordings.
        skipped: What was not looked at, with the reason.
    """

    root: Path
    files: list[File] = field(default_factory=list)
    folders: dict[Path, Folder] = field(default_factory=dict)
    made: list[Path] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def shown(self, path: Path) -> str:
        """Return a path below the root, fit for a terminal."""
        return shown(os.path.relpath(path, self.root), 300)


def walk(root: Path, *, leave: Iterable[Path] = ()) -> Tree:
    """List what lies below a folder.

    Args:
        leave: Folders of our own, such as VLM_HOME, which are not looked into.

    Raises:
        NotFound: There is no such folder.
        UnreadableFile: It is no folder, cannot be read, or holds too many files.
    """
    quoted = f'"{shown(str(root), 1000)}"'
    try:
        status = root.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"{quoted} does not exist") from None
    except (OSError, ValueError) as error:
        raise UnreadableFile(f"{quoted} could not be opened: {error}") from None
    if not stat.S_ISDIR(status.st_mode):
        raise UnreadableFile(f"{quoted} is no folder")
    tree = Tree(root.absolute())
    ours = {str(path.absolute()) for path in leave}
    _Walker(tree, ours).into(tree.root, 0)
    tree.files.sort(key=lambda file: file.path)
    return tree


class _Walker:
    def __init__(self, tree: Tree, ours: set[str]) -> None:
        self._tree = tree
        self._ours = ours
        self._seen = 0

    def into(self, folder: Path, depth: int) -> None:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            if depth == 0:
                told = (error.strerror or "").lower()
                raise UnreadableFile(f'"{shown(str(folder), 1000)}" could not be read: {told}') from None
            self._skip(folder, f"could not be read: {(error.strerror or '').lower()}")
            return
        names = {entry.name for entry in entries}
        reason = _other_place(names) if depth else None
        if reason is not None:
            self._skip(folder, reason)
            return
        for entry in entries:
            self._entry(entry, depth)

    def _entry(self, entry: os.DirEntry[str], depth: int) -> None:
        path = Path(entry.path)
        if has_controls(entry.name) or "\n" in entry.name or "\t" in entry.name:
            self._skip(path, "a name with control characters")
        elif entry.is_symlink():
            self._skip(path, "a link")
        elif entry.is_dir(follow_symlinks=False):
            self._folder(path, depth)
        elif entry.is_file(follow_symlinks=False):
            self._file(path, entry)
        else:
            self._skip(path, "not a regular file")

    def _folder(self, path: Path, depth: int) -> None:
        name = path.name
        if str(path) in self._ours:
            self._skip(path, "this registry")
        elif name.startswith(".") or name.lower() in _SKIPPED:
            self._skip(path, "a folder of programs or downloads")
        elif _MADE.fullmatch(name) and name not in RECUT and "logs" in path.parts:
            self._tree.made.append(path)
        elif depth >= MAX_DEPTH:
            self._skip(path, f"more than {MAX_DEPTH} folders deep")
        else:
            if name in RECUT and "logs" in path.parts:
                self._tree.made.append(path)
            self.into(path, depth + 1)

    def _file(self, path: Path, entry: os.DirEntry[str]) -> None:
        self._seen += 1
        if self._seen > MAX_FILES:
            raise UnreadableFile(
                f'"{shown(str(self._tree.root), 1000)}" holds more than {MAX_FILES} files',
                hint="name a folder inside it",
            )
        if path.suffix.lower() in AUDIO + UNREAD_AUDIO:
            folder = self._tree.folders.setdefault(path.parent, Folder(path.parent))
            if path.suffix.lower() in AUDIO:
                folder.recordings.append(path)
            else:
                folder.unread += 1
            return
        try:
            size = entry.stat(follow_symlinks=False).st_size
            head = _head(path) if size else b""
        except OSError as error:
            self._skip(path, f"could not be read: {(error.strerror or '').lower()}")
            return
        if head is None:
            self._skip(path, "not a regular file")
        else:
            self._tree.files.append(File(path, size, head))

    def _skip(self, path: Path, reason: str) -> None:
        self._tree.skipped.append((self._tree.shown(path), reason))


def _other_place(names: set[str]) -> str | None:
    """Say why a folder is none to look into: a registry of ours, or an environment of Python's."""
    if {"installation", "registry.db"} <= names:
        return "a registry of vlm"
    if "pyvenv.cfg" in names or "conda-meta" in names:
        return "a Python environment"
    return None


def _head(path: Path) -> bytes | None:
    """Return the first bytes of a regular file, None for what became something else meanwhile."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(descriptor, HEAD_BYTES) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
    finally:
        os.close(descriptor)
