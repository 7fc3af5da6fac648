"""Digests as they are written everywhere: `algorithm:hex`."""

from __future__ import annotations

import re
from dataclasses import dataclass

_FORM = re.compile(r"(blake3|sha256):([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A 256-bit digest and the algorithm that made it.

    Raises:
        ValueError: The text is not 64 lower-case hexadecimal digits of a known algorithm.
    """

    algorithm: str
    hex: str

    def __post_init__(self) -> None:
        if _FORM.fullmatch(f"{self.algorithm}:{self.hex}") is None:
            raise ValueError(f'"{self.algorithm}:{self.hex}" is not a digest')

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read `blake3:<64 hex>` or `sha256:<64 hex>`.

        Raises:
            ValueError: Any other form.
        """
        algorithm, _, digits = text.partition(":")
        return cls(algorithm, digits)

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"
