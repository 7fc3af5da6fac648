"""What differs between torch versions, in one place: the engine runs on torch 2.0 to the newest.

Everything else in the engine uses only calls that mean the same in all of them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch


@contextmanager
def reproducible(*, threads: int | None = None) -> Iterator[None]:
    """Run a block without gradients and, where asked, with a fixed number of threads, which also fixes sums' order."""
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_num_threads(before)


def fast_bfloat16() -> bool:
    """Tell whether this processor multiplies bfloat16 in hardware; elsewhere float32 is faster in training."""
    try:
        flags = Path("/proc/cpuinfo").read_text("ascii", "replace")
    except OSError:  # not Linux
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def pick_device(name: str) -> torch.device:
    """Return the device for "auto", "cpu", "cuda" or "mps"; "auto" is cuda, then mps, then cpu.

    Raises:
        RuntimeError: The device was named but is not there (torch says why).
    """
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
