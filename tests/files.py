"""Small files that tests register: weights, speaker files and recordings, made without torch."""

from __future__ import annotations

import json
import math
import random
import struct
import wave
from collections.abc import Mapping
from pathlib import Path


def safetensors(
    tensors: Mapping[str, list[int]], *, seed: int = 0, metadata: Mapping[str, str] | None = None
) -> bytes:
    """Return a safetensors file of float32 tensors with these shapes."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    for name, shape in tensors.items():
        size = 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + random.Random(seed).randbytes(at)


def weights(path: Path, *, seed: int = 0) -> Path:
    """Write weights of no particular kind."""
    path.write_bytes(safetensors({"layer.weight": [8, 4], "layer.bias": [8]}, seed=seed))
    return path


def speaker(path: Path, *, seed: int = 0) -> Path:
    """Write a speaker file of ours."""
    path.write_bytes(safetensors({"embedding": [256]}, seed=seed, metadata={"format": "vlm-speaker/1"}))
    return path


def recording(path: Path, *, seed: int = 0, seconds: float = 0.5, rate: int = 16000) -> Path:
    """Write a WAV of its own content, whatever the path is called."""
    rng = random.Random(seed)
    pitch = 100 + rng.random() * 100
    samples = [
        round(8000 * math.sin(2 * math.pi * pitch * i / rate) + rng.gauss(0, 400))
        for i in range(int(rate * seconds))
    ]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return path


def recordings(folder: Path, *, seed: int = 0, count: int = 2) -> Path:
    """Make a folder of recordings."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        recording(folder / f"take-{number}.wav", seed=100 * seed + number)
    return folder
