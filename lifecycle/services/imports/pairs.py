"""Which files make one voice: halves of GPT-SoVITS by experiment, the newest epoch first; rules without I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lifecycle.services.imports.find import GPT, SETTINGS, SOVITS, Model

_FOLDER = re.compile(r"(?:GPT|SoVITS)_weights(?:_(?P<family>[A-Za-z0-9.]+))?", re.IGNORECASE)
_GPT_NAME = re.compile(r"(?P<voice>.+?)-e(?P<epoch>\d{1,6})")
_SOVITS_NAME = re.compile(r"(?P<voice>.+?)_e(?P<epoch>\d{1,6})_s(?P<step>\d{1,12})(?:_l(?P<rank>\d{1,5}))?")
_G_NAME = re.compile(r"G_(?P<step>\d{1,12})")
_RVC_NAME = re.compile(r"(?P<voice>.+?)_e(?P<epoch>\d{1,6})(?:_s(?P<step>\d{1,12}))?")


@dataclass(frozen=True, slots=True)
class Half:
    """A file of weights and its place among those of one experiment.

    Attributes:
        root: The folder of the project: above `GPT_weights*` and `SoVITS_weights*`, else the file's own.
        family: What follows `_weights_` in the folder's name, such as "v2Pro"; empty for none.
        voice: The experiment, by the file's name.
        age: Epoch and step; greater is newer.
    """

    model: Model
    root: Path
    family: str
    voice: str
    age: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Group:
    """The files of one voice: those proposed, the other epochs, and what should be known about the choice."""

    voice: str
    root: Path
    family: str
    chosen: tuple[Model, ...]
    others: tuple[Model, ...] = ()
    notes: tuple[str, ...] = ()
    settings: Model | None = None


@dataclass(slots=True)
class _Halves:
    gpt: list[Half] = field(default_factory=list)
    sovits: list[Half] = field(default_factory=list)


def placed(model: Model) -> Half:
    """Tell a file's experiment, epoch and step: what it says of itself counts before what it is called."""
    parent, stem = model.path.parent, model.path.stem
    folder = _FOLDER.fullmatch(parent.name)
    root = parent.parent if folder else parent
    family = (folder.group("family") or "") if folder else ""
    pattern = {GPT: _GPT_NAME, SOVITS: _SOVITS_NAME, "so-vits-svc": _G_NAME}.get(model.kind, _RVC_NAME)
    named: Mapping[str, str | None] = (found.groupdict() if (found := pattern.fullmatch(stem)) else {}) or {}
    voice = named.get("voice") or stem
    told = model.facts
    epoch = _number(told.get("epoch")) or _number(named.get("epoch"))
    step = _number(told.get("step")) or _number(told.get("iteration")) or _number(named.get("step"))
    return Half(model, root, family, str(voice), (epoch, step))


def _number(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, str) and value.isdigit() else 0


def pair(models: Iterable[Model]) -> list[Group]:
    """Join the halves of GPT-SoVITS voices.

    First by project, version folder and experiment; then what was left alone, by project and experiment, across
    version folders; then two that lie alone together in one folder. A half that finds none stands alone.
    """
    rooms: dict[tuple[Path, str, str], _Halves] = {}
    for model in models:
        half = placed(model)
        halves = rooms.setdefault((half.root, half.family, half.voice), _Halves())
        (halves.gpt if model.kind == GPT else halves.sovits).append(half)
    groups, lone = _joined(rooms)
    across: dict[tuple[Path, str, str], _Halves] = {}
    for half in lone:
        halves = across.setdefault((half.root, "", half.voice), _Halves())
        (halves.gpt if half.model.kind == GPT else halves.sovits).append(half)
    more, lone = _joined(across, note="the two halves lie in folders of different versions")
    groups += more
    together: dict[tuple[Path, str, str], _Halves] = {}
    for half in lone:
        halves = together.setdefault((half.model.path.parent, "", ""), _Halves())
        (halves.gpt if half.model.kind == GPT else halves.sovits).append(half)
    alone = {key: h for key, h in together.items() if _voices(h.gpt) == _voices(h.sovits) == 1}
    more, _ = _joined(alone, note="paired because no other half lies there; their names differ")
    groups += [replace(group, voice=placed(group.chosen[1]).voice) for group in more]
    paired = {model.path for group in more for model in (*group.chosen, *group.others)}
    return groups + _singles([half for half in lone if half.model.path not in paired])


def _voices(halves: Sequence[Half]) -> int:
    return len({half.voice for half in halves})


def _joined(
    rooms: Mapping[tuple[Path, str, str], _Halves], *, note: str = ""
) -> tuple[list[Group], list[Half]]:
    groups, lone = [], []
    for (root, family, voice), halves in rooms.items():
        best = _best(halves)
        if best is None:
            lone += [*halves.gpt, *halves.sovits]
            continue
        chosen = tuple(half.model for half in best)
        rest = [half.model for half in (*_newest(halves.gpt), *_newest(halves.sovits)) if half not in best]
        shown = family or best[1].family
        groups.append(Group(voice, root, shown, chosen, tuple(rest), (note,) if note else ()))
    return groups, lone


def _newest(halves: Iterable[Half]) -> list[Half]:
    return sorted(halves, key=lambda half: (half.age, half.model.path.name), reverse=True)


def _best(halves: _Halves) -> tuple[Half, Half] | None:
    """Return the newest two that can speak together; the phone tables of v1 and of all later versions differ."""
    for sovits in _newest(halves.sovits):
        for gpt in _newest(halves.gpt):
            if fits(gpt.model, sovits.model):
                return gpt, sovits
    return None


def fits(gpt: Model, sovits: Model) -> bool:
    """Whether two halves have the same phone table, as far as they say."""
    one, other = gpt.facts.get("version"), sovits.facts.get("version")
    return one is None or other is None or (one == "v1") == (other == "v1")


def _singles(halves: Iterable[Half]) -> list[Group]:
    by: dict[tuple[str, Path, str, str], list[Half]] = {}
    for half in halves:
        by.setdefault((half.model.kind, half.root, half.family, half.voice), []).append(half)
    groups = []
    for (kind, root, family, voice), mine in by.items():
        newest, *rest = _newest(mine)
        missing = "SoVITS" if kind == GPT else "GPT"
        note = f"no {missing} half was found that fits; it cannot speak alone"
        others = tuple(half.model for half in rest)
        groups.append(Group(voice, root, family, (newest.model,), others, (note,)))
    return groups


def gather(models: Iterable[Model], settings: Sequence[Model]) -> list[Group]:
    """Join the epochs of voices that are one file each: RVC, so-vits-svc, our own."""
    by: dict[tuple[str, Path, str], list[Half]] = {}
    for model in models:
        half = placed(model)
        # Every voice of so-vits-svc is called G_STEP.pth; its folder tells which it is.
        voice = half.root.name if model.kind == "so-vits-svc" else half.voice
        by.setdefault((model.kind, half.root, voice), []).append(half)
    groups = []
    for (kind, root, voice), mine in by.items():
        newest, *rest = _newest(mine)
        group = Group(voice, root, "", (newest.model,), tuple(half.model for half in rest))
        groups.append(_with_settings(group, settings) if kind == "so-vits-svc" else group)
    return groups


def _with_settings(group: Group, settings: Sequence[Model]) -> Group:
    """Add the settings that lie nearest: beside the weights, or in `configs/` of the project."""
    folders = [group.root, *group.root.parents][:4]
    places = [
        place
        for folder in folders
        for place in (folder, folder / "configs", folder / "configs" / group.voice)
    ]
    near = {model.path.parent: model for model in settings if model.kind == SETTINGS}
    found = next((near[place] for place in places if place in near), None)
    if found is None:
        note = "no config.json was found; the weights cannot be read without it"
        return replace(group, notes=(*group.notes, note))
    people = found.facts.get("speakers")
    named = str(people[0]) if isinstance(people, list) and len(people) == 1 else group.voice
    return replace(group, voice=named, chosen=(*group.chosen, found), settings=found)
