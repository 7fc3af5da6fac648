"""An audit by a program names every cure that the rules know, so that no risk is left out for want of a command."""

import ast
import re
from pathlib import Path

import lifecycle.watch
from lifecycle.api import CURES
from lifecycle.cli.messages import pattern_of
from lifecycle.watch.rules import command_of

WATCH = Path(lifecycle.watch.__file__).parent


def test_every_command_that_a_rule_names_is_a_cure() -> None:
    named = set()
    for path in WATCH.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = pattern_of(node)
            if text is not None and re.match(r"vlm [a-z]", text):
                named.add(command_of(text))

    assert "vlm retire" in named
    assert named - CURES == set()
