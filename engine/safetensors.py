"""Read and write safetensors files with numpy alone; the file is never believed.

Source: the format of the safetensors project, version 0.4 and later: 8 bytes of header length, a JSON header,
the tensors without gaps. Nothing in it is executed.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import BadVoice

MAX_HEADER_BYTES = 8_000_000
MAX_FILE_BYTES = 4_000_000_000
MAX_TENSORS = 20_000
_DTYPES: dict[str, type[np.generic]] = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32,
    "I16": np.int16, "I8": np.int8, "U8": np.uint8, "BOOL": np.bool_,
}  # fmt: skip
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}


def read(source: Path | bytes, *, as_float32: bool = False) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return the tensors by name, and the metadata.

    Args:
        source: A file, or its bytes.
        as_float32: Give float16 tensors as float32.

    Raises:
        BadVoice: Not such a file, or its header does not fit its bytes.
        FileNotFoundError: There is no such file.
    """
    data = source if isinstance(source, bytes) else _bytes_of(source)
    if len(data) < 8:
        raise BadVoice("the file is too short to be a safetensors file")
    size = int.from_bytes(data[:8], "little")
    if size > MAX_HEADER_BYTES or 8 + size > len(data):
        raise BadVoice("the safetensors header is longer than the file")
    header = _parse_header(data[8 : 8 + size])
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise BadVoice("the safetensors metadata is not a table of strings")
    if len(header) > MAX_TENSORS:
        raise BadVoice(f"the safetensors header names {len(header)} tensors, more than {MAX_TENSORS}")
    body = memoryview(data)[8 + size :]
    tensors = {name: _tensor(name, entry, body) for name, entry in header.items()}
    _refuse_gaps(header, len(body))
    if as_float32:
        tensors = {k: v.astype(np.float32) if v.dtype == np.float16 else v for k, v in tensors.items()}
    return tensors, metadata


def to_bytes(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """Return the file's bytes; equal tensors and metadata give equal bytes.

    Raises:
        BadVoice: A dtype that the format does not have.
    """
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    parts, offset = [], 0
    for name in sorted(tensors):
        array = np.asarray(tensors[name])
        if array.dtype not in _NAMES:
            raise BadVoice(f'tensor "{name}" is {array.dtype}, which safetensors cannot hold here')
        part = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        header[name] = {
            "dtype": _NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + len(part)],
        }
        offset += len(part)
        parts.append(part)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=True).encode("ascii")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(parts)


def write(
    path: Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str], *, half: bool = False
) -> None:
    """Write a file in one step: whole or not at all.

    Args:
        path: Where; an older file there is replaced.
        tensors: By name.
        metadata: Strings by name.
        half: Store floating tensors as float16.
    """
    if half:
        tensors = {
            k: v.astype(np.float16) if np.asarray(v).dtype.kind == "f" else v for k, v in tensors.items()
        }
    write_bytes(path, to_bytes(tensors, metadata))


def write_bytes(path: Path, data: bytes) -> None:
    """Write beside, sync, rename, sync the folder."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _bytes_of(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise BadVoice(f"the file is larger than {MAX_FILE_BYTES} bytes")
    return data


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadVoice("the safetensors header names something twice")
    return found


def _parse_header(raw: bytes) -> dict[str, Any]:
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=_no_duplicates)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise BadVoice("the safetensors header is not JSON") from error
    if not isinstance(header, dict):
        raise BadVoice("the safetensors header is not a table")
    return header


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_FILE_BYTES


def _tensor(name: str, entry: object, body: memoryview) -> NDArray[Any]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise BadVoice(f"the safetensors entry {name[:80]!r} is not complete")
    shape, offsets, kind = entry["shape"], entry["data_offsets"], entry["dtype"]
    if not isinstance(kind, str) or kind not in _DTYPES:
        raise BadVoice(f"the safetensors entry {name[:80]!r} has an unknown dtype")
    lists = isinstance(shape, list) and isinstance(offsets, list) and len(offsets) == 2 and len(shape) <= 8
    if not lists or not all(_whole(value) for value in (*shape, *offsets)):
        raise BadVoice(f"the safetensors entry {name[:80]!r} has an impossible shape or place")
    begin, end = offsets
    dtype = np.dtype(_DTYPES[kind])
    if not begin <= end <= len(body) or math.prod(shape) * dtype.itemsize != end - begin:
        raise BadVoice(f"the safetensors entry {name[:80]!r} does not fit its bytes")
    flat = np.frombuffer(body[begin:end], dtype=dtype.newbyteorder("<"))
    return flat.reshape(shape).astype(dtype, copy=True)


def _refuse_gaps(header: Mapping[str, Any], size: int) -> None:
    """Every byte belongs to one tensor: no overlap, no gap, nothing behind the last."""
    at = 0
    for begin, end in sorted(tuple(entry["data_offsets"]) for entry in header.values()):
        if begin != at:
            raise BadVoice("the safetensors tensors overlap or leave a gap")
        at = end
    if at != size:
        raise BadVoice("the safetensors file holds bytes that belong to no tensor")
