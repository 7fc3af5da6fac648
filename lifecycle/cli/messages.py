"""What translators work from: `python -m lifecycle.cli.messages zh` lists every sentence that a catalogue lacks.

Sentences are read from the source, so that a catalogue can be held against it: a formatted string becomes a pattern
with `{0}`, `{1}` ... in the order in which its values stand.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from lifecycle.domain import errors
from lifecycle.render.language import catalogue

PACKAGE = Path(__file__).resolve().parents[1]
_ERRORS = frozenset(name for name, value in vars(errors).items() if isinstance(value, type))
# What the library of the command line says itself.
LIBRARY = frozenset(
    {
        "Usage:",
        "see: {0}",
        "Example: {0}",
        "Options",
        "Commands",
        "Arguments",
        "required",
        "default",
        "Show this message and exit.",
        "Install completion for the current shell.",
        "Show completion for the current shell, to copy it or customize the installation.",
        "Missing argument '{0}'",
        "Missing option '{0}'",
        "No such command '{0}'",
        "No such command '{0}'. Did you mean '{1}'?",
        "No such option: {0}",
        "No such option: {0} (Possible options: {1})",
        "Invalid value for '{0}': {1}",
        "Got unexpected extra argument(s) ({0})",
        "Option '{0}' requires an argument",
    }
)
# Two words at least, or it is a name, an option or a word of a format.
_SPOKEN = re.compile(r"[A-Za-z]{2,}[^\n]* [^\n]*[A-Za-z]{2,}")
_COMMAND = re.compile(r"(?:vlm|uv|pip|apt|docker|sudo) [a-z]")


def pattern_of(node: ast.AST) -> str | None:
    """Return the pattern of a string in the source, such as `no voice "{0}"`; None for anything else."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if not isinstance(node, ast.JoinedStr):
        return None
    places, parts = 0, []
    for part in node.values:
        if isinstance(part, ast.Constant):
            parts.append(str(part.value))
        else:
            parts.append(f"{{{places}}}")
            places += 1
    return "".join(parts)


def error_sentences() -> set[str]:
    """Return the sentence of every error that is raised, and every hint that is more than a command."""
    found = set()
    for tree in _trees():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or _called(node) not in _ERRORS:
                continue
            told = [*node.args[:1], *(k.value for k in node.keywords if k.arg == "hint")]
            found |= {text for part in told if (text := pattern_of(part)) is not None}
    return {text for text in found if _is_sentence(text)}


def help_sentences() -> set[str]:
    """Return every paragraph of help that the commands and their options print."""
    from lifecycle.cli.main import app

    return set(_helps(typer.main.get_command(app)))


def all_sentences() -> set[str]:
    """Return every string of the source that may be a sentence for people."""
    found = set()
    for tree in _trees():
        prose = {id(d) for n in ast.walk(tree) if (d := _docstring(n)) is not None}
        prose |= {id(part) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for part in n.values}
        for node in ast.walk(tree):
            text = None if id(node) in prose else pattern_of(node)
            if text is not None and _is_sentence(text):
                found.add(text)
    return found


def missing(language: str) -> list[str]:
    """Return the sentences that a language's catalogue lacks: errors and help first."""
    have = catalogue(language).sentences
    first = sorted((error_sentences() | help_sentences() | LIBRARY) - have)
    return [*first, *sorted(all_sentences() - have - set(first))]


def _helps(command: Any) -> Iterator[str]:
    texts = [command.help or "", *(getattr(parameter, "help", None) or "" for parameter in command.params)]
    for text in texts:
        for paragraph in text.strip().split("\n\n"):
            if paragraph.strip():
                yield " ".join(paragraph.split())
    for child in getattr(command, "commands", {}).values():
        yield from _helps(child)


def _trees() -> Iterator[ast.Module]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield ast.parse(path.read_text(encoding="utf-8"))


def _called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _is_sentence(text: str) -> bool:
    return _SPOKEN.search(text) is not None and _COMMAND.match(text) is None


def _docstring(node: ast.AST) -> ast.Constant | None:
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and node.body:
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            return first.value
    return None


if __name__ == "__main__":
    for sentence in missing(sys.argv[1] if len(sys.argv) > 1 else "zh"):
        sys.stdout.write(f'{json.dumps(sentence, ensure_ascii=False)} = ""\n')
