"""Lists of clips with what is said in them: GPT-SoVITS's `path|speaker|language|text`, and its `2-name2text.txt`.

Sources: GPT-SoVITS, tools/asr and GPT_SoVITS/prepare_datasets/1-get-text.py. The paths are those of the machine that
wrote the list, often another one and often Windows; only their last parts mean anything here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lifecycle.formats.limits import MIB
from lifecycle.formats.model import Unread

MAX_BYTES: Final = 64 * MIB
_MAX_LINES: Final = 1_000_000
_MAX_LINE: Final = 32_768
_LANGUAGES: Final = {
    "zh": "zh", "ja": "ja", "jp": "ja", "en": "en", "ko": "ko", "kr": "ko", "yue": "yue",
    "all_zh": "zh", "all_ja": "ja", "all_ko": "ko", "all_yue": "yue", "auto": "", "auto_yue": "",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Clip:
    """One line: the parts of the path, the speaker as the list calls them, the language, and what is said."""

    parts: tuple[str, ...]
    speaker: str
    language: str
    text: str


def read_list(data: bytes) -> list[Clip]:
    """Read a list of clips.

    Raises:
        Unread: It is too long, not UTF-8, or not such a list.
    """
    clips = []
    for line in _lines(data):
        fields = line.split("|", 3)
        if len(fields) != 4 or not fields[0].strip():
            raise Unread("is no list of clips: a line has not the four parts path|speaker|language|text")
        path, speaker, language, text = (field.strip() for field in fields)
        parts = tuple(part for part in path.replace("\\", "/").split("/") if part not in ("", ".", ".."))
        if parts:
            clips.append(Clip(parts, speaker, _LANGUAGES.get(language.lower(), language.lower()[:16]), text))
    if not clips:
        raise Unread("is no list of clips: it is empty")
    return clips


def read_names(data: bytes) -> set[str]:
    """Return the file names in a `2-name2text.txt`, the clips that a voice was trained on.

    Raises:
        Unread: As `read_list`.
    """
    return {name for line in _lines(data) if (name := line.partition("\t")[0].strip())}


def _lines(data: bytes) -> list[str]:
    if len(data) > MAX_BYTES:
        raise Unread("is longer than a list of clips can be")
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise Unread("is not UTF-8") from None
    if len(lines) > _MAX_LINES or any(len(line) > _MAX_LINE for line in lines):
        raise Unread("is longer than a list of clips can be")
    return [line for line in lines if line.strip()]
