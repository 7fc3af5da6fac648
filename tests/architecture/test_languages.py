"""Catalogues and twins: what is translated exists, what must be translated is, and no command gets lost on the way."""

import ast
import re
from pathlib import Path

import pytest

from lifecycle.cli import messages
from lifecycle.render.language import CATALOGUES, catalogue

ROOT = Path(__file__).parents[2]
LANGUAGES = sorted(path.name for path in CATALOGUES.iterdir() if path.is_dir())
_PLACE = re.compile(r"\{(\d+)\}")
_FIXED = re.compile(r"(?<![\w-])--[a-z][a-z-]+|(?<![./\w])vlm [a-z]+|VLM_[A-Z_]+")


def said_in_the_source() -> set[str]:
    """Return every string of the source, whole and in the segments in which lines are looked up."""
    found = set()
    for path in (ROOT / "lifecycle").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = messages.pattern_of(node)
            if text is not None:
                found |= {text, *re.split(r"\s{2,}", text.strip())}
    return found


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_entry_translates_something_that_is_said(language: str) -> None:
    said = said_in_the_source() | messages.help_sentences() | messages.LIBRARY

    assert sorted(catalogue(language).sentences - said) == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_errors_and_help_are_complete(language: str) -> None:
    must = messages.error_sentences() | messages.help_sentences() | messages.LIBRARY

    assert sorted(must - catalogue(language).sentences) == [], "run: python -m lifecycle.cli.messages zh"


@pytest.mark.parametrize("language", LANGUAGES)
def test_translations_invent_no_place_and_keep_commands_and_options(language: str) -> None:
    wrong = []
    for english, translation in catalogue(language).entries.items():
        invented = set(_PLACE.findall(translation)) - set(_PLACE.findall(english))
        lost = set(_FIXED.findall(english)) - set(_FIXED.findall(translation))
        if invented or lost or not translation.strip():
            wrong.append((english, translation))

    assert wrong == []


def fences(page: Path) -> list[str]:
    """Return the blocks of commands and output of a page, without the words of its language."""
    return re.findall(r"^```.*?^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[str]:
    """Return every command of a page's blocks, in order, without what is said beside it."""
    lines = [re.sub(r"\s+#.*", "", line) for fence in fences(page) for line in fence.splitlines()]
    return [line for line in lines if re.match(r"(\$ |make |apt-get |uv |pipx |vlm )", line)]


def test_the_chinese_readme_names_the_same_commands_in_the_same_order() -> None:
    english, chinese = commands(ROOT / "README.md"), commands(ROOT / "docs" / "README.zh.md")

    assert len(english) > 5
    assert chinese == english
