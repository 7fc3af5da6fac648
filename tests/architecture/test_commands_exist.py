"""Every `vlm ...` that is printed or written down is a command that exists, with options that it takes."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from lifecycle.cli.main import app

ROOT = Path(__file__).parents[2]
PROGRAM = typer.main.get_command(app)
_CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
_CALL = re.compile(r"(?:^|[\s:`\"'(=$])vlm[ ]+((?:--?)?[a-z{][^\n`]*)")


def texts() -> Iterator[tuple[str, str]]:
    """Yield every text that a user may read, with where it stands."""
    for path in [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        ROOT / "CONTRIBUTING.md",
        *(ROOT / "docs").rglob("*.md"),
    ]:
        for found in _CODE.finditer(path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(ROOT)}", found.group()
    for path in sorted((ROOT / "lifecycle").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        prose = {id(d) for n in ast.walk(tree) if (d := _docstring(n)) is not None}
        prose |= {id(part) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for part in n.values}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node.value
            elif isinstance(node, ast.JoinedStr):
                parts = [v.value if isinstance(v, ast.Constant) else "{X}" for v in node.values]
                yield f"{path.relative_to(ROOT)}:{node.lineno}", "".join(map(str, parts))


def _docstring(node: ast.AST) -> ast.Constant | None:
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and node.body:
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            return first.value
    return None


def calls() -> list[tuple[str, str]]:
    """Return every `vlm ...` call that is named anywhere."""
    return sorted(
        {(where, match.group(1).strip()) for where, text in texts() for match in _CALL.finditer(text)}
    )


def words_of(call: str) -> list[str]:
    """Split a call as a shell would, up to what follows it on the line."""
    call = re.split(r"\s{2,}|[;|]| -> |[,)](?:\s|$)|\s#", call)[0].rstrip(".:'\"")
    try:
        return shlex.split(call)
    except ValueError:
        return call.split()


def problem_with(call: str) -> str | None:
    """Say what does not exist in a call; None where all of it does."""
    command, words = PROGRAM, words_of(call)
    while words and hasattr(command, "commands") and not words[0].startswith(("-", "{")):
        if words[0] not in command.commands:
            return f'no command "{words[0]}"'
        command = command.commands[words.pop(0)]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        option = word.split("=")[0]
        if re.fullmatch(r"--[a-z][a-z-]+|-[a-z]", option) and option not in known | {"--help", "-h"}:
            return f'"{command.name}" has no option {option}'
    return None


def test_there_are_calls_to_check():
    assert len(calls()) > 30


@pytest.mark.parametrize(("where", "call"), calls())
def test_a_named_command_exists_with_its_options(where, call):
    assert problem_with(call) is None, f"{where}: vlm {call}"
