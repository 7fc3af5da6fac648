"""The base voice that ships with the engine."""

from pathlib import Path

BASE = Path(__file__).parent / "base-en"


def base_path() -> Path:
    """Return the base's weights file; its speaker file lies beside it, as `base.speaker.safetensors`."""
    return BASE / "base.safetensors"


def base_speaker_path() -> Path:
    """Return the base's speaker file."""
    return BASE / "base.speaker.safetensors"
