"""vlm: the life of a voice, kept, checked and ended with evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lifecycle.api import Lifecycle
    from lifecycle.api import open_registry as open  # noqa: A004 - `lifecycle.open(home)` is its public name

__all__ = ["Lifecycle", "open"]

_PUBLIC = {"open": "open_registry", "Lifecycle": "Lifecycle"}


def __getattr__(name: str) -> Any:
    """Import the API when it is first asked for, so that the command line starts without it."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("lifecycle.api"), _PUBLIC[name])
