"""torchaudio, where it loads: an outside reference and an alternative resampler; nothing needs it."""

from __future__ import annotations

import importlib
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.audio.errors import AudioError


@lru_cache(maxsize=1)
def torchaudio() -> ModuleType | None:
    """The module, or None where it is not installed or does not fit this torch.

    A torchaudio built for another torch or another CUDA fails with OSError or RuntimeError on import.
    """
    try:
        importlib.import_module("torchaudio.functional")
        return importlib.import_module("torchaudio")
    except (ImportError, OSError, RuntimeError):
        return None


def resample_with_torchaudio(x: NDArray[np.floating[Any]], src_hz: int, dst_hz: int) -> NDArray[np.float32]:
    """Resample (N,) samples by torchaudio's default kernel; the length is that of `resample`.

    Raises:
        AudioError: torchaudio does not load here.
    """
    module = torchaudio()
    if module is None:
        raise AudioError("torchaudio does not load here")
    import torch

    samples = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))
    result: NDArray[np.float32] = module.functional.resample(samples, src_hz, dst_hz).numpy()
    return result
