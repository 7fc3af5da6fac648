"""What a voice file says about itself: one frozen dataclass per model, kept as JSON beside the weights.

The bounds are part of the reading: a hostile file must not make the engine allocate without limit.
"""

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from engine.errors import BadVoice

VOICE_FORMAT = "vlm-voice/1"
SPEAKER_FORMAT = "vlm-speaker/1"
_MAX_CONFIG_BYTES = 200_000
_BOUNDS: dict[str, tuple[float, float]] = {
    "rate": (8000, 48000), "n_fft": (64, 4096), "win": (64, 4096), "hop": (16, 2048), "n_mels": (8, 256),
    "fmin": (0, 1000), "fmax": (1000, 24000), "width": (4, 2048), "hidden": (4, 8192), "layers": (1, 64),
    "encoder_layers": (1, 64),
}  # fmt: skip


@dataclass(frozen=True)
class AcousticConfig:
    """Sizes of the acoustic model; `kind` names its class in the registry."""

    kind: str = "direct"
    width: int = 256
    hidden: int = 640
    encoder_layers: int = 3
    layers: int = 5


@dataclass(frozen=True)
class VocoderConfig:
    """Sizes of the vocoder; `kind` names its class in the registry."""

    kind: str = "source-filter"
    width: int = 256
    hidden: int = 640
    layers: int = 6


@dataclass(frozen=True)
class VoiceConfig:
    """A whole voice: its frames, its models, its phones in the order of their numbers, and its letter chunks."""

    rate: int = 16000
    n_fft: int = 1024
    win: int = 800
    hop: int = 200
    n_mels: int = 80
    fmin: float = 0.0
    fmax: float = 8000.0
    languages: tuple[str, ...] = ("en",)
    acoustic: AcousticConfig = field(default_factory=AcousticConfig)
    vocoder: VocoderConfig = field(default_factory=VocoderConfig)
    phones: tuple[str, ...] = ()
    chunks: tuple[str, ...] = ()
    origin: str = ""

    def to_json(self) -> str:
        """Return the text that stands in the file's metadata."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> "VoiceConfig":
        """Read it back.

        Raises:
            BadVoice: Not JSON, an unknown or missing key, a wrong type, or a size out of bounds.
        """
        if len(text) > _MAX_CONFIG_BYTES:
            raise BadVoice("the voice's configuration is too long")
        try:
            raw = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise BadVoice("the voice's configuration is not JSON") from error
        return _voice(raw)


def _voice(raw: Any) -> VoiceConfig:
    values = _checked(raw, VoiceConfig)
    for name in ("languages", "phones", "chunks"):
        items = values[name]
        if (
            not isinstance(items, list)
            or len(items) > 2000
            or not all(isinstance(item, str) for item in items)
        ):
            raise BadVoice(f'the voice\'s configuration has a wrong "{name}"')
        values[name] = tuple(items)
    values["acoustic"] = AcousticConfig(**_checked(values["acoustic"], AcousticConfig))
    values["vocoder"] = VocoderConfig(**_checked(values["vocoder"], VocoderConfig))
    config = VoiceConfig(**values)
    if "pau" not in config.phones:
        raise BadVoice("the voice's configuration names no pause")
    if config.win > config.n_fft or config.fmax * 2 > config.rate or config.hop * 2 > config.win:
        raise BadVoice("the voice's configuration describes no possible spectrogram")
    return config


def _checked(raw: Any, kind: type) -> dict[str, Any]:
    names = {item.name: item for item in fields(kind)}
    if not isinstance(raw, dict) or set(raw) != set(names):
        raise BadVoice(f"the voice's configuration lacks or invents keys of {kind.__name__}")
    for name, value in raw.items():
        if name in _BOUNDS:
            low, high = _BOUNDS[name]
            kinds = (int, float) if name.startswith("f") else int
            if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
                raise BadVoice(f'the voice\'s configuration has "{name}" out of bounds')
        elif names[name].type in (str, "str") and not isinstance(value, str):
            raise BadVoice(f'the voice\'s configuration has a wrong "{name}"')
    return dict(raw)
