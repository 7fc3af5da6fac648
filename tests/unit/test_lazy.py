"""The root of the program knows its commands without importing them."""

import subprocess
import sys

import pytest
import typer

from lifecycle.cli.index import INDEX, PATHS
from lifecycle.cli.main import FAMILIES, app

ROOT = typer.main.get_command(app)


def imported_by(*arguments: str) -> set[str]:
    code = (
        "import sys, atexit\n"
        "atexit.register(lambda: print('LOADED', *(n for n in sys.modules if n.startswith('lifecycle.cli.')),"
        " file=sys.stderr))\n"
        f"sys.argv = ['vlm', *{arguments!r}]\n"
        "from lifecycle.cli.main import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return {name.rpartition(".")[2] for name in done.stderr.rpartition("LOADED")[2].split()}


def test_the_help_of_the_root_imports_no_family():
    known = {family for family, _ in INDEX.values()}

    assert not imported_by("--help") & set(FAMILIES) & known


@pytest.mark.parametrize("command", ["list", "trail"])
def test_a_command_imports_its_own_family_only(command):
    assert imported_by(command, "--help") & set(FAMILIES) == {INDEX[command][0]}


def test_a_command_that_the_index_does_not_know_is_found_all_the_same(monkeypatch):
    monkeypatch.delitem(INDEX, "list")

    assert ROOT.get_command(None, "list") is not None


def test_every_command_is_there_for_whoever_asks_for_all():
    assert set(ROOT.commands) >= set(INDEX)
    assert "vlm golden record" in PATHS
