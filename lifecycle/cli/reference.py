"""Writes what is told of the commands from the commands themselves.

`python -m lifecycle.cli.reference > docs/reference/cli.md` prints the list of commands, and writes what lies in files
of their own: a page for each below `docs/reference/cli`, manual pages below `man`, and the index of `vlm --help`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

_OPENING = """# Commands

Written by `python -m lifecycle.cli.reference` from the commands themselves. Every command takes `--help`, and every
command takes `--json`: what it prints then, and all exit codes, are in [json.md](json.md). Manual pages come with the
program: `man vlm`, `man vlm-register`.

| command | what it does |
|---|---|
"""


def reference() -> str:
    """Return the list of every command as Markdown, with a link to the page of each."""
    rows = [
        f"| [{' '.join(path)}](cli/{page_name(path)}) | {_cell(_first(command))} |"
        for path, command in all_commands()
    ]
    return _OPENING + "\n".join(rows) + "\n"


def pages() -> dict[str, str]:
    """Return the page of every command as Markdown, by file name."""
    return {page_name(path): _page(path, command) for path, command in all_commands()}


def page_name(path: Sequence[str]) -> str:
    """Return the file name of a command's page.

    >>> page_name(["vlm", "runtime", "add"])
    'runtime-add.md'
    """
    return f"{'-'.join(path[1:])}.md"


def all_commands() -> list[tuple[list[str], Any]]:
    """Return every command that is not hidden, with its path, by name."""
    from lifecycle.cli.main import app

    return list(_commands(["vlm"], typer.main.get_command(app)))


def _page(path: Sequence[str], command: Any) -> str:
    lines = [f"# {' '.join(path)}", "", _usage(path, command), "", *_prose(command.help or ""), ""]
    lines += _parameters(command)
    if command.epilog:
        lines += ["```", command.epilog.removeprefix("Example: "), "```", ""]
    schema = f"lifecycle/schemas/{'-'.join(path[1:])}.schema.json"
    lines.append(f"What `--json` prints: [schema](../../../{schema}). [All commands](../cli.md).")
    return "\n".join(lines) + "\n"


def _first(command: Any) -> str:
    return " ".join((command.help or "").strip().split("\n\n")[0].split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


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


def _usage(path: Sequence[str], command: Any) -> str:
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


def write_pages(folder: Path, texts: Mapping[str, str]) -> None:
    """Write pages by file name, and remove those of commands that are gone."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if old.name not in texts:
            old.unlink()
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def main() -> None:
    """Write everything; the list of commands goes to standard output."""
    from lifecycle.cli.manual import manual

    here = Path(__file__)
    here.with_name("index.py").write_text(index(), encoding="utf-8")
    root = here.parents[2]
    write_pages(root / "docs" / "reference" / "cli", pages())
    write_pages(root / "man", manual())
    sys.stdout.write(reference())


if __name__ == "__main__":
    main()
