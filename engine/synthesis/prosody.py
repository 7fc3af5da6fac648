"""What the speaker of a sentence may choose: speed, pauses, pitch, and the rise of a question."""

import numpy as np
from numpy.typing import NDArray

QUESTION_RISE_SEMITONES = 7.0
QUESTION_RISE_S = 0.35


def whole_frames(
    durations: NDArray[np.floating],
    *,
    pauses: NDArray[np.bool_],
    weights: NDArray[np.floating],
    speed: float,
    pause: float,
) -> NDArray[np.int64]:
    """Return whole frames per phone, at least 1 each, whose sum stays within half a frame of the wanted sum.

    Args:
        durations: (T,) frames as predicted.
        pauses: (T,) which phones are pauses.
        weights: (T,) factor of each pause.
        speed: 2 is twice as fast.
        pause: 2 is pauses twice as long.
    """
    wanted = durations.astype(np.float64) / speed * np.where(pauses, weights * pause, 1.0)
    wanted = np.maximum(wanted, 1.0)
    ends = np.floor(np.cumsum(wanted) + 0.5).astype(np.int64)
    return np.maximum(np.diff(ends, prepend=0), 1)


def question(
    log_f0: NDArray[np.float32], voiced: NDArray[np.bool_], *, frame_rate: float
) -> NDArray[np.float32]:
    """Raise the last 350 ms of voicing along a straight line to 7 semitones; the rest stays.

    The teachers speak a question like a statement, so the rise is a rule on the explicit F0.
    """
    at = np.flatnonzero(voiced)
    if len(at) == 0:
        return log_f0
    end = int(at[-1])
    begin = max(int(at[0]), end - round(QUESTION_RISE_S * frame_rate) + 1)
    ramp = np.clip((np.arange(len(log_f0)) - begin + 1) / max(1, end - begin + 1), 0.0, 1.0)
    raised: NDArray[np.float32] = (log_f0 + ramp * QUESTION_RISE_SEMITONES * np.log(2.0) / 12.0).astype(
        np.float32
    )
    return raised


def transpose(log_f0: NDArray[np.float32], semitones: float) -> NDArray[np.float32]:
    """Move log F0 by semitones."""
    moved: NDArray[np.float32] = (log_f0 + semitones * np.log(2.0) / 12.0).astype(np.float32)
    return moved
