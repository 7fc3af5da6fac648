"""Which hash tensors get: BLAKE3, unless a comparison needs the one that a torch runtime can compute too."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from blake3 import blake3

_algorithm: ContextVar[str] = ContextVar("tensor_algorithm", default="blake3")


class Hash(Protocol):
    """What a hash of a tensor does."""

    def update(self, data: bytes, /) -> object:
        """Take more bytes."""

    def hexdigest(self) -> str:
        """Return the hash."""


@contextmanager
def tensor_algorithm(name: str) -> Iterator[None]:
    """Hash tensors with "blake3" or "sha256" inside the block."""
    token = _algorithm.set(name)
    try:
        yield
    finally:
        _algorithm.reset(token)


def new_hash() -> Hash:
    """Begin a tensor's hash."""
    return hashlib.sha256() if _algorithm.get() == "sha256" else blake3()


def written(state: Hash) -> str:
    """Return `algorithm:hex` of a finished hash."""
    return f"{_algorithm.get()}:{state.hexdigest()}"
