"""How much two recordings sound like one person, on the scale of our own speaker encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

# Measured on seven real readers with the weights in engine/assets/speaker (its CARD.md has the table): half of a
# recording against six seconds of its other half, or of somebody else. Other weights need other numbers.
SAME_ABOVE = 0.75  # three quarters of the pairs of one person pass, fewer than 5 % of strangers
STRANGERS_BELOW = 0.60  # nine strangers of ten lie below, fewer than 5 % of the pairs of one person
TWO_SPEAKERS_BELOW = 0.66  # centres of two groups of windows: one reader gave 0.72 to 0.96, two -0.40 to 0.67


@dataclass(frozen=True, slots=True)
class Resemblance:
    """A cosine, and what it says.

    Attributes:
        cosine: -1 to 1.
        says: "same" from SAME_ABOVE on, "stranger" under STRANGERS_BELOW, between them "unsure".
    """

    cosine: float
    says: Literal["same", "unsure", "stranger"]

    @property
    def sentence(self) -> str:
        """The figure with its scale, for people."""
        return (
            f"{self.cosine:.2f} on a scale where the same person is above {SAME_ABOVE:.2f}"
            f" and strangers are below {STRANGERS_BELOW:.2f}"
        )


def resemblance(a: NDArray[np.floating[Any]], b: NDArray[np.floating[Any]]) -> Resemblance:
    """Compare two embeddings of one length, (D,) each; they need not have unit norm.

    Raises:
        ValueError: Other shapes, or a vector without direction.
    """
    one, two = (np.asarray(vector, dtype=np.float64) for vector in (a, b))
    if one.ndim != 1 or one.shape != two.shape:
        raise ValueError(f"embeddings of shape {one.shape} and {two.shape} cannot be compared")
    norms = float(np.linalg.norm(one) * np.linalg.norm(two))
    if not np.isfinite(norms) or norms == 0.0:
        raise ValueError("an embedding without direction cannot be compared")
    cosine = float(np.clip(one @ two / norms, -1.0, 1.0))
    if cosine >= SAME_ABOVE:
        return Resemblance(cosine, "same")
    return Resemblance(cosine, "stranger" if cosine < STRANGERS_BELOW else "unsure")


def equal_error_rate(
    same: NDArray[np.floating[Any]], different: NDArray[np.floating[Any]]
) -> tuple[float, float]:
    """The error rate at which as many strangers pass as owners fail, and the threshold where that is.

    Args:
        same: Scores of pairs of one speaker, (P,), not empty.
        different: Scores of pairs of two speakers, (Q,), not empty.

    Raises:
        ValueError: One of them is empty.
    """
    if len(same) == 0 or len(different) == 0:
        raise ValueError("an error rate needs pairs of one speaker and pairs of two")
    owners, strangers = np.sort(same), np.sort(different)
    thresholds = np.unique(np.concatenate((owners, strangers)))
    rejected = np.searchsorted(owners, thresholds, side="left") / len(owners)
    accepted = 1.0 - np.searchsorted(strangers, thresholds, side="left") / len(strangers)
    at = int(np.argmin(np.abs(rejected - accepted)))
    return float((rejected[at] + accepted[at]) / 2), float(thresholds[at])
