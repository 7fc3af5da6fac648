"""The user's package settings: what pip and uv were told, handed on to uv.

uv reads its own settings but none of pip's, so pip's files and variables are read here (standard library only:
`make dev` runs this before anything is installed). Only user and system files count: a file in the current
folder could name an index that the user never chose.
"""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

_KEYS = ("index-url", "extra-index-url", "find-links", "cert", "proxy", "trusted-host", "no-index")
#: pip's sections from weak to strong for the command that we stand in for.
_SECTIONS = ("global", "install")
SYSTEM_FILE = Path("/etc/pip.conf")


@dataclass(frozen=True, slots=True)
class PackageSettings:
    """Where packages come from.

    Args:
        folders: Local wheel folders, strongest first: VLM_WHEELS, then pip's and uv's find-links.
        remote_links: find-links that are not folders.
        environment: Variables for uv, on top of the user's own; the user's UV_* win.
        no_index: Only folders and links count; uv has no variable for it, so it is told with an option.
    """

    folders: tuple[Path, ...]
    remote_links: tuple[str, ...]
    environment: dict[str, str]
    no_index: bool = False

    @property
    def searches_all(self) -> bool:
        """True where the indexes are pip's, which takes the newest of all of them."""
        return "UV_INDEX_STRATEGY" in self.environment


def pip_files(environment: Mapping[str, str]) -> list[Path]:
    """The files that pip would read, weakest first. Source: pip's user guide, "Location"."""
    home = Path(environment.get("HOME") or "~").expanduser()
    config = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    shared = (environment.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)
    files = [Path(folder) / "pip" / "pip.conf" for folder in reversed(shared) if folder]
    if sys.platform == "darwin":
        files.append(Path("/Library/Application Support/pip/pip.conf"))
    files += [SYSTEM_FILE, home / ".pip" / "pip.conf"]
    if sys.platform == "darwin":
        files.append(home / "Library" / "Application Support" / "pip" / "pip.conf")
    files.append(config / "pip" / "pip.conf")
    named = environment.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return []
    return [*files, Path(named)] if named else files


def pip_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return pip's settings that say where packages come from; variables win over files."""
    settings: dict[str, str] = {}
    for section in _SECTIONS:
        for file in pip_files(environment):
            settings.update(_section(file, section))
    for key in _KEYS:
        value = environment.get("PIP_" + key.upper().replace("-", "_"))
        if value:
            settings[key] = value
    return settings


def _section(file: Path, section: str) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    try:
        parser.read(file, encoding="utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError):
        return {}
    if not parser.has_section(section):
        return {}
    return {key: parser.get(section, key).strip() for key in _KEYS if parser.has_option(section, key)}


def package_settings(environment: Mapping[str, str]) -> PackageSettings:
    """Read the user's settings of pip and uv once, as one answer."""
    pip = pip_settings(environment)
    links = [
        *(environment.get("VLM_WHEELS") or "").split(os.pathsep),
        *_words(environment.get("UV_FIND_LINKS", "").replace(",", " ")),
        *_words(pip.get("find-links", "")),
    ]
    folders, remote = [], []
    for link in dict.fromkeys(link for link in links if link):
        folder = local_folder(link)
        if folder is None:
            remote.append(link)
        else:
            folders.append(folder)
    no_index = pip.get("no-index", "").lower() in {"1", "true", "yes", "on"}
    return PackageSettings(
        tuple(dict.fromkeys(folders)), tuple(remote), _for_uv(pip, environment), no_index=no_index
    )


def local_folder(link: str) -> Path | None:
    """Return the folder that a find-links entry names, or None if it is a URL elsewhere."""
    parts = urlsplit(link)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if parts.scheme and "://" in link else Path(link).expanduser()


def _words(text: str) -> list[str]:
    return text.split()


def _for_uv(pip: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Translate pip's settings; whatever the user told uv itself stays as it is."""
    wanted: dict[str, str] = {}
    if "index-url" in pip and not environment.get("UV_DEFAULT_INDEX"):
        wanted["UV_INDEX_URL"] = pip["index-url"]
    if "extra-index-url" in pip and not environment.get("UV_INDEX"):
        wanted["UV_EXTRA_INDEX_URL"] = " ".join(_words(pip["extra-index-url"]))
        # pip takes a release from any of its indexes; the private one still goes first
        wanted["UV_INDEX_STRATEGY"] = "unsafe-first-match"
    if "cert" in pip:
        wanted["SSL_CERT_FILE"] = pip["cert"]
    if "trusted-host" in pip:
        wanted["UV_INSECURE_HOST"] = " ".join(_words(pip["trusted-host"]))
    if "proxy" in pip:
        wanted["HTTPS_PROXY"] = wanted["HTTP_PROXY"] = pip["proxy"]
    return {name: value for name, value in wanted.items() if not _set(environment, name)}


def _set(environment: Mapping[str, str], name: str) -> bool:
    return bool(environment.get(name) or environment.get(name.lower()))
