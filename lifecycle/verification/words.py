"""Word error rate: what a recogniser heard against what was to be said."""

from __future__ import annotations

import re

_WORD = re.compile(r"[a-z0-9']+")


def words_of(text: str) -> list[str]:
    """Return the words of an English text in lower case, without punctuation."""
    return _WORD.findall(text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))


def word_error_rate(said: str, heard: str) -> float:
    """Return (substitutions + deletions + insertions) / words said; 0 is perfect, and it may exceed 1.

    Raises:
        ValueError: There is no word in `said`.
    """
    reference, hypothesis = words_of(said), words_of(heard)
    if not reference:
        raise ValueError("there is no word to compare with")
    row = list(range(len(hypothesis) + 1))
    for i, expected in enumerate(reference, start=1):
        diagonal, row[0] = row[0], i
        for j, got in enumerate(hypothesis, start=1):
            change = diagonal + (expected != got)
            diagonal = row[j]
            row[j] = min(row[j] + 1, row[j - 1] + 1, change)
    return row[-1] / len(reference)
