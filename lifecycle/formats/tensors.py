"""Digests of tensors, read without torch."""

from __future__ import annotations

import numpy as np

from lifecycle.formats import known
from lifecycle.formats.hashing import new_hash, written
from lifecycle.formats.limits import MAX_CHUNK, MAX_TEXT_MEMBER
from lifecycle.formats.model import Unread
from lifecycle.formats.source import Source
from lifecycle.formats.values import Tensor


def digest_of(tensor: Tensor, storage: Source) -> str:
    """Return `blake3:<hex>` of a tensor's little-endian bytes in row-major order.

    Args:
        tensor: Shape, strides and offset in elements.
        storage: The bytes it is a view of; `tensor` lies within them.

    Raises:
        Unread: A view that repeats its data would unpack to more than its storage holds.
    """
    item = known.ITEM_BYTES[tensor.dtype]
    count = 1
    for n in tensor.shape:
        count *= n
    digest = new_hash()
    if _contiguous(tensor):
        for chunk in storage.chunks(tensor.offset * item, count * item):
            digest.update(chunk)
        return written(digest)
    if count * item > max(storage.size, MAX_TEXT_MEMBER):
        raise Unread("has a tensor that repeats its data")
    raw = np.frombuffer(b"".join(storage.chunks(0, storage.size)), dtype=np.uint8)
    view = np.lib.stride_tricks.as_strided(
        raw[tensor.offset * item :],
        shape=(*tensor.shape, item),
        strides=(*(step * item for step in tensor.strides), 1),
        writeable=False,
    )
    step = max(1, MAX_CHUNK // max(1, view[:1].nbytes))
    for start in range(0, len(view), step):
        digest.update(np.ascontiguousarray(view[start : start + step]).tobytes())
    return written(digest)


def _contiguous(tensor: Tensor) -> bool:
    expected = 1
    for n, step in zip(reversed(tensor.shape), reversed(tensor.strides), strict=True):
        if n == 0:
            return True
        if n != 1 and step != expected:
            return False
        expected *= n
    return True
