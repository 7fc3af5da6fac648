"""What is to be run for a voice, and under which key a result is used again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from lifecycle.domain.canonical import Json, canonical_json
from lifecycle.domain.voices import Artifact, Role
from lifecycle.verification.tolerances import TABLE_VERSION

#: Kinds of `inspect` by how torch opens them; anything else cannot be opened by torch at all.
OURS = "vlm-voice"
SPEAKER = "vlm-speaker"
_LOADERS = (
    ("torchscript", "torchscript"),
    ("torch-jit", "torchscript"),
    ("safetensors", "safetensors"),
    ("onnx", "onnx"),
    ("gpt-sovits", "checkpoint"),
    ("torch", "checkpoint"),
    ("pickle", "checkpoint"),
    ("checkpoint", "checkpoint"),
)


class Way(StrEnum):
    """How a voice can be checked."""

    SPEAK = "speak"
    LOAD = "load"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Subject:
    """The files of one voice that verification touches.

    Attributes:
        way: Whether the engine speaks it, a runtime only loads it, or neither.
        weights: Files that the engine speaks with (one), or that torch loads.
        speaker: The sealed speaker file of one of our voices.
    """

    way: Way
    weights: tuple[Artifact, ...]
    speaker: Artifact | None = None
    golden: Artifact | None = None

    @property
    def files(self) -> tuple[Artifact, ...]:
        """Every artifact whose bytes decide the result."""
        return (
            *self.weights,
            *((self.speaker,) if self.speaker else ()),
            *((self.golden,) if self.golden else ()),
        )


def subject_of(artifacts: Sequence[Artifact]) -> Subject:
    """Sort a version's artifacts into what verification needs; the newest golden counts."""
    here = [artifact for artifact in artifacts if artifact.present]
    weights = tuple(a for a in here if a.role in {Role.WEIGHTS, Role.EXPORT})
    ours = [a for a in weights if a.kind == OURS]
    speakers = [a for a in here if a.role is Role.EMBEDDING and a.kind == SPEAKER]
    goldens = sorted((a for a in here if a.role is Role.GOLDEN), key=lambda a: a.added_at)
    golden = goldens[-1] if goldens else None
    if ours:
        return Subject(Way.SPEAK, (ours[-1],), speakers[-1] if speakers else None, golden)
    loadable = tuple(a for a in weights if loader_of(a.kind) is not None)
    return Subject(Way.LOAD if loadable else Way.NOTHING, loadable or weights, None, golden)


def loader_of(kind: str) -> str | None:
    """Return which loader a runtime uses for a kind of file, or None where it has none."""
    return next((loader for prefix, loader in _LOADERS if kind.startswith(prefix)), None)


def beginnings(loader: str) -> tuple[list[str], list[str]]:
    """Return with what kinds of a loader begin, and those beginnings of others that are looked at before them."""
    mine = [prefix for prefix, name in _LOADERS if name == loader]
    first = next(number for number, (_, name) in enumerate(_LOADERS) if name == loader)
    return mine, [prefix for prefix, name in _LOADERS[:first] if name != loader]


@dataclass(frozen=True, slots=True)
class Where:
    """A runtime and a device, by everything that can change a result."""

    runtime: str
    lock_hash: str
    engine_hash: str
    device: str


def inputs_hash(identity: str, subject: Subject, where: Where) -> str:
    """Return the key of a result: while it stays the same, running again would tell nothing new.

    Args:
        identity: Of the voice's version.
    """
    told: dict[str, Json] = {
        "identity": identity,
        "files": [
            f"{a.role}={a.digest}" for a in sorted(subject.files, key=lambda a: (a.role, str(a.digest)))
        ],
        "way": str(subject.way),
        "runtime": where.runtime,
        "lock": where.lock_hash,
        "engine": where.engine_hash,
        "device": where.device,
        "tolerances": TABLE_VERSION,
    }
    return "sha256:" + hashlib.sha256(canonical_json(told)).hexdigest()
