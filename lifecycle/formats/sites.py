"""The Python environments of an image: its site-packages, told by the metadata files that lie in them."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

from lifecycle.domain.packages import Environment, Installed, direct_of, normal
from lifecycle.formats.images import Image

_SITE = re.compile(r"((?:[^/]+/)*(?:site|dist)-packages)/([^/]+)\.(dist|egg)-info(?:/([^/]+))?$")
_PYTHON = re.compile(r"python(3\.\d{1,2})(?:/|$)")
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
#: An environment with nothing else has nothing to say about a voice.
_BARE = frozenset({"pip", "setuptools", "wheel"})


def sites_of(image: Image) -> dict[str, Environment]:
    """Return the environment of each site-packages of an image that holds more than an installer, by its path."""
    told: dict[str, dict[str, dict[str, bytes]]] = {}
    for path, content in image.files.items():
        found = _SITE.match(path)
        if found is not None:
            folder = told.setdefault(found[1], {}).setdefault(f"{found[2]}.{found[3]}-info", {})
            folder[found[4] or "PKG-INFO"] = content
    sites = {f"/{site}": _environment(image, site, folders) for site, folders in sorted(told.items())}
    return {
        site: environment
        for site, environment in sites.items()
        if {normal(package.name) for package in environment.packages} - _BARE
    }


def _environment(image: Image, site: str, folders: Mapping[str, Mapping[str, bytes]]) -> Environment:
    packages: dict[str, Installed] = {}
    unreadable: list[str] = []
    for folder, files in sorted(folders.items()):
        name, version = _headers(files.get("METADATA") or files.get("PKG-INFO") or b"")
        if not name or not version:
            unreadable.append(folder[:200])
            continue
        installer = files.get("INSTALLER", b"").decode("utf-8", "replace").strip()
        direct = direct_of(files.get("direct_url.json", b"").decode("utf-8", "replace"), unreadable, name)
        packages.setdefault(normal(name), Installed(name, version, installer[:100], direct))
    prefix = posixpath.dirname(posixpath.dirname(posixpath.dirname(site)))
    conda = posixpath.join(prefix, "conda-meta/")
    musl = any("/ld-musl-" in f"/{path}" for path in image.files)
    return Environment(
        python=_python(image, site),
        system=image.system or "linux",
        machine=_MACHINES.get(image.architecture, image.architecture),
        libc="musl" if musl else "glibc",
        packages=tuple(packages[key] for key in sorted(packages)),
        unreadable=tuple(unreadable),
        others=sum(path.startswith(conda) for path in image.files),
    )


def _headers(content: bytes) -> tuple[str, str]:
    """Name and version of a metadata file; its headers end at the first empty line."""
    found = {"name": "", "version": ""}
    for line in content.decode("utf-8", "replace").splitlines():
        if not line.strip():
            break
        key, _, value = line.partition(":")
        if key.lower() in found and not found[key.lower()]:
            found[key.lower()] = value.strip()[:200]
    return found["name"], found["version"]


def _python(image: Image, site: str) -> str:
    """The version that a site belongs to, as exactly as the image says; "" where it does not."""
    named = _PYTHON.search(site)
    minors = {f[1] for path in image.files if path.endswith("/os.py") and (f := _PYTHON.search(path))}
    minor = named[1] if named else max(minors, key=lambda text: int(text[2:]), default="")
    full = image.variables.get("PYTHON_VERSION", "")
    return full if minor and re.fullmatch(re.escape(minor) + r"\.\d{1,2}", full) else minor
