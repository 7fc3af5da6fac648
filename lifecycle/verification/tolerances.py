"""How far a step may be from its golden, one table with a reason each; docs/adr/0006 says how they were set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: Part of the key under which results are reused: raise it whenever a number or a measure changes.
TABLE_VERSION = 1


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The greatest distance at which a step still agrees.

    Attributes:
        cpu: On a CPU.
        gpu: On cuda and mps, where sums are rounded to fewer bits (TF32 keeps 10 bits of mantissa).
        unit: What the distance is measured in.
        reason: Why not less and not more.
    """

    cpu: float
    gpu: float
    unit: str
    reason: str

    def on(self, device: str) -> float:
        """Return the tolerance for "cpu", "cuda", "cuda:0" or "mps"."""
        return self.cpu if device.partition(":")[0] == "cpu" else self.gpu


TOLERANCES: Mapping[str, Tolerance] = {
    "phones": Tolerance(0.0, 0.0, "phones", "text to phones has no arithmetic that could round"),
    "embedding": Tolerance(1e-5, 1e-3, "largest difference", "a stored vector of unit length, only read back"),
    "durations": Tolerance(
        1e-3,
        3e-2,
        "frames",
        "0.01 ms; where only the rounding to whole frames falls the other way, the sentence ends uncompared",
    ),
    "mel": Tolerance(
        2e-3, 3e-2, "largest difference (ln)",
        "torch 2.0 to 2.15 agree to 5e-7 relative on one CPU; another CPU sums in another order",
    ),
    "f0": Tolerance(1e-3, 1e-2, "relative", "2 cents, far below what is heard; a different sentence melody is 5 %"),
    "log-mel": Tolerance(
        1e-2, 3e-2, "mean difference (ln)",
        "0.1 dB: phases may differ between CPUs, the spectrum may not; audible noise is above 0.1",
    ),
    "level": Tolerance(0.1, 0.3, "dB", "a level that drifts is heard at 1 dB"),
}  # fmt: skip

#: Frames whose voicing may flip, as a share: the decision is a threshold, and its neighbours are near it.
VOICING_FLIPS = 0.01
#: Quieter than this nobody hears anything: not a voice that speaks.
SILENCE_DB = -60.0
