"""The house keeps its rooms apart; see docs/architecture.md."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("lifecycle", "engine")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
LONGEST_FILE = 400
LONGEST_FUNCTION = 60


def loaded_by(*arguments: str) -> set[str]:
    """Run Python and return the top-level modules that it had loaded at its end."""
    code = (
        "import sys, atexit\n"
        "atexit.register(lambda: print('LOADED', *sorted({n.split('.')[0] for n in sys.modules}), file=sys.stderr))\n"
    ) + arguments[0]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments[1:]], capture_output=True, text=True, check=False
    )
    return set(done.stderr.rpartition("LOADED")[2].split())


def test_every_import_contract_is_kept():
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize(
    "arguments", [["--help"], ["register", "--help"], ["--show-completion"]], ids=" ".join
)
def test_help_and_completion_load_nothing_heavy(arguments):
    loaded = loaded_by(
        f"import sys; sys.argv = ['vlm', *{arguments!r}]\nfrom lifecycle.cli.main import main\nmain()"
    )
    assert "typer" in loaded
    assert not loaded & {"sqlalchemy", "alembic", "torch", "numpy", "soundfile", "cryptography", "rich"}


def test_the_worker_client_loads_no_torch_in_a_fresh_process():
    loaded = loaded_by("import lifecycle.runtimes.worker, engine.protocol")
    assert "lifecycle" in loaded
    assert not loaded & {"torch", "sqlalchemy"}


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_loads_nothing_of_it(package):
    loaded = loaded_by(f"import {package}")
    assert not loaded & {"torch", "numpy", "sqlalchemy", "typer", "cryptography"}


def functions_of(path: Path) -> list[tuple[str, int]]:
    """Return each function's name and the lines of its body, without its docstring.

    The signature does not count: that of a command is its table of options.
    """
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            found.append((node.name, lines))
    return found


def test_files_and_functions_stay_small_enough_to_hold_in_the_head():
    long_files = {
        str(p.relative_to(ROOT)): n for p in SOURCES if (n := len(p.read_text().splitlines())) > LONGEST_FILE
    }
    long_functions = {
        f"{p.relative_to(ROOT)}:{name}": n
        for p in SOURCES
        for name, n in functions_of(p)
        if n > LONGEST_FUNCTION
    }
    assert long_files == {}
    assert long_functions == {}
