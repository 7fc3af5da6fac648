"""Goldens: what a voice gave when it was recorded, as one small file; and the same things as a worker gives them.

The file has the layout of safetensors (length, JSON header, raw little-endian arrays), so that any reader of that
format opens it; it is never a pickle. It is of class template, so it lies sealed, and it never enters a sandbox.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lifecycle.domain.errors import IntegrityError
from lifecycle.verification.spectrum import level_db
from lifecycle.verification.tolerances import SILENCE_DB

FORMAT: Final = "vlm-golden/1"
SEED: Final = 20
#: Spoken by every voice of a language when its golden is recorded; adding one makes new goldens, never new old ones.
SENTENCES: Mapping[str, tuple[str, ...]] = {
    "en": ("The old radio still says the same.", "Is anybody there, after seven long years?"),
}
_MAX_BYTES = 64 << 20
_MAX_HEADER = 1 << 20
_DTYPES: Mapping[str, str] = {"F32": "<f4", "I64": "<i8", "I16": "<i2"}
_ARRAYS: Mapping[str, str] = {
    "durations": "I64",
    "raw_durations": "F32",
    "mel": "F32",
    "f0": "F32",
    "samples": "I16",
}


@dataclass(frozen=True, slots=True, eq=False)
class Spoken:
    """One sentence, step by step. T phones, M mel bands, F frames, N samples.

    Attributes:
        raw_durations: (T,) frames before they were rounded; empty where the voice does not tell.
        durations: (T,) whole frames.
        mel: (M, F) natural log.
        f0: (F,) in Hz, 0 where unvoiced.
        samples: (N,) in [-1, 1].
    """

    text: str
    language: str
    rate: int
    phones: tuple[str, ...]
    raw_durations: NDArray[np.float32]
    durations: NDArray[np.int64]
    mel: NDArray[np.float32]
    f0: NDArray[np.float32]
    samples: NDArray[np.float32]

    def defect(self) -> str | None:
        """Say what makes this no speech at all, or None."""
        for name in ("raw_durations", "mel", "f0", "samples"):
            if not np.isfinite(getattr(self, name)).all():
                return f"{name.replace('_', ' ')} holds values that are not numbers"
        if len(self.phones) != len(self.durations) or not self.phones:
            return "phones and durations do not belong together"
        if len(self.samples) == 0 or level_db(self.samples) < SILENCE_DB:
            return "it speaks silence"
        return None


@dataclass(frozen=True, slots=True)
class Made:
    """Under which circumstances a golden was recorded."""

    engine_hash: str
    torch: str
    build: str
    python: str
    lock_hash: str
    cpu: str
    threads: int
    seed: int
    identity: str


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """What a voice gave when it was recorded."""

    made: Made
    embedding: NDArray[np.float32]
    sentences: tuple[Spoken, ...]

    def to_bytes(self) -> bytes:
        """Return the file; samples are kept as 16-bit PCM.

        Raises:
            ValueError: A sentence is no speech (not numbers, silence), or there is none: nothing to compare with.
        """
        if not self.sentences:
            raise ValueError("there is no sentence to keep")
        arrays: dict[str, NDArray[Any]] = {"embedding": self.embedding.astype("<f4")}
        told = []
        for number, spoken in enumerate(self.sentences):
            flaw = spoken.defect()
            if flaw is not None:
                raise ValueError(f'"{spoken.text}": {flaw}')
            pcm = np.rint(np.clip(spoken.samples, -1.0, 1.0) * 32767.0)
            values = {name: getattr(spoken, name) for name in _ARRAYS} | {"samples": pcm}
            arrays |= {
                f"{number}.{name}": np.asarray(values[name]).astype(_DTYPES[_ARRAYS[name]])
                for name in _ARRAYS
            }
            told.append(
                {
                    "text": spoken.text,
                    "language": spoken.language,
                    "rate": spoken.rate,
                    "phones": spoken.phones,
                }
            )
        metadata = {"format": FORMAT, "made": json.dumps(asdict(self.made)), "sentences": json.dumps(told)}
        return _pack(arrays, metadata)

    @classmethod
    def from_bytes(cls, data: bytes) -> Golden:
        """Read a golden back.

        Raises:
            IntegrityError: The bytes are no golden of this format.
        """
        try:
            arrays, metadata = _unpack(data)
            if metadata.get("format") != FORMAT:
                raise ValueError(f"its format is {metadata.get('format')!r}")
            made = Made(**json.loads(metadata["made"]))
            told = json.loads(metadata["sentences"])
            sentences = tuple(_spoken(number, entry, arrays) for number, entry in enumerate(told))
            golden = cls(made, arrays["embedding"].astype(np.float32), sentences)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise IntegrityError(f"a golden could not be read: {error}", hint="vlm doctor") from None
        if not golden.sentences or any(s.defect() for s in golden.sentences):
            raise IntegrityError("a golden holds no speech to compare with", hint="vlm doctor")
        return golden

    def summary(self) -> dict[str, object]:
        """Return what may be shown: no vector, no sample, no mel of the person."""
        return {
            **{field.name: getattr(self.made, field.name) for field in fields(Made)},
            "sentences": [
                {
                    "text": s.text,
                    "phones": len(s.phones),
                    "frames": int(s.mel.shape[1]),
                    "seconds": round(len(s.samples) / s.rate, 2),
                }
                for s in self.sentences
            ],
        }


def _spoken(number: int, entry: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Spoken:
    own = {name: arrays[f"{number}.{name}"] for name in _ARRAYS}
    own["samples"] = own["samples"].astype(np.float32) / np.float32(32767.0)
    return Spoken(
        text=str(entry["text"]),
        language=str(entry["language"]),
        rate=int(entry["rate"]),
        phones=tuple(str(phone) for phone in entry["phones"]),
        **own,
    )


def _pack(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    names = {np.dtype(code): name for name, code in _DTYPES.items()}
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    parts, at = [], 0
    for name in sorted(arrays):
        part = arrays[name].tobytes()
        header[name] = {
            "dtype": names[arrays[name].dtype],
            "shape": list(arrays[name].shape),
            "data_offsets": [at, at + len(part)],
        }
        at += len(part)
        parts.append(part)
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(parts)


def _unpack(data: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    if len(data) > _MAX_BYTES:
        raise ValueError("it is too large")
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > min(_MAX_HEADER, len(data) - 8):
        raise ValueError("its header does not fit")
    header = json.loads(data[8 : 8 + size])
    metadata = header.pop("__metadata__")
    body = memoryview(data)[8 + size :]
    arrays: dict[str, NDArray[Any]] = {}
    for name, entry in header.items():
        dtype, shape, (begin, end) = np.dtype(_DTYPES[entry["dtype"]]), entry["shape"], entry["data_offsets"]
        if not all(isinstance(n, int) and n >= 0 for n in (*shape, begin, end)) or not begin <= end <= len(
            body
        ):
            raise ValueError(f"array {name!r} lies outside")
        if math.prod(shape) * dtype.itemsize != end - begin:
            raise ValueError(f"array {name!r} does not fit its bytes")
        arrays[name] = np.frombuffer(body[begin:end], dtype).reshape(shape)
    return arrays, metadata
