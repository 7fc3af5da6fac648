"""What the engine can refuse, one class per reason; the worker sends `code` and the message.

EngineError
  BadAudio         a recording that cannot be read or used
  BadOption        a setting out of its range
  BadText          text that cannot be spoken
  BadVoice         a voice file that is damaged, hostile or of another kind
  Cancelled        the caller asked to stop
  Mute             a voice without its speaker file
  UnknownLanguage  no front end for that language
"""


class EngineError(ValueError):
    """The engine refuses; the message is one sentence without a full stop."""

    code = "engine_error"


class BadAudio(EngineError):
    """A recording cannot be read or used."""

    code = "bad_audio"


class BadOption(EngineError):
    """A setting, such as a speed, is out of its range."""

    code = "bad_option"


class BadText(EngineError):
    """There is nothing in the text that could be spoken, or it is too long."""

    code = "bad_text"


class BadVoice(EngineError):
    """A voice file is damaged, hostile or of another kind."""

    code = "bad_voice"


class Cancelled(EngineError):
    """The caller asked to stop; what was finished before lies in the work folder."""

    code = "cancelled"


class Mute(EngineError):
    """The voice has no speaker file: its conditioning was purged, or never given."""

    code = "mute"


class UnknownLanguage(EngineError):
    """There is no front end for the language."""

    code = "unknown_language"
