"""What a worker answered, as values to compare; nothing in an answer is believed before its shape is right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lifecycle.verification.golden import Spoken

_MAX_PHONES = 10_000
_MAX_FRAMES = 1_000_000


def spoken_from(
    values: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], *, texts: Sequence[str], language: str
) -> tuple[Spoken, ...]:
    """Read the answer to "stages": one sentence for each text.

    Raises:
        ValueError: Something is missing or has another shape than it must have.
    """
    told, rate = values.get("utterances"), values.get("rate")
    if not isinstance(rate, int) or not 8000 <= rate <= 192_000:
        raise ValueError("a sample rate that may not be")
    if not isinstance(told, list) or len(told) != len(texts):
        raise ValueError("not one answer for each sentence")
    return tuple(
        _spoken(i, told[i], arrays, text=texts[i], language=language, rate=rate) for i in range(len(texts))
    )


def _spoken(
    number: int, told: object, arrays: Mapping[str, NDArray[Any]], *, text: str, language: str, rate: int
) -> Spoken:
    phones = told.get("phones") if isinstance(told, dict) else None
    if not isinstance(phones, list) or not 0 < len(phones) <= _MAX_PHONES:
        raise ValueError("no list of phones")
    if not all(isinstance(phone, str) and len(phone) <= 16 for phone in phones):
        raise ValueError("phones that are none")
    mel = _array(arrays, f"{number}/mel", rank=2)
    return Spoken(
        text=text,
        language=language,
        rate=rate,
        phones=tuple(phones),
        raw_durations=_array(arrays, f"{number}/duration_frames", rank=1).astype(np.float32),
        durations=_array(arrays, f"{number}/durations", rank=1).astype(np.int64),
        mel=mel.astype(np.float32),
        f0=_array(arrays, f"{number}/f0", rank=1).astype(np.float32),
        samples=_array(arrays, f"{number}/samples", rank=1).astype(np.float32),
    )


def embedding_from(arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    """Return the speaker vector of an answer to "stages".

    Raises:
        ValueError: There is none.
    """
    return _array(arrays, "embedding", rank=1).astype(np.float32)


def _array(arrays: Mapping[str, NDArray[Any]], name: str, *, rank: int) -> NDArray[Any]:
    found = arrays.get(name)
    if (
        found is None
        or found.ndim != rank
        or found.dtype.kind not in "fi"
        or max(found.shape, default=0) > 64 * _MAX_FRAMES
    ):
        raise ValueError(f'no array "{name}" of the right kind')
    return found


_DTYPES: Final[Mapping[str, str]] = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32",
    "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL", "complex64": "C64", "complex128": "C128",
    "qint8": "QI8", "quint8": "QU8", "qint32": "QI32", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
}  # fmt: skip


def tensors_agree(
    static: Sequence[tuple[tuple[int, ...], str, str | None]], loaded: object, *, all_of_them: bool
) -> str | None:
    """Say how what torch loaded differs from what the static reader saw; None where it is the same.

    Tensors are compared by shape, dtype and SHA-256, each as often as it occurs; names may be spelt otherwise.

    Args:
        static: Shape, dtype as safetensors spells it, hexadecimal SHA-256.
        loaded: The worker's list.
        all_of_them: Whether every tensor of the file must have been loaded (a TorchScript may hold constants besides).
    """
    if not isinstance(loaded, list) or not all(isinstance(entry, dict) for entry in loaded):
        return "the worker named no tensors"
    seen = Counter((shape, dtype, digest) for shape, dtype, digest in static)
    given: Counter[tuple[tuple[int, ...], str, str | None]] = Counter()
    for entry in loaded:
        shape = entry.get("shape")
        dtype = str(entry.get("dtype"))
        if not isinstance(shape, list):
            return "the worker named a tensor without a shape"
        given[tuple(shape), _DTYPES.get(dtype, dtype), entry.get("sha256")] += 1
    unknown = sum((given - seen).values())
    missing = sum((seen - given).values())
    if unknown:
        return f"{unknown} of {len(loaded)} tensors are not what the file holds"
    if missing and all_of_them:
        return f"{missing} tensors of the file were not loaded"
    if not loaded:
        return "no tensor was loaded"
    return None
