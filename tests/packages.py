"""Wheels and environments for tests, made here: no index is asked and nothing is downloaded."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from lifecycle.runtimes.uv import find_uv


def metadata(name: str, version: str) -> bytes:
    """Return the METADATA of a package."""
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nWords.\n".encode()


def wheel(
    folder: Path, name: str, version: str = "1.0", *, tag: str = "py3-none-any", content: str = ""
) -> Path:
    """Write a wheel with one module; another `content` makes another file of the same version."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n{content}".encode(),
        f"{info}/METADATA": metadata(name, version),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }
    record = "".join(f"{path},sha256={_digest(told)},{len(told)}\n" for path, told in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    path = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name_, told in files.items():
            archive.writestr(zipfile.ZipInfo(name_, (2020, 1, 1, 0, 0, 0)), told)
    return path


def project(folder: Path, name: str, version: str = "0.1") -> Path:
    """Write a project that builds itself, so that it can be installed in place without any build tool."""
    (folder / "src").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(
        f'[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        f'[project]\nname = "{name}"\nversion = "{version}"\n',
        encoding="utf-8",
    )
    (folder / "backend.py").write_text(_BACKEND.format(name=name, version=version), encoding="utf-8")
    return folder


def environment(folder: Path, *installed: str | Path, wheels: Path | None = None) -> Path:
    """Make an environment with packages of local files alone; returns its folder."""
    uv("venv", "--quiet", "--python", sys.executable, folder)
    links = [] if wheels is None else ["--find-links", wheels]
    if installed:
        uv("pip", "install", "--quiet", "--no-index", *links, "-p", folder / "bin" / "python", *installed)
    return folder


def uv(*arguments: str | Path, ok: bool = True) -> subprocess.CompletedProcess[str]:
    """Run uv without any setting of the user's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))}
    done = subprocess.run(
        [find_uv(), *map(os.fspath, arguments)],
        env={**kept, "UV_NO_CONFIG": "1", "UV_PYTHON_DOWNLOADS": "never"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 or not ok, done.stderr
    return done


def only_these_wheels(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let the user's settings of pip and uv know one folder of wheels, and no index."""
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_", "VLM_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


_BACKEND = """
import pathlib, zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(folder) / name, "w") as made:
        made.writestr("{name}.pth", str(pathlib.Path("src").absolute()))
        info = "{name}-{version}.dist-info"
        made.writestr(info + "/METADATA", "Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
        told = "Wheel-Version: 1.0\\nGenerator: tests\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
        made.writestr(info + "/WHEEL", told)
        made.writestr(info + "/RECORD", "")
    return name

build_wheel = build_editable
"""
