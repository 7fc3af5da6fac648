"""numpy's .npy and .npz, read without numpy. Source: numpy.lib.format, versions 1.0 to 3.0."""

from __future__ import annotations

import ast
from typing import Final

from lifecycle.formats import known
from lifecycle.formats.limits import MAX_DIMS, MAX_ELEMENTS
from lifecycle.formats.model import Finding, Inspection, TensorInfo, Unread, plural, shown
from lifecycle.formats.safetensors import common_dtype
from lifecycle.formats.source import Source, memory
from lifecycle.formats.zips import Zip

MAGIC: Final = b"\x93NUMPY"
_MAX_HEADER: Final = 10_000
"""numpy itself refuses longer ones unless it is told to trust the file."""


def is_npz(container: Zip) -> bool:
    """Say whether every member of a zip archive is an array."""
    return bool(container.members) and all(
        name.endswith(".npy") and "/" not in name for name in container.members
    )


def read_npy(source: Source, *, digests: bool = False) -> Inspection:
    """Inspect one array.

    Raises:
        Unread: Its header lies, or its data are not as long as its shape needs.
    """
    info = _array(source, "", digests=digests)
    return _result([info], "numpy array")


def read_npz(container: Zip, *, digests: bool = False) -> Inspection:
    """Inspect a zip archive of arrays.

    Raises:
        Unread: See `read_npy`.
    """
    findings = container.check()
    infos = []
    for name, member in container.members.items():
        inside = container.window(name) if member.stored else memory(container.read(name))
        infos.append(_array(inside, name.removesuffix(".npy"), digests=digests))
    found = _result(infos, "numpy archive")
    return Inspection(
        found.kind, found.safe, (*found.findings, *findings), found.facts, found.tensors, None, found.summary
    )


def _result(infos: list[TensorInfo], word: str) -> Inspection:
    objects = [info for info in infos if info.dtype == "O"]
    findings = tuple(
        Finding(
            "danger", "object_array", "holds an array of objects, which is a pickle that runs when loaded"
        )
        for _ in objects[:1]
    )
    dtype = common_dtype([info.dtype for info in infos])
    facts: dict[str, object] = {"n_tensors": len(infos), "dtype": dtype}
    what = f"{word}, {dtype}, {plural(len(infos), 'array')}"
    scan = findings[0].message if findings else "data only, nothing in it can run"
    return Inspection("numpy", not objects, findings, facts, tuple(infos), None, f"{what}     {scan}")


def _array(source: Source, name: str, *, digests: bool) -> TensorInfo:
    head = source.at(0, min(12, source.size))
    if head[:6] != MAGIC or len(head) < 12 or head[6] not in (1, 2, 3):
        raise Unread("is no numpy array of a known version", kind="numpy")
    size = 2 if head[6] == 1 else 4
    length = int.from_bytes(head[8 : 8 + size], "little")
    if length > _MAX_HEADER:
        raise Unread("is a numpy array with a header that is too long", kind="numpy")
    begin = 8 + size + length
    text, order, shape = _header(source.at(8 + size, length))
    if "O" in text:
        return TensorInfo(shown(name), shape, "O")
    plain = text.lstrip("<=|>")
    dtype = known.NUMPY_DTYPES.get(plain)
    if dtype is None:
        raise Unread(f'is a numpy array of a type "{shown(text, 40)}" that is not read here', kind="numpy")
    count = 1
    for n in shape:
        count *= n
    if begin + count * known.ITEM_BYTES[dtype] != source.size:
        raise Unread("is a numpy array that is not as long as its shape needs", kind="numpy")
    digest = None
    if digests and not order and not text.startswith(">"):
        from blake3 import blake3

        state = blake3()
        for chunk in source.chunks(begin, source.size - begin):
            state.update(chunk)
        digest = f"blake3:{state.hexdigest()}"
    return TensorInfo(shown(name), shape, dtype, digest)


def _header(raw: bytes) -> tuple[str, bool, tuple[int, ...]]:
    """Read `{'descr': '<f4', 'fortran_order': False, 'shape': (256,)}`."""
    lies = Unread("is a numpy array with a header that cannot be", kind="numpy")
    try:
        value = ast.literal_eval(raw.decode("utf-8").strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        raise lies from None
    if not isinstance(value, dict) or set(value) != {"descr", "fortran_order", "shape"}:
        raise lies
    shape = value["shape"]
    if not isinstance(shape, tuple) or len(shape) > MAX_DIMS:
        raise lies
    if any(not isinstance(n, int) or isinstance(n, bool) or not 0 <= n <= MAX_ELEMENTS for n in shape):
        raise lies
    # fields of records are a list of pairs; one of objects among them is enough
    return str(value["descr"]), bool(value["fortran_order"]), shape
