"""Help in the language of the locale: sentences from the catalogue, wrapped by what a terminal shows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from typer._click.core import Context
from typer._click.formatting import HelpFormatter

from lifecycle.render.language import current, told, word
from lifecycle.render.output import width

_CLOSING = "，。；：？！、）》”』」,.;:?!)"


def speak_the_users_language() -> None:
    """Let every `--help` of this process be told in the language of the locale; nothing changes for English."""
    if current() is not None:
        Context.formatter_class = TranslatedHelp


class TranslatedHelp(HelpFormatter):
    """Writes the same help with its sentences, headings and notes translated."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """Write the line on usage."""
        super().write_usage(prog, args, prefix=prefix or f"{word('Usage:')} ")

    def write_heading(self, heading: str) -> None:
        """Write the heading of a section."""
        super().write_heading(word(heading))

    def write_text(self, text: str) -> None:
        """Write paragraphs."""
        indent = " " * self.current_indent
        paragraphs = []
        for paragraph in text.split("\n\n"):
            lines = wrapped(_told(paragraph), self.width - self.current_indent)
            paragraphs.append("\n".join(f"{indent}{line}" for line in lines))
        self.write("\n\n".join(paragraphs) + "\n")

    def write_dl(self, rows: Sequence[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write a list of commands or options with what they mean."""
        first_column = min(max((len(first) for first, _ in rows), default=0), col_max) + col_spacing
        for first, second in rows:
            meaning = wrapped(_told(second), max(self.width - first_column - 2, 10))
            head = f"{'':>{self.current_indent}}{first}"
            below = " " * (first_column + self.current_indent)
            if len(first) > first_column - col_spacing:
                self.write(f"{head}\n")
                head = below
            self.write(f"{head:<{len(below)}}{meaning[0] if meaning else ''}".rstrip() + "\n")
            for line in meaning[1:]:
                self.write(f"{below}{line}\n")


def _told(text: str) -> str:
    """Return a paragraph translated, also where the list of commands cut its full stop off."""
    plain = " ".join(text.split(" ")) if "\n" not in text else " ".join(text.split())
    here = told(plain)
    if here == plain and not plain.endswith("."):
        whole = told(f"{plain}.")
        return plain if whole == f"{plain}." else whole.rstrip("。.")
    return re.sub(r"\[(required|default)(?=[\]:])", lambda found: f"[{word(found[1])}", here)


def wrapped(text: str, columns: int) -> list[str]:
    """Return text in lines of at most so many terminal columns; a wide letter may end a line, a word may not break."""
    lines, line = [], ""
    for piece in _pieces(text):
        fits = width(line) + width(piece.rstrip()) <= columns
        if line and not fits and piece.strip() not in _CLOSING:
            lines.append(line.rstrip())
            line = piece.lstrip()
        else:
            line += piece
    return [*lines, line.rstrip()] if line.strip() else lines


def _pieces(text: str) -> Iterator[str]:
    """Yield what may not be broken: words with the blanks before them, and wide letters one by one."""
    yield from re.findall(
        r"\s*(?:[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]|[^\s\u2e80-\u9fff\uf900-\uffef]+)", text
    )
