"""The documents name what there is: every command, every setting, every schema; and their links lead somewhere."""

import importlib
import pkgutil
import re
from pathlib import Path

import pytest
import typer

import lifecycle
from lifecycle.cli import reference
from lifecycle.cli.main import app
from lifecycle.cli.manual import manual
from lifecycle.domain import errors
from lifecycle.domain.verdicts import Verdict
from lifecycle.domain.voices import DataClass
from lifecycle.settings import _ENVIRONMENT

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "engine").rglob("*.md")]
    if path.is_file()
)
_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+\s+(.*)$", re.MULTILINE)


def links() -> list[tuple[str, str]]:
    """Return every relative link with the page that it stands on."""
    found = []
    for page in PAGES:
        text = _SPAN.sub("", _FENCE.sub("", page.read_text(encoding="utf-8")))
        found += [
            (str(page.relative_to(ROOT)), target)
            for target in _LINK.findall(text)
            if not re.match(r"[a-z]+:", target)
        ]
    return found


def anchor(heading: str) -> str:
    """Return the anchor of a heading, as code hosts make it."""
    plain = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return plain.replace(" ", "-")


@pytest.mark.parametrize(("page", "target"), links())
def test_a_link_leads_somewhere(page, target):
    path, _, fragment = target.partition("#")
    there = (ROOT / page).parent / path if path else ROOT / page
    assert there.exists(), f"{page}: {target}"
    if fragment:
        headings = _HEADING.findall(there.read_text(encoding="utf-8"))
        assert fragment in {anchor(heading) for heading in headings}, f"{page}: {target}"


def test_the_reference_of_commands_is_current():
    written = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")
    assert written == reference.reference(), "run: python -m lifecycle.cli.reference > docs/reference/cli.md"


def test_the_list_of_commands_in_the_help_is_current():
    written = (ROOT / "lifecycle" / "cli" / "index.py").read_text(encoding="utf-8")
    assert written == reference.index(), "run: python -m lifecycle.cli.reference > docs/reference/cli.md"


def test_every_command_has_a_page_that_is_current():
    folder = DOCS / "reference" / "cli"
    written = {page.name: page.read_text(encoding="utf-8") for page in folder.glob("*.md")}
    assert written == reference.pages(), "run: python -m lifecycle.cli.reference > docs/reference/cli.md"


def test_every_command_has_a_manual_page_that_is_current():
    written = {page.name: page.read_text(encoding="utf-8") for page in (ROOT / "man").iterdir()}
    assert written == manual(), "run: python -m lifecycle.cli.reference > docs/reference/cli.md"


def test_the_list_of_commands_names_every_command():
    written = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")

    def walk(command, path):
        for name, child in getattr(command, "commands", {}).items():
            if child.hidden:
                continue
            if not hasattr(child, "commands"):
                yield f"| [{path} {name}](cli/"
            yield from walk(child, f"{path} {name}")

    missing = [row for row in walk(typer.main.get_command(app), "vlm") if row not in written]
    assert missing == []


@pytest.mark.parametrize("key", _ENVIRONMENT)
def test_every_setting_and_its_variable_are_described(key):
    written = (DOCS / "reference" / "configuration.md").read_text(encoding="utf-8")
    rows = [line for line in written.splitlines() if line.startswith(f"| `{key}`")]
    assert len(rows) == 1, key
    assert f"`{_ENVIRONMENT[key]}`" in rows[0]


def test_every_error_code_is_described_with_its_exit_code():
    for module in pkgutil.walk_packages(lifecycle.__path__, "lifecycle."):
        if module.name != "lifecycle.__main__":
            importlib.import_module(module.name)

    def kinds(kind):
        yield kind
        for child in kind.__subclasses__():
            yield from kinds(child)

    written = (DOCS / "reference" / "json.md").read_text(encoding="utf-8")
    ours = [kind for kind in kinds(errors.VlmError) if kind.__module__.startswith("lifecycle.")]
    assert [k.__name__ for k in ours if f"| `{k.code}` | {k.exit_code} |" not in written] == []


def test_every_verdict_and_every_class_is_explained():
    verdicts = (DOCS / "explanation" / "verdicts.md").read_text(encoding="utf-8")
    classes = (DOCS / "explanation" / "classes.md").read_text(encoding="utf-8")
    assert [v for v in Verdict if f"| `{v}` |" not in verdicts] == []
    assert [c for c in DataClass if f"| **{c}** |" not in classes] == []


def paths() -> list[tuple[str, str]]:
    """Return every path of this repository that a page names in a code span."""
    pattern = re.compile(r"`((?:lifecycle|engine|tests|policies|migrations|benchmarks|docs)/[\w./-]+)`")
    return sorted(
        {
            (str(page.relative_to(ROOT)), path)
            for page in PAGES
            for path in pattern.findall(_FENCE.sub("", page.read_text(encoding="utf-8")))
        }
    )


@pytest.mark.parametrize(("page", "path"), paths())
def test_a_file_that_is_named_is_there(page, path):
    there = ROOT / path
    assert there.exists() or there.with_name(there.name + ".py").exists(), f"{page}: {path}"
