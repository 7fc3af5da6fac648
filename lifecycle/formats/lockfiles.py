"""Lists of Python packages, read as data: how many they name, how many they pin, and what else they ask for.

Known: requirements.txt and pip freeze, pylock.toml (PEP 751), uv.lock, `conda env export`, `conda list --explicit`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import tomllib

from lifecycle.domain.errors import UnreadableFile
from lifecycle.domain.packages import normal
from lifecycle.formats.limits import MAX_LOCKFILE
from lifecycle.formats.model import Finding, Inspection, Unread, shown
from lifecycle.formats.source import Source, memory

_MAX_LINES: Final = 100_000
_MAX_LINE: Final = 8_000
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,100}[A-Za-z0-9])?"
_REQUIREMENT = re.compile(
    rf"(?P<name>{_NAME})\s*(?:\[[A-Za-z0-9,._\s-]{{0,200}}\])?\s*(?P<rest>(?:[=<>!~(@;].*)?)", re.DOTALL
)
_PIN = re.compile(r"\(?={2,3}\s*(?P<version>[A-Za-z0-9][A-Za-z0-9.+!_-]{0,100})\s*\)?(?:\s*;.*)?")
_SPECIFIER = re.compile(r"[\s()=<>!~,.*+A-Za-z0-9_-]+(?:;.*)?|;.*")
_HASH = re.compile(r"\s--hash=\S+")
_SHA256 = re.compile(r"(?:^|\bsha256[:\"'= ]+)([0-9a-f]{64})\b")
_VCS = re.compile(r"(?:git|hg|svn|bzr)\+\S+", re.IGNORECASE)
_URL = re.compile(r"(?:https?|ftp|s3)://\S+", re.IGNORECASE)
_LOCAL = re.compile(r"(?:file:|\.{0,2}/|[A-Za-z]:[\\/]|~)\S*|\S+\.(?:whl|tar\.gz|zip)")
_CONDA_EXPORT = re.compile(r"^dependencies:\s*$", re.MULTILINE)
_CONDA_PACKAGE = re.compile(
    r"(?:[\w./-]+::)?(?P<name>[A-Za-z0-9_.-]+)(?:=(?P<version>[^=\s]+))?(?:=(?P<build>\S+))?"
)
_LIKELY = re.compile(r"require|freeze|constraint|lock|depend", re.IGNORECASE)

_FORMATS: Final = {
    "requirements": "requirements.txt",
    "pylock": "pylock.toml",
    "uv": "uv.lock",
    "conda": "conda export",
    "conda-explicit": "conda explicit list",
}
_ASKS: Final = {
    "option": "sets an option for the installer",
    "url": "names a package by its address",
    "vcs": "names a package by its repository",
    "local": "names a package by a path of its machine",
}


@dataclass(slots=True)
class _Lock:
    form: str
    packages: dict[str, str | None] = field(default_factory=dict)
    hashed: int = 0
    asks: dict[str, list[str]] = field(default_factory=dict)
    hashes: dict[str, set[str]] = field(default_factory=dict)
    tool: dict[str, object] = field(default_factory=dict)
    choices: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def add(self, name: str, version: str | None, marker: str = "") -> None:
        key = normal(name)
        if version is not None:
            self.choices.setdefault(key, []).append((version, marker))
        # markers make several lines of one package; it is pinned if each of them is
        known = key in self.packages
        self.packages[key] = version if not known or self.packages[key] is not None else None

    def add_hashes(self, name: str, told: object) -> None:
        """Keep every SHA-256 that stands in a part of the lock."""
        found = set(_SHA256.findall(str(told)))
        if found:
            self.hashes.setdefault(normal(name), set()).update(found)

    def ask(self, kind: str, text: str) -> None:
        self.asks.setdefault(kind, []).append(text)

    def add_place(self, kind: str, place: str) -> None:
        """Count a package that is named by where it lies; its name stands in `egg=`, or is guessed."""
        self.ask(kind, place)
        egg = re.search(rf"egg=({_NAME})", place)
        stem = re.split(r"[/\\]", place.partition("#")[0].rstrip("/\\"))[-1]
        self.add(egg[1] if egg else shown(stem or place), None)


def read(source: Source, name: str) -> Inspection | None:
    """Inspect a lockfile; None if the text is none of the known forms.

    Raises:
        Unread: It is one, but cannot be read to its end.
    """
    text = _text(source)
    if text is None:
        return None
    lock = _by_content(text, name)
    return None if lock is None or not lock.packages else _result(lock)


@dataclass(frozen=True, slots=True)
class Pins:
    """What a lock fixes, for asking an index about it.

    Attributes:
        pins: Version by normalised name.
        choices: Each version that a name is fixed to, with the marker that says where; "" for everywhere.
        hashes: SHA-256 of the files that are allowed, by normalised name.
        unpinned: Names without one version.
        asks: What else it asks of an installer ("option", "url", "vcs", "local"), with what it names.
        tool: What vlm wrote about the lock, if vlm made it.
    """

    form: str
    pins: Mapping[str, str]
    choices: Mapping[str, Sequence[tuple[str, str]]]
    hashes: Mapping[str, frozenset[str]]
    unpinned: tuple[str, ...]
    asks: Mapping[str, tuple[str, ...]]
    tool: Mapping[str, object]


def pins_of(content: bytes, name: str) -> Pins:
    """Read a lock for asking an index about it; nothing but names, versions and hashes is taken from it.

    Raises:
        UnreadableFile: It is no lockfile, or cannot be read to its end.
    """
    try:
        text = _text(memory(content))
        lock = None if text is None else _by_content(text, name)
    except Unread as unread:
        raise UnreadableFile(f'"{shown(name)}" {unread.reason}') from None
    if lock is None or not lock.packages:
        raise UnreadableFile(f'"{shown(name)}" is no lockfile', hint=f"vlm inspect {shown(name)}")
    return Pins(
        form=_FORMATS[lock.form],
        pins={key: version for key, version in sorted(lock.packages.items()) if version is not None},
        choices=lock.choices,
        hashes={key: frozenset(found) for key, found in lock.hashes.items()},
        unpinned=tuple(sorted(key for key, version in lock.packages.items() if version is None)),
        asks={kind: tuple(shown(text, 200) for text in items) for kind, items in lock.asks.items()},
        tool=lock.tool,
    )


def _text(source: Source) -> str | None:
    """Decode UTF-8, with or without mark, and the UTF-16 that PowerShell writes; None if it is no text."""
    if source.size > MAX_LOCKFILE:
        return None
    raw = source.at(0, source.size)
    coding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = raw.decode(coding)
    except UnicodeDecodeError:
        return None
    if (
        "\0" in text
        or text.count("\n") > _MAX_LINES
        or any(len(line) > _MAX_LINE for line in text.splitlines())
    ):
        return None
    return text


def _by_content(text: str, name: str) -> _Lock | None:
    lower = name.lower()
    if re.search(r"^lock-version\s*=", text, re.MULTILINE) or lower.startswith("pylock"):
        return _toml(text, "pylock", "packages")
    if lower == "uv.lock" or (
        re.search(r"^\[\[package\]\]\s*$", text, re.MULTILINE) and "version = " in text
    ):
        return _toml(text, "uv", "package")
    if re.search(r"^@EXPLICIT\s*$", text, re.MULTILINE):
        return _conda_explicit(text)
    if _CONDA_EXPORT.search(text):
        return _conda(text)
    return _requirements(text, sure=bool(_LIKELY.search(lower)))


def _toml(text: str, form: str, key: str) -> _Lock:
    try:
        root = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, ValueError, RecursionError):
        raise Unread("is a lockfile that is not valid TOML", kind="lockfile") from None
    packages = root.get(key)
    if not isinstance(packages, list):
        raise Unread("is a lockfile without packages", kind="lockfile")
    tool = root.get("tool")
    ours = tool.get("vlm") if isinstance(tool, dict) else None
    lock = _Lock(form, tool=ours if isinstance(ours, dict) else {})
    for item in packages:
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            raise Unread("is a lockfile with a package that has no name", kind="lockfile")
        version = item.get("version")
        place = item.get("source")
        source: dict[str, object] = place if isinstance(place, dict) else {}
        if form == "uv" and ("virtual" in source or "editable" in source) and len(packages) > 1:
            continue  # the project itself
        marker = item.get("marker")
        told = marker if isinstance(marker, str) else ""
        lock.add(item["name"], version if isinstance(version, str) else None, told)
        for part in ("wheels", "sdist", "archive"):
            lock.add_hashes(item["name"], item.get(part, ""))
        lock.hashed += normal(item["name"]) in lock.hashes
        _toml_places(lock, item, source)
    return lock


def _toml_places(lock: _Lock, item: dict[str, object], source: dict[str, object]) -> None:
    places = {**item, **source}
    for kind, keys in (
        ("vcs", ("vcs", "git")),
        ("local", ("directory", "path")),
        ("url", ("url", "archive")),
    ):
        for key in keys:
            if key in places:
                lock.ask(kind, str(item["name"]))


def _requirements(text: str, *, sure: bool) -> _Lock | None:
    lock = _Lock("requirements")
    for line in _joined(text):
        told = _HASH.findall(line)
        if not _requirement(lock, _HASH.sub("", line).strip()):
            if sure:
                raise Unread(f'is a lockfile with a line that is none: "{shown(line, 60)}"', kind="lockfile")
            return None
        lock.hashed += bool(told)
        if told and (found := re.match(_NAME, line)) is not None:
            lock.add_hashes(found[0], told)
    pinned = any(version is not None for version in lock.packages.values())
    return lock if sure or pinned else None


def _joined(text: str) -> list[str]:
    """Return the lines that say something: continued ones joined, comments cut off as pip cuts them."""
    lines = []
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        line = re.sub(r"(^|\s)#.*$", "", line).strip()
        if line:
            lines.append(line)
    return lines


def _requirement(lock: _Lock, line: str) -> bool:
    if line.startswith("-"):
        return _option(lock, line)
    if _place(line) is not None:
        lock.add_place(_place(line) or "local", line)
        return True
    found = _REQUIREMENT.fullmatch(line)
    if found is None:
        return False
    name, rest = found["name"], found["rest"].strip()
    if rest.startswith("@"):
        lock.ask(_place(rest[1:].strip()) or "local", name)
        lock.add(name, None)
        return True
    pin = _PIN.fullmatch(rest)
    lock.add(name, pin["version"] if pin else None, rest.partition(";")[2].strip())
    return not rest or pin is not None or _SPECIFIER.fullmatch(rest) is not None


def _option(lock: _Lock, line: str) -> bool:
    if not re.match(r"-[A-Za-z]\b|--[a-z][a-z-]+", line):
        return False
    lock.ask("option", re.split(r"[\s=]", line)[0])
    place = line.partition(" ")[2].strip() if line.startswith(("-e ", "--editable ")) else ""
    if place:
        lock.add_place(_place(place) or "local", place)
    return True


def _place(text: str) -> str | None:
    """Say what kind of place a text names instead of a package, if it is one."""
    if _VCS.match(text):
        return "vcs"
    if _URL.match(text):
        return "url"
    return "local" if _LOCAL.fullmatch(text) else None


def _conda(text: str) -> _Lock:
    lock = _Lock("conda")
    inside = in_pip = False
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not line.startswith((" ", "\t", "-")):
            inside, in_pip = line.strip() == "dependencies:", False
            continue
        item = line.strip()
        if not inside or not item.startswith("- "):
            continue
        item = item[2:].strip().strip("\"'")
        if item in ("pip:", "pip :"):
            in_pip = True
        elif not (_requirement(lock, item) if in_pip else _conda_package(lock, item)):
            raise Unread(f'is a conda export with a line that is none: "{shown(item, 60)}"', kind="lockfile")
    return lock


def _conda_package(lock: _Lock, item: str) -> bool:
    found = _CONDA_PACKAGE.fullmatch(item.replace("==", "="))
    if found is not None:
        version = found["version"]
        lock.add(found["name"], version if version and not re.search(r"[*<>|,]", version) else None)
        lock.hashed += found["build"] is not None
        return True
    found = re.match(r"(?:[\w./-]+::)?([A-Za-z0-9_.-]+)\s*[<>=!~ ]", item)
    if found is not None:
        lock.add(found[1], None)
    return found is not None


def _conda_explicit(text: str) -> _Lock:
    lock = _Lock("conda-explicit")
    for line in _joined(text):
        address, _, digest = line.partition("#")
        parts = address.rpartition("/")[2].removesuffix(".conda").removesuffix(".tar.bz2").rsplit("-", 2)
        if _URL.match(line) and len(parts) == 3:
            lock.add(parts[0], parts[1])
            lock.hashed += re.fullmatch(r"(?:sha256:)?[0-9a-f]{32,64}", digest) is not None
        elif line != "@EXPLICIT":
            raise Unread(f'is a conda list with a line that is none: "{shown(line, 60)}"', kind="lockfile")
    return lock


def _result(lock: _Lock) -> Inspection:
    pins = {name: version for name, version in sorted(lock.packages.items()) if version is not None}
    total = len(lock.packages)
    findings = []
    for kind, items in lock.asks.items():
        more = f" and {len(items) - 1} more" if len(items) > 1 else ""
        findings.append(Finding("warning", kind, f"{_ASKS[kind]}: {shown(items[0], 60)}{more}"))
    if len(pins) < total:
        findings.insert(
            0, Finding("warning", "not_a_lock", f"pins {len(pins)} of {total} packages: not a lock")
        )
    facts: dict[str, object] = {
        "format": _FORMATS[lock.form],
        "packages": total,
        "pinned": len(pins),
        "hashed": lock.hashed,
        "pins": pins,
        "unpinned": sorted(set(lock.packages) - set(pins)),
    }
    for name in ("torch", "pytorch"):
        if name in pins:
            facts["torch"] = pins[name]
    what = f"{_FORMATS[lock.form]}, pins {len(pins)} of {total} packages"
    scan = (
        "a lock"
        if len(pins) == total and not lock.asks
        else "not a lock"
        if len(pins) < total
        else "see below"
    )
    return Inspection(
        "lockfile", safe=True, findings=tuple(findings), facts=facts, summary=f"{what}     {scan}"
    )
