"""Python packages as they are installed, and as a lock names them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from lifecycle.domain.verdicts import Verdict


class Trouble(StrEnum):
    """Why a package of a lock cannot be had as a wheel with a known hash."""

    VANISHED = "vanished"
    NO_WHEEL = "no-wheel"
    OTHER_BUILD = "other-build"
    OTHER_FILES = "other-files"
    NO_HASH = "no-hash"
    YANKED = "yanked"
    EDITABLE = "editable"
    DIRECTORY = "directory"
    VCS = "vcs"
    URL = "url"
    FILE = "file"
    CONDA = "conda"
    UNPINNED = "unpinned"
    OPTION = "option"
    UNREADABLE = "unreadable"
    NOT_ASKED = "not-asked"


#: What is still installed from a wheel whose hash is known, so it is worth a word and no more.
HARMLESS = frozenset({Trouble.YANKED, Trouble.CONDA, Trouble.OPTION})


def normal(name: str) -> str:
    """Return a package's name as indexes compare it (PEP 503).

    >>> normal("Typing_Extensions")
    'typing-extensions'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def direct_of(text: str, unreadable: list[str], name: str) -> Mapping[str, object]:
    """Read a direct_url.json (PEP 610); one that is none makes its package unreadable."""
    if not text.strip():
        return {}
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        told = None
    if isinstance(told, dict) and isinstance(told.get("url"), str):
        return told
    unreadable.append(name)
    return {"url": ""}


@dataclass(frozen=True, slots=True)
class Installed:
    """One package of an environment.

    Attributes:
        installer: What put it there ("pip", "uv", "conda"), as it wrote itself.
        direct: Where it came from, if not from an index (PEP 610), as it was written.
    """

    name: str
    version: str
    installer: str = ""
    direct: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Environment:
    """What is installed for one Python.

    Attributes:
        python: Its version, such as "3.11.7"; "3.11" where only that is known.
        system: "linux", "darwin" or "win32".
        machine: "x86_64", "aarch64", ...
        libc: "glibc", "musl" or "" (not Linux).
        unreadable: Names of entries that say too little of themselves to be locked.
        others: Packages that are not Python's but belong to the environment (conda's).
    """

    python: str
    system: str
    machine: str
    libc: str
    packages: tuple[Installed, ...]
    implementation: str = "cpython"
    unreadable: tuple[str, ...] = ()
    others: int = 0


@dataclass(frozen=True, slots=True)
class Wheel:
    """A file that can be installed; `url` is empty where it lies in a local folder."""

    name: str
    sha256: str
    url: str = ""
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Locked:
    """One package of a lock: its wheels, or the place that it came from, or neither.

    Attributes:
        place: The table that PEP 751 has for it ("vcs", "directory", "archive"), and what stands in it.
    """

    name: str
    version: str
    wheels: tuple[Wheel, ...] = ()
    place: tuple[str, Mapping[str, object]] | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """Something about one package of a lock that its reader should know."""

    package: str
    version: str
    trouble: Trouble
    said: str

    @property
    def harmless(self) -> bool:
        """Whether the package can still be had as it was."""
        return self.trouble in HARMLESS


def judged(notes: Iterable[Note]) -> Verdict:
    """Return what becomes of a lock with these notes: the worst of them decides.

    `works`: every package can be had as a wheel whose hash the lock names. `not_checked`: nobody was asked, or no
    hash says which file is meant. `differs`: other files are offered under the same version. `broken`: a package
    cannot be had as a wheel.
    """
    verdicts = {_VERDICT.get(note.trouble, Verdict.BROKEN) for note in notes if not note.harmless}
    order = (Verdict.BROKEN, Verdict.DIFFERS, Verdict.NOT_CHECKED)
    return next((verdict for verdict in order if verdict in verdicts), Verdict.WORKS)


_VERDICT = {
    Trouble.OTHER_FILES: Verdict.DIFFERS,
    Trouble.NO_HASH: Verdict.NOT_CHECKED,
    Trouble.NOT_ASKED: Verdict.NOT_CHECKED,
}
