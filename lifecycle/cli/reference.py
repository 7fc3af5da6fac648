"""Writes docs/reference/cli.md and index.py from the commands themselves: `python -m lifecycle.cli.reference`.

The reference goes to standard output; the index, which `vlm --help` reads, is written where it belongs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

_OPENING = """# Commands

Written by `python -m lifecycle.cli.reference` from the commands themselves. Every command takes `--help`, and every
command takes `--json`: what it prints then, and all exit codes, are in [json.md](json.md).
"""


def reference() -> str:
    """Return the reference of every command as Markdown."""
    from lifecycle.cli.main import app

    lines = [_OPENING]
    for path, command in _commands(["vlm"], typer.main.get_command(app)):
        lines += [f"## {' '.join(path)}", "", _usage(path, command), "", *_prose(command.help or ""), ""]
        lines += _parameters(command)
        if command.epilog:
            lines += ["```", command.epilog.removeprefix("Example: "), "```", ""]
    return "\n".join(lines).rstrip() + "\n"


_INDEX = '"""What `vlm --help` lists, written by `python -m lifecycle.cli.reference`: command, family, one line."""'


def index() -> str:
    """Return the module that tells the root's help what there is, so that it need not import every command."""
    from lifecycle.cli.lazy import load
    from lifecycle.cli.main import FAMILIES, app

    rows = [
        f"    {_quoted(name)}: ({_quoted(family)}, {_quoted(_short(command))}),"
        for family in FAMILIES
        for name, command in load(family).items()
    ]
    paths = [f"    {_quoted(' '.join(path))}," for path in _paths(["vlm"], typer.main.get_command(app))]
    table = ["INDEX: dict[str, tuple[str, str | None]] = {", *rows, "}"]
    return "\n".join([_INDEX, "", *table, "", "PATHS: tuple[str, ...] = (", *paths, ")", ""])


def _short(command: Any) -> str | None:
    return None if command.hidden else str(command.get_short_help_str(1000))


def _paths(path: list[str], command: Any) -> Iterator[list[str]]:
    yield path
    for name, child in getattr(command, "commands", {}).items():
        yield from _paths([*path, name], child)


def _quoted(text: str | None) -> str:
    return "None" if text is None else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _commands(path: list[str], command: Any) -> Iterator[tuple[list[str], Any]]:
    for name, child in sorted(getattr(command, "commands", {}).items()):
        if child.hidden:
            continue
        if not hasattr(child, "commands") or child.invoke_without_command:
            yield [*path, name], child
        yield from _commands([*path, name], child)


def _prose(text: str) -> list[str]:
    return [" ".join(part.split()) for part in text.strip().split("\n\n") for part in (part, "")][:-1]


def _usage(path: list[str], command: Any) -> str:
    arguments = [_shown(parameter) for parameter in command.params if _positional(parameter)]
    return f"`{' '.join([*path, *arguments])}`"


def _positional(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "argument")


def _shown(parameter: Any) -> str:
    shown = (parameter.metavar or parameter.name.upper()).strip("[].")
    shown += "..." if parameter.nargs == -1 else ""
    return shown if parameter.required else f"[{shown}]"


def _parameters(command: Any) -> list[str]:
    rows = []
    for parameter in command.params:
        if getattr(parameter, "hidden", False):
            continue
        meaning = (getattr(parameter, "help", None) or "").strip().replace("|", "\\|")
        rows.append(f"| {_names(parameter)} | {meaning}{_extra(parameter)} |")
    return ["| option | meaning |", "|---|---|", *rows, ""] if rows else []


def _names(parameter: Any) -> str:
    if _positional(parameter):
        return f"`{_shown(parameter)}`"
    value = "" if parameter.is_flag else f" {parameter.metavar or 'VALUE'}"
    names = [f"`{name}{value}`" for name in sorted(parameter.opts, key=len, reverse=True)]
    return ", ".join([*names, *(f"`{name}`" for name in parameter.secondary_opts)]).replace("|", "\\|")


def _extra(parameter: Any) -> str:
    if _positional(parameter):
        return ""
    if parameter.required:
        return " Required."
    plain = isinstance(parameter.default, str | int | float) and not isinstance(parameter.default, bool)
    return f" Default: {parameter.default}." if plain and parameter.default != "" else ""


if __name__ == "__main__":
    Path(__file__).with_name("index.py").write_text(index(), encoding="utf-8")
    sys.stdout.write(reference())
