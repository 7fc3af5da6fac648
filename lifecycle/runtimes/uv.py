"""uv, the only installer: found, started with the user's settings, its answers read."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomllib

from lifecycle.domain.errors import Unavailable
from lifecycle.runtimes.indexes import PackageSettings

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class UvFailed(Exception):
    """uv gave up; `reason` is its own first sentence."""

    def __init__(self, output: str) -> None:
        self.output = _ANSI.sub("", output).strip()
        super().__init__(self.reason)

    @property
    def reason(self) -> str:
        """One line that says why."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        causes = [line.removeprefix("cause:").strip() for line in lines if line.startswith("cause:")]
        errors = [line.removeprefix("error:").strip() for line in lines if line.startswith("error:")]
        found = causes[-1:] or errors[:1] or lines[-1:] or ["uv said nothing"]
        return found[0].rstrip(".")

    @property
    def unreachable(self) -> bool:
        """True where the network, not the index, said no."""
        words = ("dns error", "client error (Connect)", "timed out", "Failed to fetch", "offline", "network")
        return any(word in self.output for word in words)


def find_uv() -> Path:
    """Return the uv that came with vlm, else the one on PATH.

    Raises:
        Unavailable: There is none.
    """
    try:
        import uv

        return Path(uv.find_uv_bin())
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
    if found is None:
        raise Unavailable("uv, which installs runtimes, was not found", hint="pip install uv")
    return Path(found)


@dataclass(frozen=True)
class Uv:
    """uv with one user's settings.

    Args:
        binary: The program.
        root: Folder that it starts in, so that no project file of the current folder is read.
        settings: What pip and uv were told.
        environment: The user's environment.
        offline: Never reach out.
        cache: Its cache folder.
        show: Let installations draw uv's own progress bars on this terminal.
    """

    binary: Path
    root: Path
    settings: PackageSettings
    environment: Mapping[str, str]
    offline: bool = False
    cache: Path = field(default_factory=Path)
    show: bool = False

    def variables(self, more: Mapping[str, str]) -> dict[str, str]:
        """The environment of a uv process."""
        variables = {
            **{name: value for name, value in self.environment.items() if name not in _NOT_OURS},
            **self.settings.environment,
            "UV_CACHE_DIR": str(self.cache),
            "UV_NO_PROGRESS": "1",
            "UV_PYTHON_DOWNLOADS": "never",
            **more,
        }
        if self.offline:
            variables["UV_OFFLINE"] = "1"
        return variables

    def run(
        self,
        arguments: Sequence[str],
        *,
        stdin: str = "",
        show: bool = False,
        timeout_s: float = 3600,
        env: Mapping[str, str] | None = None,
        warnings: list[str] | None = None,
    ) -> str:
        """Run uv and return its standard output.

        Args:
            show: This is an installation, whose progress bars may be drawn.
            env: Variables for this run alone.
            warnings: Takes the lines in which uv warned.

        Raises:
            UvFailed: It ended with an error, or took longer than `timeout_s`.
        """
        variables = self.variables(env or {})
        if self.settings.no_index and list(arguments[:1]) == ["pip"] and arguments[1] in _ASKING:
            arguments = [*arguments, "--no-index"]
        show = show and self.show
        if show:
            variables.pop("UV_NO_PROGRESS")
        try:
            done = subprocess.run(
                [str(self.binary), *arguments],
                input=stdin,
                stdout=subprocess.PIPE,
                stderr=None if show else subprocess.PIPE,
                text=True,
                errors="replace",
                cwd=self.root,
                env=variables,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise UvFailed(f"error: timed out after {timeout_s:.0f} s") from error
        if done.returncode != 0:
            raise UvFailed(done.stderr or "error: uv failed; its own words stand above")
        if warnings is not None:
            lines = _ANSI.sub("", done.stderr or "").splitlines()
            warnings += [
                line.removeprefix("warning:").strip() for line in lines if line.startswith("warning:")
            ]
        return done.stdout

    def lock(
        self,
        requirements: Sequence[str],
        python: Path,
        *extra: str,
        env: Mapping[str, str] | None = None,
        warnings: list[str] | None = None,
    ) -> list[dict[str, Any]]:
        """Resolve to wheels and return the packages of a PEP 751 lock: name, version, wheels with sizes and hashes.

        Args:
            warnings: Takes the lines in which uv warned, such as of a release that was withdrawn.

        Raises:
            UvFailed: There is no solution, or the index does not answer.
        """
        arguments = ["pip", "compile", "-", "--no-header", "--format", "pylock.toml"]
        arguments += ["--quiet"] if warnings is None else []
        arguments += ["--only-binary", ":all:", "--python", str(python), *extra]
        for link in self.settings.remote_links:
            arguments += ["--find-links", link]
        text = self.run(
            arguments, stdin="\n".join(requirements) + "\n", timeout_s=600, env=env, warnings=warnings
        )
        packages: list[dict[str, Any]] = tomllib.loads(text).get("packages", [])
        return packages


#: What uv does with packages that may come from an index.
_ASKING = frozenset({"compile", "install", "sync"})

#: An active environment or a forced target would redirect the installation; find-links are handed on by us.
_NOT_OURS = frozenset(
    {
        "VIRTUAL_ENV",
        "CONDA_PREFIX",
        "UV_FIND_LINKS",
        "UV_TARGET",
        "UV_PREFIX",
        "UV_SYSTEM_PYTHON",
        "UV_PYTHON",
    }
    | {"UV_PROJECT_ENVIRONMENT", "PYTHONPATH", "PYTHONHOME"}
)


def cache_folder(root: Path, environment: Mapping[str, str]) -> Path:
    """The user's own uv cache where one is named, else a folder beside the runtimes (hard links need one disk)."""
    named = environment.get("UV_CACHE_DIR")
    return Path(named).expanduser() if named else root / ".uv-cache"


def make_uv(
    root: Path,
    settings: PackageSettings,
    environment: Mapping[str, str],
    *,
    offline: bool = False,
    show: bool = False,
) -> Uv:
    """Bind uv to a user's settings; makes `root`."""
    root.mkdir(parents=True, exist_ok=True)
    return Uv(find_uv(), root, settings, environment, offline, cache_folder(root, environment), show)
