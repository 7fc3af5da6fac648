"""Which clips, texts and recordings belong to a voice: by its list, its experiment's folder, or its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lifecycle.domain.errors import VlmError
from lifecycle.formats.lists import Clip
from lifecycle.services.imports.find import Things
from lifecycle.services.imports.walk import RECUT
from lifecycle.services.inspect import inspect_file

# GPT-SoVITS refuses a reference that is shorter or longer; within that, about five seconds are best.
SHORTEST_S, LONGEST_S, BEST_S = 3.0, 10.0, 5.0
_LOOKED_AT = 40
_FILES_IN_CELL = 200


@dataclass(frozen=True, slots=True)
class Clips:
    """What a voice was made from, as far as it was found.

    Attributes:
        reference: A clip to condition it on, with its text and language.
        audio: Folders, or single files where a folder holds others' too.
        notes: What should be known about the choice.
    """

    reference: Path | None = None
    text: str = ""
    language: str = ""
    audio: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


class Library:
    """The recordings and lists of a tree, asked for one voice after the other."""

    def __init__(self, things: Things, voices: int) -> None:
        self._things = things
        self._voices = voices
        self._by_name: dict[str, list[Path]] = {}
        self._taken: set[Path] = set()
        for folder in things.tree.folders.values():
            for path in folder.recordings:
                self._by_name.setdefault(path.name, []).append(path)

    def of(self, voice: str, root: Path) -> Clips:
        """Return what belongs to an experiment of a project."""
        clips = self._clips(voice, root)
        self._taken.update(clips.audio)
        if clips.reference is not None:
            self._taken.add(clips.reference)
        return clips

    def left_over(self) -> list[tuple[Path, int]]:
        """Return the folders of recordings that no voice asked for until now, and how many; cut copies apart."""
        made = self._things.tree.made
        counts = []
        for path, folder in sorted(self._things.tree.folders.items()):
            if any(path.is_relative_to(copies) for copies in made):
                continue
            whole = not self._taken.isdisjoint((path, *path.parents))
            count = 0 if whole else sum(each not in self._taken for each in folder.recordings)
            counts.append((path, count + folder.unread))
        return [(path, count) for path, count in counts if count]

    def _clips(self, voice: str, root: Path) -> Clips:
        found = self._list_of(voice, root)
        if found is None:
            folders = self._folders_of(voice, root)
            return Clips(audio=tuple(folders))
        place, lines = found
        here = [(clip, path) for clip in lines if (path := self._find(clip, place)) is not None]
        notes = [f"clips of {place.name}"]
        if len(here) < len(lines):
            notes.append(f"{len(lines) - len(here)} of {len(lines)} clips of the list are not here")
        if not here:
            return Clips(audio=tuple(self._folders_of(voice, root)), notes=tuple(notes))
        clip, path = self._reference(here)
        audio, more = self._cell([path for _, path in here])
        return Clips(path, clip.text, clip.language, tuple(audio), (*notes, *more))

    def _list_of(self, voice: str, root: Path) -> tuple[Path, list[Clip]] | None:
        """Find the list: one called so, one whose speaker is called so, the one it was trained on, the only one."""
        lists = self._things.lists
        near = {place: lines for place, lines in lists.items() if place.is_relative_to(root)} or lists
        for place, lines in near.items():
            if place.stem == voice:
                return place, lines
        for place, lines in near.items():
            mine = [clip for clip in lines if clip.speaker == voice]
            if mine:
                return place, mine
        trained = self._trained(voice, root)
        if trained:
            for place, lines in near.items():
                mine = [clip for clip in lines if clip.parts[-1] in trained]
                if mine:
                    return place, mine
            return None
        if len(near) == 1 and self._voices == 1:
            return next(iter(near.items()))
        return None

    def _trained(self, voice: str, root: Path) -> set[str]:
        places = [place for place in self._things.trained if place.name == voice]
        mine = [place for place in places if place.is_relative_to(root)] or places
        return set().union(*(self._things.trained[place] for place in mine)) if mine else set()

    def _find(self, clip: Clip, place: Path) -> Path | None:
        """Find a clip by the end of its path; of several, the one whose path agrees most, then the nearest."""
        found = self._by_name.get(clip.parts[-1], [])
        return max(
            found, key=lambda path: (_same_end(path, clip.parts), _same_start(path, place)), default=None
        )

    def _folders_of(self, voice: str, root: Path) -> list[Path]:
        """Return the folders of recordings that bear the voice's name, cut copies only where nothing else is."""
        # Folders above the one that was named say nothing: /home/lin does not make all in it lin's.
        above = self._things.tree.root.parent
        folders = [path for path, folder in self._things.tree.folders.items() if folder.recordings]
        named = [p for p in folders if voice in p.relative_to(above).parts and p.is_relative_to(root)]
        whole = [path for path in named if not RECUT & set(path.parts)]
        return sorted(whole or named)[:20]

    def _reference(self, clips: Sequence[tuple[Clip, Path]]) -> tuple[Clip, Path]:
        """Choose the clip that is nearest to five seconds among those long enough, else the first."""
        best, distance = clips[0], float("inf")
        for clip, path in clips[:_LOOKED_AT]:
            try:
                seconds = inspect_file(path).inspection.facts.get("seconds")
            except VlmError:
                continue
            if not isinstance(seconds, int | float) or not clip.text:
                continue
            away = abs(seconds - BEST_S)
            if SHORTEST_S <= seconds <= LONGEST_S and away < distance:
                best, distance = (clip, path), away
        return best

    def _cell(self, paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
        """Name folders where all recordings in them are the voice's, else its files."""
        mine: dict[Path, set[Path]] = {}
        for path in paths:
            mine.setdefault(path.parent, set()).add(path)
        cell: list[Path] = []
        notes = []
        for folder, files in sorted(mine.items()):
            others = len(self._below(folder).difference(paths))
            if not others:
                cell.append(folder)
            elif len(files) <= _FILES_IN_CELL:
                cell += sorted(files)
            else:
                cell.append(folder)
                notes.append(f"{folder.name} holds {others} recordings that are not in the list")
        return cell, notes

    def _below(self, folder: Path) -> set[Path]:
        """Return the recordings that come along where a folder is named: those of the folders in it, too."""
        inside = [each for path, each in self._things.tree.folders.items() if path.is_relative_to(folder)]
        return {path for each in inside for path in each.recordings}


def _same_end(path: Path, parts: Sequence[str]) -> int:
    count = 0
    for mine, theirs in zip(reversed(path.parts), reversed(parts), strict=False):
        if mine != theirs:
            break
        count += 1
    return count


def _same_start(path: Path, other: Path) -> int:
    count = 0
    for mine, theirs in zip(path.parts, other.parts, strict=False):
        if mine != theirs:
            break
        count += 1
    return count
