"""Which class stands behind a `kind` in a voice's configuration; one call registers another."""

from collections.abc import Callable

from torch import nn

from engine.config import VoiceConfig
from engine.errors import BadVoice

Builder = Callable[[VoiceConfig], nn.Module]
_ACOUSTIC: dict[str, Builder] = {}
_VOCODER: dict[str, Builder] = {}


def register_acoustic(kind: str, builder: Builder) -> None:
    """Make `builder` the acoustic model of voices whose configuration says `kind`."""
    _ACOUSTIC[kind] = builder


def register_vocoder(kind: str, builder: Builder) -> None:
    """Make `builder` the vocoder of voices whose configuration says `kind`."""
    _VOCODER[kind] = builder


def build_acoustic(config: VoiceConfig) -> nn.Module:
    """Return a new acoustic model (an `AcousticModel`) with random weights.

    Raises:
        BadVoice: No such kind is registered.
    """
    return _build(_ACOUSTIC, config.acoustic.kind, config)


def build_vocoder(config: VoiceConfig) -> nn.Module:
    """Return a new vocoder (a `Vocoder`) with random weights.

    Raises:
        BadVoice: No such kind is registered.
    """
    return _build(_VOCODER, config.vocoder.kind, config)


def _build(table: dict[str, Builder], kind: str, config: VoiceConfig) -> nn.Module:
    import engine.models.acoustic  # both register themselves when they are imported
    import engine.models.vocoder  # noqa: F401

    if kind not in table:
        raise BadVoice(f'the voice needs a part of kind "{kind[:40]}", which this engine does not have')
    return table[kind](config)
