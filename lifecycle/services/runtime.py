"""`vlm runtime add`, `list`, `remove`: the managed torch environments of this user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lifecycle.runtimes.environments import Runtimes
from lifecycle.runtimes.model import Runtime
from lifecycle.runtimes.store import size_bytes


@dataclass(frozen=True, slots=True)
class RuntimeRow:
    """One runtime, as it is listed.

    Args:
        private_bytes: What removing it frees; the rest is shared with other runtimes by hard link.
    """

    runtime: Runtime
    size_bytes: int
    private_bytes: int
    is_default: bool

    def to_json(self) -> Mapping[str, object]:
        """Return the row for programs."""
        return {
            **self.runtime.identity(),
            "numpy": self.runtime.numpy,
            "source": self.runtime.source,
            "created": self.runtime.created,
            "path": str(self.runtime.path),
            "cuda_arch": list(self.runtime.cuda_arch),
            "packages": [dict(package) for package in self.runtime.lock],
            "size_bytes": self.size_bytes,
            "private_bytes": self.private_bytes,
            "default": self.is_default,
        }


@dataclass(frozen=True, slots=True)
class Added:
    """What `add` did, or would do."""

    runtime: Runtime | None
    plan: Mapping[str, object]
    created: bool

    def to_json(self) -> Mapping[str, object]:
        """Return the result for programs."""
        told = RuntimeRow(self.runtime, 0, 0, is_default=False).to_json() if self.runtime else None
        if isinstance(told, dict):
            told = {
                name: value for name, value in told.items() if name not in {"size_bytes", "private_bytes"}
            }
        return {"runtime": told, "plan": dict(self.plan), "created": self.created}


def rows(runtimes: Runtimes, *, default_torch: str) -> list[RuntimeRow]:
    """Return all runtimes, oldest torch first, with their sizes on disk."""
    default = runtimes.find(default_torch)
    return [
        RuntimeRow(
            runtime,
            size_bytes(runtime.path),
            size_bytes(runtime.path, private=True),
            default is not None and runtime.id == default.id,
        )
        for runtime in runtimes.list()
    ]


def remove(runtimes: Runtimes, names: list[str], *, dry_run: bool = False) -> list[tuple[Runtime, int]]:
    """Delete runtimes and return each with the bytes that it freed.

    Raises:
        NotFound: One of them is not there; then none was deleted.
        Busy: Another process works on it.
    """
    chosen = list({runtime.id: runtime for runtime in (runtimes.get(name) for name in names)}.values())
    if dry_run:
        return [(runtime, size_bytes(runtime.path, private=True)) for runtime in chosen]
    return [(runtime, runtimes.remove(runtime)) for runtime in chosen]
