"""Which wheels the user's index offers today for packages of exact versions: their files, hashes and troubles."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from packaging.markers import Marker
from packaging.version import InvalidVersion, Version

from lifecycle.domain.errors import Unavailable
from lifecycle.domain.packages import Environment, Trouble, Wheel, normal
from lifecycle.runtimes.uv import Uv, UvFailed

_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,198}[A-Za-z0-9])?")
_YANKED = re.compile(r"`([^`=]+)==([^`]+)` is yanked")
_CAUSE = re.compile(r"Because (?:there (?:is|are) no versions? of )?([A-Za-z0-9][A-Za-z0-9._-]*)")
#: What uv says of a single package that it refuses, and what that means.
_REASONS = (
    (re.compile(r"no (?:usable )?wheels|no matching wheels|Wheels are required"), Trouble.NO_WHEEL),
    (re.compile(r"was not found in|no versions? of|there is no version"), Trouble.VANISHED),
)


@dataclass(slots=True)
class Offer:
    """What the index offers.

    Attributes:
        wheels: By normalised name, what was found for exactly the version that was asked for.
        troubles: By normalised name, why nothing was found, with one sentence.
        yanked: Normalised names of releases that their authors withdrew.
    """

    wheels: dict[str, tuple[Wheel, ...]] = field(default_factory=dict)
    troubles: dict[str, tuple[Trouble, str]] = field(default_factory=dict)
    yanked: set[str] = field(default_factory=set)


def ask_index(
    wanted: Mapping[str, str], environment: Environment, *, uv: Uv, python: Path | None = None
) -> Offer:
    """Ask the user's indexes and wheel folders for exact versions, as wheels alone; nothing is built or run.

    Args:
        wanted: Version by name.
        environment: What the wheels must fit.
        python: Its interpreter, where it is here.

    Raises:
        Unavailable: The index does not answer.
    """
    offer = Offer()
    asked: dict[str, str] = {}
    for name, version in wanted.items():
        if _NAME.fullmatch(name) is None or not _is_version(version):
            offer.troubles[normal(name)] = (
                Trouble.UNREADABLE,
                "its name or version is none that an index knows",
            )
        else:
            asked[normal(name)] = version
    fitting = [*_fitting(environment, python), *_folder_options(uv)]
    inquiry = _Inquiry(uv, fitting, python or Path(sys.executable), offer)
    inquiry.ask(list(asked.items()))
    return offer


@dataclass
class _Inquiry:
    """One series of questions; packages that are refused leave the group until the rest has an answer.

    Each package is asked for by one exact version and without its dependencies, so none can be refused because of
    another. Where uv names none of them, the group is halved.
    """

    uv: Uv
    fitting: list[str]
    python: Path
    offer: Offer

    def ask(self, group: Sequence[tuple[str, str]]) -> None:
        """Ask about a group; what uv refuses is taken out, and the rest is asked about again."""
        left = list(group)
        while left:
            try:
                found = self._lock([f"{name}=={version}" for name, version in left])
            except UvFailed as failure:
                if failure.unreachable and not self.uv.offline:
                    raise Unavailable(
                        f"the package index does not answer: {failure.reason}",
                        hint="run it again later, or with --offline: then only what is here is looked at",
                    ) from None
                refused = _named(failure, left) if len(left) > 1 else left[0]
                if refused is None:
                    middle = len(left) // 2
                    self.ask(left[:middle])
                    self.ask(left[middle:])
                    return
                self.offer.troubles[refused[0]] = self._trouble(failure, refused[1])
                left.remove(refused)
                continue
            for name, version in left:
                self._note(name, version, found.get(name), exact=False)
            return

    def _lock(self, requirements: Sequence[str]) -> dict[str, dict[str, Any]]:
        warnings: list[str] = []
        packages = self.uv.lock(requirements, self.python, "--no-deps", *self.fitting, warnings=warnings)
        self.offer.yanked |= {normal(name) for line in warnings for name, _ in _YANKED.findall(line)}
        return {normal(str(package.get("name"))): package for package in packages}

    def _note(self, name: str, version: str, found: Mapping[str, Any] | None, *, exact: bool) -> None:
        """Keep what was found; `==1.0` also takes 1.0+cpu, so a build that differs is asked for once more."""
        if found is None:
            self.offer.troubles[name] = (Trouble.VANISHED, "the index offers no such release")
            return
        told = str(found.get("version"))
        if _same(told, version):
            wheels = _wheels(found.get("wheels"))
            if wheels:
                self.offer.wheels[name] = wheels
            else:
                self.offer.troubles[name] = (Trouble.NO_HASH, "the index gives no SHA-256 for its files")
        elif exact:
            said = f"only the build {told} is offered, which is other files"
            self.offer.troubles[name] = (Trouble.OTHER_BUILD, said)
        else:
            try:
                again: Mapping[str, Any] = self._lock([f"{name}==={version}"]).get(name, found)
            except UvFailed:
                again = found
            self._note(name, version, again, exact=True)

    def _trouble(self, failure: UvFailed, version: str) -> tuple[Trouble, str]:
        if self.uv.offline:
            return Trouble.NOT_ASKED, "not known here, and the index was not asked"
        build = version.partition("+")[2]
        if build and _REASONS[1][0].search(failure.output):
            said = f"your index has no build {build}: name the index that it came from in your settings"
            return Trouble.OTHER_BUILD, said
        for pattern, trouble in _REASONS:
            if pattern.search(failure.output):
                said = {
                    Trouble.NO_WHEEL: "there is no wheel of it for this Python and platform",
                    Trouble.VANISHED: "the index offers no such release",
                }[trouble]
                return trouble, said
        return Trouble.VANISHED, failure.reason[:200]


def _named(failure: UvFailed, group: Sequence[tuple[str, str]]) -> tuple[str, str] | None:
    """Return the package that uv names as the cause; None where it names none of the group."""
    name = _CAUSE.search(failure.output)
    return None if name is None else next((one for one in group if one[0] == normal(name[1])), None)


def chosen(choices: Sequence[tuple[str, str]], environment: Environment) -> str | None:
    """Return the version of several whose marker holds for an environment; None where none does.

    Args:
        choices: Versions with their markers; a marker that is none holds everywhere.
    """
    return next((version for version, marker in choices if _holds(marker, environment)), None)


def _holds(marker: str, environment: Environment) -> bool:
    if not marker:
        return True
    system = {"linux": "Linux", "darwin": "Darwin", "win32": "Windows"}.get(environment.system, "")
    names = {
        "sys_platform": environment.system,
        "platform_system": system,
        "os_name": "nt" if environment.system == "win32" else "posix",
        "platform_machine": environment.machine,
        "python_version": ".".join(environment.python.split(".")[:2]),
        "python_full_version": environment.python,
        "implementation_name": environment.implementation,
        "platform_python_implementation": "CPython" if environment.implementation == "cpython" else "",
        "extra": "",
    }
    try:
        return Marker(marker).evaluate(names)
    except (ValueError, RecursionError, KeyError):
        return True


def _fitting(environment: Environment, python: Path | None) -> list[str]:
    """The options that make uv think of another machine than this one."""
    if python is not None:
        return []
    options = ["--python-version", environment.python]
    here = (sys.platform, platform.machine(), "musl" if not platform.libc_ver()[0] else "glibc")
    if (environment.system, environment.machine) == here[:2] and environment.libc in {"", here[2]}:
        return options
    machine = {"arm64": "aarch64", "AMD64": "x86_64"}.get(environment.machine, environment.machine)
    target = {
        "linux": f"{machine}-unknown-linux-{'musl' if environment.libc == 'musl' else 'gnu'}",
        "darwin": f"{machine}-apple-darwin",
        "win32": f"{machine}-pc-windows-msvc",
    }.get(environment.system)
    return [*options, "--python-platform", target] if target else options


def _folder_options(uv: Uv) -> list[str]:
    """The options that name the user's own wheel folders."""
    return [word for folder in uv.settings.folders for word in ("--find-links", str(folder))]


def _wheels(told: object) -> tuple[Wheel, ...]:
    wheels = []
    for item in told if isinstance(told, list) else []:
        place = str(item.get("url") or item.get("path") or "")
        digest = str(dict(item.get("hashes") or {}).get("sha256", "")).lower()
        name = unquote(urlsplit(place).path.replace("\\", "/").rpartition("/")[2])
        size = item.get("size")
        if _SHA256.fullmatch(digest) and name.endswith(".whl"):
            wheels.append(Wheel(name, digest, public_url(place), size if isinstance(size, int) else None))
    return tuple(sorted(wheels, key=lambda wheel: wheel.name))


def public_url(place: str, *, schemes: Collection[str] = ("http", "https")) -> str:
    """Return a web address without a user, password, query or fragment; "" for anything on this machine.

    >>> public_url("https://me:secret@index.example/a/b-1-py3-none-any.whl?token=1#x")
    'https://index.example/a/b-1-py3-none-any.whl'
    """
    try:
        parts = urlsplit(place)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return ""
    if parts.scheme not in schemes or not host:
        return ""
    return urlunsplit((parts.scheme, host + port, parts.path, "", ""))


def _is_version(text: str) -> bool:
    try:
        return bool(Version(text))
    except InvalidVersion:
        return False


def _same(first: str, second: str) -> bool:
    return _is_version(first) and Version(first) == Version(second)
