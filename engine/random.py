"""Counter-based random numbers: the same on every platform, numpy and torch; torch's own are never used.

Source: Philox 4x32-10, Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
Normal numbers come from Box and Muller's transform in float64, rounded to float32, so that the last bits of a
platform's `log` and `cos` do not show.
"""

import hashlib
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)


def philox(counter: NDArray[np.uint32], key: tuple[int, int]) -> NDArray[np.uint32]:
    """Return the (n, 4) output words of Philox 4x32-10 for (n, 4) counters and a key of two 32-bit words."""
    c0, c1, c2, c3 = (counter[:, i].astype(np.uint64) for i in range(4))
    k0, k1 = key
    for _ in range(10):
        p0, p1 = _M0 * c0, _M1 * c2
        c0, c1, c2, c3 = (
            (p1 >> _SHIFT) ^ c1 ^ np.uint64(k0),
            p1 & _LOW,
            (p0 >> _SHIFT) ^ c3 ^ np.uint64(k1),
            p0 & _LOW,
        )
        k0, k1 = (k0 + _W0) & 0xFFFFFFFF, (k1 + _W1) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)


def _words(seed: int, stream: str | int, count: int) -> NDArray[np.uint32]:
    """Return `count` words: the key is the seed, the counter's upper half the stream, its lower half the place."""
    blocks = -(-count // 4)
    place = np.arange(blocks, dtype=np.uint64)
    digest = hashlib.sha256(str(stream).encode("utf-8")).digest()
    counter = np.empty((blocks, 4), dtype=np.uint32)
    counter[:, 0] = (place & _LOW).astype(np.uint32)
    counter[:, 1] = (place >> _SHIFT).astype(np.uint32)
    counter[:, 2] = int.from_bytes(digest[:4], "little")
    counter[:, 3] = int.from_bytes(digest[4:8], "little")
    key = seed % (1 << 64)
    return philox(counter, (key & 0xFFFFFFFF, key >> 32)).reshape(-1)[:count]


def uniform(seed: int, stream: str | int, shape: Sequence[int]) -> NDArray[np.float32]:
    """Return numbers in [0, 1) with 24 random bits each.

    Args:
        seed: Any whole number; its lower 64 bits count.
        stream: What the numbers are for; two streams of one seed are independent.
        shape: Shape of the result.
    """
    words = _words(seed, stream, math.prod(shape))
    return ((words >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)).reshape(tuple(shape))


def normal(seed: int, stream: str | int, shape: Sequence[int]) -> NDArray[np.float32]:
    """Return numbers of mean 0 and variance 1; arguments as for `uniform`."""
    count = math.prod(shape)
    pairs = -(-count // 2)
    words = _words(seed, stream, 2 * pairs).astype(np.float64).reshape(-1, 2)
    radius = np.sqrt(-2.0 * np.log((words[:, 0] + 0.5) * 2.0**-32))
    angle = 2.0 * math.pi * (words[:, 1] + 0.5) * 2.0**-32
    both = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)[:count]
    return both.astype(np.float32).reshape(tuple(shape))
