"""The one error of this room."""

from engine.errors import BadAudio


class AudioError(BadAudio):
    """A file that is no readable recording, or samples that no measure is defined for."""
