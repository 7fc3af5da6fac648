"""Plain words to sentences of phones: exceptions, endings, letter names, then the letter-to-phone network."""

import re

from engine.text.en.exceptions import LETTERS, WORDS
from engine.text.en.normalize import normalize
from engine.text.frontend import Pronounce, Sentence
from engine.text.symbols import INDEX, PAUSE, VOWELS

_PAUSE_WEIGHTS = {",": 1.0, ";": 1.4, ":": 1.3}
_VOICELESS = {"p", "t", "k", "f", "th"}
_HISSING = {"s", "z", "sh", "zh", "ch", "jh"}
_MAX_WORD = 40


class English:
    """The English front end; calls `pronounce` for words that no table holds."""

    def __init__(self, pronounce: Pronounce) -> None:
        self._pronounce = pronounce

    def __call__(self, text: str) -> list[Sentence]:
        """Return the sentences of `text`, numbers and abbreviations written out."""
        found = []
        for part in re.split(r"(?<=[.!?])\s+", normalize(text)):
            sentence = self._sentence(part)
            if sentence is not None:
                found.append(sentence)
        return found

    def word(self, word: str) -> tuple[str, ...]:
        """Return the phones of one plain word, such as "don't" or "<b>"; vowels carry a stress digit."""
        if word.startswith("<"):
            return LETTERS[word[1]]
        if word in WORDS:
            return WORDS[word]
        stem = word[:-2] if word.endswith("'s") else word[:-1] if word.endswith("s'") else None
        if stem:
            return self.word(stem) if word.endswith("s'") else _with_s(self.word(stem))
        if word.endswith("s") and word[:-1] in WORDS and not word.endswith("ss"):
            return _with_s(WORDS[word[:-1]])
        return tuple(phone for phone in self._pronounce(word.strip("'")) if phone.rstrip("012") in INDEX)

    def _sentence(self, text: str) -> Sentence | None:
        rows: list[tuple[str, int, int, float]] = [(PAUSE, 0, 0, 1.0)]
        words: list[str] = []
        for token in re.findall(r"<[a-z]>(?:'s)?|[a-z']+|[,;:]", text):
            if token in _PAUSE_WEIGHTS:
                if rows[-1][0] != PAUSE:
                    rows.append((PAUSE, 0, 0, _PAUSE_WEIGHTS[token]))
                continue
            phones = self._token(token)
            if phones:
                words.append(token.strip("<>"))
                rows += [_row(phone, at == 0) for at, phone in enumerate(phones)]
        if not words:
            return None
        if rows[-1][0] == PAUSE:
            rows.pop()
        rows.append((PAUSE, 0, 0, 1.0))
        _close_the(rows, words)
        phones_, stress, first, weights = zip(*rows, strict=True)
        return Sentence(
            phones_, stress, first, tuple(words), re.search(r"\?[.!?,' ]*$", text) is not None, weights
        )

    def _token(self, token: str) -> tuple[str, ...]:
        if token.startswith("<"):
            phones = LETTERS[token[1]]
            return _with_s(phones) if token.endswith("'s") else phones
        token = token.strip("'") if token not in WORDS else token
        found: tuple[str, ...] = ()
        for start in range(0, len(token), _MAX_WORD):  # a "word" without end is spoken in pieces
            found += self.word(token[start : start + _MAX_WORD])
        return found


def _row(phone: str, first: bool) -> tuple[str, int, int, float]:
    name = phone.rstrip("012")
    return name, int(name in VOWELS and phone.endswith("1")), int(first), 1.0


def _with_s(phones: tuple[str, ...]) -> tuple[str, ...]:
    last = phones[-1] if phones else ""
    if last in _HISSING:
        return (*phones, "ax0", "z")
    return (*phones, "s" if last in _VOICELESS else "z")


def _close_the(rows: list[tuple[str, int, int, float]], words: list[str]) -> None:
    """Say "the" with a long vowel before a vowel, as festival does; changes `rows` in place."""
    starts = [at for at, row in enumerate(rows) if row[2]]
    for word, here, after in zip(words, starts, starts[1:], strict=False):
        if word == "the" and rows[after][0] in VOWELS and after == here + 2:
            rows[here + 1] = ("iy", 0, 0, 1.0)
