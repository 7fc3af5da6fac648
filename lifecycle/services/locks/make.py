"""A lock out of an environment and of what the index offers: every package stands in it, with what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote

from lifecycle.domain.packages import Environment, Installed, Locked, Note, Trouble, normal
from lifecycle.formats import shown
from lifecycle.runtimes.resolve import public_url

if TYPE_CHECKING:
    from lifecycle.runtimes.resolve import Offer

_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9A-Za-z]{7,64}")
_KINDS = frozenset({"git", "hg", "svn", "bzr"})


def askable(environment: Environment) -> dict[str, str]:
    """Return version by name of what an index may have: what came from one, or from a file."""
    return {
        package.name: package.version
        for package in environment.packages
        if not package.direct or _kind(package.direct) is Trouble.FILE
    }


def compose(environment: Environment, offer: Offer) -> tuple[list[Locked], list[Note]]:
    """Return the packages of a lock and what a reader should know of them."""
    packages, notes = [], []
    for installed in environment.packages:
        locked, found = _one(installed, offer)
        packages.append(locked)
        notes += [
            Note(shown(installed.name, 100), shown(installed.version, 100), trouble, said)
            for trouble, said in found
        ]
    said = "an entry of the environment that does not say its name and version; it is not in the lock"
    notes += [Note(shown(name, 100), "", Trouble.UNREADABLE, said) for name in environment.unreadable]
    if environment.others:
        what = f"{environment.others} packages of conda are not in the lock; only those of Python are"
        notes.append(Note("conda", "", Trouble.CONDA, what))
    return packages, notes


def _one(installed: Installed, offer: Offer) -> tuple[Locked, list[tuple[Trouble, str]]]:
    name, version = normal(installed.name), installed.version
    wheels = offer.wheels.get(name, ())
    if installed.direct:
        return _placed(installed, offer)
    if not wheels:
        trouble = offer.troubles.get(name, (Trouble.VANISHED, "the index offers no such release"))
        return Locked(name, version), [trouble]
    notes = []
    if name in offer.yanked:
        notes.append((Trouble.YANKED, "its authors withdrew this release"))
    if installed.installer == "conda":
        notes.append((Trouble.CONDA, "installed by conda: the wheel of the index is another build of it"))
    return Locked(name, version, wheels), notes


def _placed(installed: Installed, offer: Offer) -> tuple[Locked, list[tuple[Trouble, str]]]:
    """A package that did not come from an index; its place is kept, but no path of the machine."""
    name, version, direct = normal(installed.name), installed.version, installed.direct
    kind, url = _kind(direct), str(direct.get("url"))
    folder = _last(url) or name
    if kind is Trouble.VCS:
        place = _repository(direct)
        return Locked(name, version, place=place), [(kind, "came from a repository, not from an index")]
    if kind in {Trouble.EDITABLE, Trouble.DIRECTORY}:
        told: dict[str, object] = {"path": folder}
        told |= {"editable": True} if kind is Trouble.EDITABLE else {}
        said = "installed from a folder of its machine" + (", in place" if kind is Trouble.EDITABLE else "")
        return Locked(name, version, place=("directory", told)), [(kind, said)]
    digest = _digest(direct)
    wheels = offer.wheels.get(name, ())
    if digest is not None and any(wheel.sha256 == digest for wheel in wheels):
        return Locked(name, version, wheels), []
    if kind is Trouble.URL:
        said = "came from an address, not from an index"
        if digest is None:
            return Locked(name, version), [(kind, f"{said}, and its hash was not kept")]
        archive = {"url": public_url(url), "hashes": {"sha256": digest}}
        return Locked(name, version, place=("archive", archive)), [(kind, said)]
    if wheels and digest is None:
        said = "installed from a file; whether the index offers the same file is not known"
        return Locked(name, version, wheels), [(Trouble.OTHER_FILES, said)]
    return Locked(name, version), [(Trouble.FILE, "installed from a file that the index does not offer")]


def _kind(direct: Mapping[str, object]) -> Trouble:
    folder = direct.get("dir_info")
    if isinstance(direct.get("vcs_info"), Mapping):
        return Trouble.VCS
    if isinstance(folder, Mapping):
        return Trouble.EDITABLE if folder.get("editable") is True else Trouble.DIRECTORY
    return Trouble.URL if public_url(str(direct.get("url"))) else Trouble.FILE


def _repository(direct: Mapping[str, object]) -> tuple[str, Mapping[str, object]] | None:
    told = direct.get("vcs_info")
    url = public_url(str(direct.get("url")), schemes=("https", "http", "ssh", "git"))
    told = told if isinstance(told, Mapping) else {}
    kind, commit = str(told.get("vcs")), str(told.get("commit_id"))
    if not url or kind not in _KINDS or _COMMIT.fullmatch(commit) is None:
        return None
    return "vcs", {"type": kind, "url": url, "commit-id": commit}


def _last(url: str) -> str:
    """The last part of an address's path, which names no folder above it."""
    path = re.split(r"[?#]", url)[0]
    return shown(unquote(path).replace("\\", "/").rstrip("/").rpartition("/")[2], 100)


def _digest(direct: Mapping[str, object]) -> str | None:
    """The SHA-256 of the file that was installed, in the new and in the old way of PEP 610."""
    info = direct.get("archive_info")
    info = info if isinstance(info, Mapping) else {}
    hashes = info.get("hashes")
    new = hashes.get("sha256") if isinstance(hashes, Mapping) else None
    digest = str(new or str(info.get("hash", "")).removeprefix("sha256=")).lower()
    return digest if _SHA256.fullmatch(digest) else None
