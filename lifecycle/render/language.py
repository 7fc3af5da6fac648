"""The language of what people read: sentences are written in English and turned into the user's at the edge.

Everything inside vlm speaks English; only what is printed for people passes here, and JSON never does. A catalogue
maps a sentence's pattern, such as `"{0}" is retired`, to the same sentence in another language. What it does not
have stays English. See docs/adr/0015-languages-at-the-edge.md.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

CATALOGUES = Path(__file__).parent / "catalogues"
_PLACE = re.compile(r"\{(\d+)\}")
# Segments of a line that stand apart: columns, and the command at the right of a sentence.
_APART = re.compile(r"(\s{2,}|^\s+)")
_DEEPEST = 3
_WORD = re.compile(r"[A-Za-z]{2,}")
# A number, with its unit where it has one.
_NUMBER = re.compile(r"\d[\d.,]*(?: \w{1,3})?")


@dataclass(frozen=True)
class _Pattern:
    """One sentence with places for what is told in it.

    A weak one has a single word of its own behind what is told, as `{0} in {1}` has, so that words of a user could be
    taken for it; it counts only where it begins with a number.
    """

    anchor: str
    weak: bool
    places: tuple[int, ...]
    matcher: re.Pattern[str]
    translation: str


class Catalogue:
    """The sentences of one language.

    Args:
        entries: English pattern -> translation; `{0}`, `{1}` ... stand for what changes, and may be left out or
            change their order in the translation.
    """

    def __init__(self, entries: Mapping[str, str]) -> None:
        self.entries = dict(entries)
        self._exact = {key: value for key, value in entries.items() if not _PLACE.search(key)}

    @property
    def sentences(self) -> set[str]:
        """The English side of every entry."""
        return set(self.entries)

    def told(self, text: str) -> str:
        """Return a line, or a cell of a table, in this language.

        Single words stay as they are: a voice may be called "active".
        """
        parts = _APART.split(text)
        return "".join(part if not part.strip() else self._sentence(part, 0) for part in parts)

    def word(self, text: str) -> str:
        """Return a title of a column, where single words are meant, in this language."""
        return self._exact.get(text, text)

    def _sentence(self, text: str, depth: int) -> str:
        if " " not in text or depth > _DEEPEST:
            return text
        exact = self._exact.get(text)
        if exact is not None:
            return exact
        for pattern in self._patterns:
            found = pattern.matcher.fullmatch(text) if pattern.anchor in text else None
            if found is not None and not (pattern.weak and _NUMBER.fullmatch(found[1]) is None):
                told = {n: self._sentence(found[i + 1], depth + 1) for i, n in enumerate(pattern.places)}
                return _filled(pattern.translation, told)
        return text

    @cached_property
    def _patterns(self) -> list[_Pattern]:
        """The sentences with places, those that say most themselves first."""
        made = [_pattern(key, value) for key, value in self.entries.items() if _PLACE.search(key)]
        return sorted(made, key=lambda pattern: -len(_PLACE.sub("", pattern.matcher.pattern)))


def _filled(translation: str, told: Mapping[int, str]) -> str:
    return _PLACE.sub(lambda place: told.get(int(place[1]), ""), translation)


def _pattern(key: str, translation: str) -> _Pattern:
    literals = _PLACE.split(key)[::2]
    matcher = "(.*?)".join(re.escape(literal) for literal in literals)
    places = tuple(int(place) for place in _PLACE.findall(key))
    weak = not literals[0] and len(_WORD.findall(" ".join(literals))) < 2
    return _Pattern(max(literals, key=len), weak, places, re.compile(matcher, re.DOTALL), translation)


def language_of(environment: Mapping[str, str]) -> str:
    """Return the language that the environment asks for, such as "zh"; "en" where nothing is asked.

    Source: GNU gettext manual, "Locale Environment Variables": LANGUAGE is a list of preferences, and counts only
    where the locale is not C.
    """
    locale = next((environment[n] for n in ("LC_ALL", "LC_MESSAGES", "LANG") if environment.get(n)), "C")
    if locale.partition(".")[0] in {"C", "POSIX"}:
        return "en"
    wanted = [*environment.get("LANGUAGE", "").split(":"), locale]
    for name in wanted:
        language = re.split(r"[_.@]", name)[0].lower()
        if language == "en" or _folder(language) is not None:
            return language
    return "en"


def _folder(language: str) -> Path | None:
    path = CATALOGUES / language
    return path if re.fullmatch(r"[a-z]{2,3}", language) and path.is_dir() else None


@lru_cache(maxsize=8)
def catalogue(language: str) -> Catalogue:
    """Return the catalogue of a language, all its files together; an empty one where there is none."""
    import tomllib

    folder, entries = _folder(language), {}
    for path in sorted(folder.glob("*.toml")) if folder is not None else ():
        entries.update(tomllib.loads(path.read_text(encoding="utf-8")))
    return Catalogue(entries)


@lru_cache(maxsize=1)
def current() -> Catalogue | None:
    """Return the catalogue of this process; None for English, and where the terminal has no letters for it."""
    language = language_of(os.environ)
    if language == "en" or not _shows(language):
        return None
    return catalogue(language)


def told(text: str) -> str:
    """Return a line or a cell for people in the language of this process."""
    mine = current()
    return text if mine is None else mine.told(text)


def word(text: str) -> str:
    """Return a title of a column in the language of this process."""
    mine = current()
    return text if mine is None else mine.word(text)


def _shows(language: str) -> bool:
    """Whether both streams have letters for a language, by one sentence of its catalogue."""
    sample = catalogue(language).word("name")
    try:
        for stream in (sys.stdout, sys.stderr):
            sample.encode(stream.encoding or "ascii")
    except UnicodeError:
        return False
    return True
