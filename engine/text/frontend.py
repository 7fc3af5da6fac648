"""The door to the front ends: text in one language becomes sentences of phones."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from engine.errors import BadText, UnknownLanguage

Pronounce = Callable[[str], tuple[str, ...]]
MAX_CHARACTERS = 20_000


@dataclass(frozen=True)
class Sentence:
    """One sentence to speak; the three rows have one entry per phone.

    Attributes:
        phones: Symbols of `engine.text.symbols`, a pause first and last.
        stress: 1 on the vowel of a stressed syllable.
        first: 1 on the first phone of a word.
        words: As they were pronounced.
        question: It ended with a question mark, and is to be heard as one.
        weights: Pauses only: how long against an ordinary one; 1 elsewhere.
    """

    phones: tuple[str, ...]
    stress: tuple[int, ...]
    first: tuple[int, ...]
    words: tuple[str, ...]
    question: bool
    weights: tuple[float, ...]


class FrontEnd(Protocol):
    """Text of one language to sentences."""

    def __call__(self, text: str) -> list[Sentence]:
        """Return the sentences of the text; empty if nothing in it can be spoken."""
        ...


def front_end(language: str, pronounce: Pronounce) -> FrontEnd:
    """Return the front end of a language.

    Args:
        language: ISO 639 code, "en"; "en-US" and the like are read as "en".
        pronounce: Phones of a word that no table holds; vowels with a stress digit.

    Raises:
        UnknownLanguage: There is none.
    """
    if language.lower().replace("_", "-").split("-")[0] == "en":
        from engine.text.en.phones import English

        return English(pronounce)
    raise UnknownLanguage(f'there is no front end for the language "{language[:20]}"; known: en')


def sentences(text: str, *, language: str, pronounce: Pronounce) -> list[Sentence]:
    """Return the sentences of `text`.

    Raises:
        UnknownLanguage: There is no front end for the language.
        BadText: Nothing in the text can be spoken, or it is longer than 20,000 characters.
    """
    speak = front_end(language, pronounce)
    if len(text) > MAX_CHARACTERS:
        raise BadText(f"the text has {len(text)} characters, more than {MAX_CHARACTERS}; speak it in parts")
    text = re.sub(r"(?<![.!?:;,])\n\s*\n", ". ", text)  # a paragraph ends a sentence
    found = speak(re.sub(r"[\x00-\x1f\x7f]", " ", text))
    if not found:
        raise BadText("there is nothing in the text that can be spoken")
    return found
