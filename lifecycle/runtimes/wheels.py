"""The ladder: where a torch wheel comes from.

1. Folders of wheels on this machine (VLM_WHEELS, find-links of pip and uv).
2. PyTorch's own CPU index (VLM_TORCH_INDEX; "none" skips it), asked with a short timeout.
3. The user's package index: on Linux a CUDA build, taken without its CUDA dependencies.
4. A refusal that names what was tried.
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.tags import Tag, cpython_tags, platform_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from lifecycle.domain.errors import Unavailable, UsageError
from lifecycle.runtimes import pythons
from lifecycle.runtimes.model import Interpreter, Wheel
from lifecycle.runtimes.uv import Uv, UvFailed

_PROBE_TIMEOUT_S = 6
_SPEC = re.compile(r"2(\.x|\.\d+(\.\d+)?)")


@dataclass(frozen=True, slots=True)
class TorchSpec:
    """Which torch is wanted: "newest", "2.x", "2.13" or "2.13.0".

    Args:
        text: As it was written.
        requirement: The PEP 440 specifiers of it.
    """

    text: str
    requirement: str

    @classmethod
    def parse(cls, text: str) -> TorchSpec:
        """Read what a user wrote.

        Raises:
            UsageError: It is none of the four forms.
        """
        wanted = text.strip().lower().removeprefix("torch==").removeprefix("v")
        if wanted in {"newest", "latest", "2.x", "2"}:
            return cls("2.x" if wanted != "newest" else "newest", ">=2.0,<3")
        if not _SPEC.fullmatch(wanted):
            raise UsageError(
                f'"{text}" is not a version of torch that can be asked for; write 2.13.0, 2.13, 2.x or newest',
                hint="vlm runtime add 2.13.0",
            )
        return cls(wanted, f"=={wanted}" if wanted.count(".") == 2 else f"=={wanted}.*")

    @property
    def exact(self) -> bool:
        """True where one release is named."""
        return self.text.count(".") == 2

    @property
    def floating(self) -> bool:
        """True where the answer changes with each release of torch."""
        return self.requirement == ">=2.0,<3"

    def accepts(self, version: str) -> bool:
        """True if a wheel of this version (its local part is ignored) is what was asked for."""
        try:
            public = Version(Version(version).public)
        except InvalidVersion:
            return False
        return not public.is_prerelease and SpecifierSet(self.requirement).contains(public)


@dataclass
class Search:
    """One walk up the ladder; `tried` keeps a line per rung for the refusal."""

    spec: TorchSpec
    python: Interpreter
    uv: Uv
    torch_index: str | None = None
    tried: list[str] = field(default_factory=list)

    def find(self) -> Wheel:
        """Return the wheel of the first rung that has one; a floating version takes the newest of all rungs.

        Raises:
            Unavailable: No rung has it; the message names what was tried and which Pythons would do.
        """
        rungs = (self._folder, self._cpu_index, self.index)
        found = []
        for rung in rungs:
            wheel = rung()
            if wheel is not None and self.spec.exact:
                return wheel
            found += [wheel] if wheel else []
        if not found:
            raise self._refusal()
        # of equal versions `max` takes the first: the earlier rung costs less
        return max(found, key=lambda wheel: Version(wheel.public))

    def _folder(self) -> Wheel | None:
        folders = [folder for folder in self.uv.settings.folders if folder.is_dir()]
        found = list(folder_wheels(folders, self.spec, wheel_tags(self.python)))
        if found:
            return found[0]
        where = ", ".join(map(str, folders)) if folders else "none is configured"
        self.tried.append(f"wheel folders ({where})")
        return None

    def _cpu_index(self) -> Wheel | None:
        index = self.torch_index
        if (index or "").lower() in {"none", "off", "no"} or not sys.platform.startswith("linux"):
            return None
        extra = ["--default-index", index] if index else ["--torch-backend", "cpu"]
        environment = {"UV_HTTP_TIMEOUT": str(_PROBE_TIMEOUT_S), "UV_HTTP_RETRIES": "0"}
        wheel = self._resolve("cpu-index", "PyTorch's CPU index", extra, environment)
        return replace(wheel, index=index) if wheel else None

    def index(self) -> Wheel | None:
        """Ask the user's package index alone."""
        return self._resolve("index", "the package index", [], {})

    def _resolve(self, rung: str, label: str, extra: list[str], environment: dict[str, str]) -> Wheel | None:
        requirement = f"torch{self.spec.requirement}"
        if not self.spec.exact and self.uv.settings.searches_all:
            environment = {**environment, "UV_INDEX_STRATEGY": "unsafe-best-match"}
        try:
            packages = self.uv.lock([requirement], self.python.path, "--no-deps", *extra, env=environment)
        except UvFailed as error:
            self.tried.append(f"{label} ({self._why(error)})")
            return None
        wheel = wheel_of_lock(packages, rung, self.python)
        if wheel is None:
            self.tried.append(f"{label} (no wheel for {self.python.tag})")
        elif self.uv.offline and not wheel.local:
            self.tried.append(f"{label} (not on this machine, and --offline forbids to fetch it)")
            return None
        return wheel

    def _why(self, error: UvFailed) -> str:
        if self.uv.offline and error.unreachable:
            return "not asked, because of --offline"
        if error.unreachable:
            return "unreachable"
        if "no wheels with a matching" in error.output:
            return f"no wheel for {self.python.tag} on this platform"
        if " is available and you require" in error.output or "there is no version" in error.output:
            return "no such version"
        return error.reason

    def _refusal(self) -> Unavailable:
        newest = None if self.spec.floating or self.uv.offline else self._newest()
        if newest and self.spec.text.split(".")[:2] > newest.split(".")[:2] and _after(self.spec, newest):
            return Unavailable(
                f"torch {self.spec.text} does not exist yet; the newest that can be had is {newest}",
                hint=f"vlm runtime add {newest}",
            )
        tried = "; ".join(self.tried)
        if not pythons.fits(self.spec.text, self.python):
            names = pythons.names_for(self.spec.text)
            other = pythons.find(self.spec.text)
            path = other.path if other else f"/path/to/python{names.split()[0]}"
            return Unavailable(
                f"torch {self.spec.text} has no wheel for Python {self.python.text}; Python {names} would do "
                f"(tried: {tried})",
                hint=f"vlm runtime add {self.spec.text} --python {path}",
            )
        return Unavailable(
            f"torch {self.spec.text} cannot be had for Python {self.python.text} on {platform.machine()} "
            f"{platform.system()}; tried: {tried}",
            hint=f"put a wheel into a folder and name it: VLM_WHEELS=FOLDER vlm runtime add {self.spec.text}",
        )

    def _newest(self) -> str | None:
        newest = Search(TorchSpec.parse("newest"), self.python, self.uv)
        wheel = newest.index()
        return wheel.public if wheel else None


def _after(spec: TorchSpec, newest: str) -> bool:
    wanted = [int(part) for part in spec.text.split(".")]
    return wanted > [int(part) for part in newest.split(".")[: len(wanted)]]


def wheel_tags(python: Interpreter) -> list[str]:
    """Return the wheel tags this interpreter takes on this machine, best first."""
    tags: Iterable[Tag] = cpython_tags(python.minor, platforms=list(platform_tags()))
    generic = [f"py3-{abi}-{plat}" for abi in ("none",) for plat in [*platform_tags(), "any"]]
    return [str(tag) for tag in tags] + generic


def folder_wheels(folders: Iterable[Path], spec: TorchSpec, tags: list[str]) -> list[Wheel]:
    """Return the torch wheels of local folders that fit, best first: newest, local version, then tag order."""
    found: list[tuple[Version, int, Wheel]] = []
    order = {tag: rank for rank, tag in enumerate(tags)}
    for file in (file for folder in folders for file in sorted(folder.glob("torch-*.whl"))):
        try:
            _name, version, _build, wheel_tag_set = parse_wheel_filename(file.name)
        except (InvalidWheelFilename, InvalidVersion):
            continue
        ranks = [order[str(tag)] for tag in wheel_tag_set if str(tag) in order]
        if ranks and spec.accepts(str(version)):
            size = file.stat().st_size
            found.append(
                (version, -min(ranks), Wheel(str(version), file.name, "folder", str(file), size, None))
            )
    return [wheel for *_key, wheel in sorted(found, key=lambda item: item[:2], reverse=True)]


def wheel_of_lock(packages: list[dict[str, Any]], rung: str, python: Interpreter) -> Wheel | None:
    """Return the wheel of torch that a lock names for this interpreter."""
    torch = next((package for package in packages if package.get("name") == "torch"), None)
    best = best_wheel(torch, wheel_tags(python)) if torch else None
    if torch is None or best is None:
        return None
    location = str(best.get("url") or best.get("path"))
    name = str(best.get("name") or location.partition("#")[0].rsplit("/", 1)[-1]).replace("%2B", "+")
    sha256 = (best.get("hashes") or {}).get("sha256")
    return Wheel(str(torch["version"]), name, rung, location, best.get("size"), sha256)


def best_wheel(package: dict[str, Any], tags: list[str]) -> dict[str, Any] | None:
    """Return the entry of a locked package's wheels that an installer would take."""
    order = {tag: rank for rank, tag in enumerate(tags)}
    best: tuple[int, dict[str, Any]] | None = None
    for wheel in package.get("wheels", ()):
        location = str(wheel.get("url") or wheel.get("path") or "")
        name = str(wheel.get("name") or location.partition("#")[0].rsplit("/", 1)[-1]).replace("%2B", "+")
        try:
            tag_set = parse_wheel_filename(name)[3]
        except (InvalidWheelFilename, InvalidVersion):
            continue
        ranks = [order[str(tag)] for tag in tag_set if str(tag) in order]
        if ranks and (best is None or min(ranks) < best[0]):
            best = (min(ranks), wheel)
    return best[1] if best else None
