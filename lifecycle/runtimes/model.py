"""What a runtime is, and what making one would do: values without I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: Says one line about the step that begins; the second argument is the bytes that it will fetch, or None.
Progress = Callable[[str, "int | None"], None]


def silent(_line: str, _bytes: int | None = None) -> None:
    """Show nothing."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python that a runtime can be built on.

    Args:
        path: The real executable, never a shim.
        version: Such as (3, 11, 7).
        prefix: `sys.base_prefix`; a sandbox has to show this folder.
        environment: Marker values as PEP 508 names them.
    """

    path: Path
    version: tuple[int, int, int]
    prefix: Path
    environment: dict[str, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def minor(self) -> tuple[int, int]:
        """Such as (3, 11)."""
        return self.version[:2]

    @property
    def tag(self) -> str:
        """Such as "cp311"."""
        return f"cp{self.version[0]}{self.version[1]}"

    @property
    def text(self) -> str:
        """Such as "3.11.7"."""
        return ".".join(map(str, self.version))


@dataclass(frozen=True, slots=True)
class Wheel:
    """One file that provides torch.

    Args:
        version: Public version with its local part, such as "2.13.0+cpu".
        name: File name.
        rung: Which step of the ladder found it: "folder", "cpu-index" or "index".
        location: The path of a local file, else the URL that the index gave.
        size_bytes: None where the index does not say.
        sha256: Hex, or None where the index does not say.
        index: The index of rung "cpu-index" where it is not PyTorch's own.
    """

    version: str
    name: str
    rung: str
    location: str
    size_bytes: int | None
    sha256: str | None
    index: str | None = None

    @property
    def local(self) -> bool:
        """True where nothing has to be fetched for it."""
        return self.rung == "folder" or self.location.startswith("file:")

    @property
    def public(self) -> str:
        """The version without its local part, such as "2.13.0"."""
        return self.version.partition("+")[0]


@dataclass(frozen=True, slots=True)
class RuntimePlan:
    """What `RuntimeStore.add` would do: said to the user before anything is fetched.

    Args:
        torch: Exact public version.
        source: One phrase: "wheel folder FOLDER", "PyTorch's CPU index", "package index".
        download_bytes: What the wheel of torch costs on the line; 0 for a local file, None if unknown.
        existing: The runtime that already stands, when there is nothing to do.
        steps: What will be done, in words.
    """

    torch: str
    source: str
    download_bytes: int | None
    python: Interpreter
    wheel: Wheel | None
    existing: Runtime | None
    steps: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON for `--json` and `--dry-run`."""
        return {
            "torch": self.torch,
            "source": self.source,
            "download_bytes": self.download_bytes,
            "python": self.python.text,
            "wheel": self.wheel.name if self.wheel else None,
            "existing": self.existing.id if self.existing else None,
            "steps": list(self.steps),
        }


@dataclass(frozen=True, slots=True)
class Runtime:
    """A managed environment with one torch, described by its `runtime.json`.

    Args:
        path: Its folder; the environment is in `path / "venv"`.
        torch: Public version, such as "2.13.0".
        build: "cpu", "cu124-stubs" (a CUDA build on generated stub libraries), "cu130", "plain".
        lock: Packages with versions and, where known, the wheel's SHA-256.
        lock_hash: "sha256:<hex>" over the canonical lock.
        cuda_arch: Compute capabilities the build carries, such as ("sm_75", "sm_80").
    """

    path: Path
    id: str
    torch: str
    build: str
    python: str
    python_prefix: str
    platform: str
    source: str
    created: str
    lock: tuple[dict[str, str | None], ...]
    lock_hash: str
    cuda_arch: tuple[str, ...] = ()
    numpy: str | None = None

    @property
    def executable(self) -> Path:
        """The environment's interpreter."""
        return self.path / "venv" / "bin" / "python"

    def identity(self) -> dict[str, str]:
        """What a registry keeps of a runtime."""
        return {
            "id": self.id,
            "torch": self.torch,
            "build": self.build,
            "python": self.python,
            "platform": self.platform,
            "lock_hash": self.lock_hash,
        }
