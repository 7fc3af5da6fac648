"""`vlm import` as a process: a folder is looked at, its table edited, checked, imported, and imported again."""

from __future__ import annotations

import csv
import shlex
from pathlib import Path

from lifecycle.services.imports.tables import write_table
from tests import trees
from tests.conftest import Vlm
from tests.e2e.test_json_schemas import check, fails
from tests.files import weights


def edited(path: Path, **cells: str) -> None:
    """Fill cells of every row, as people do in a spreadsheet."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    path.write_bytes(write_table([{**row, **cells} for row in rows]))


def test_a_notebook_is_saved_before_it_is_gone(vlm: Vlm) -> None:
    content = vlm.folder / "content"
    root = trees.webui(content / "GPT-SoVITS")

    looked = check("import", vlm.run("import", "content", "--dry-run", "-o", "voices.csv", "--json"))
    assert [voice["name"] for voice in looked["voices"]] == ["lin", "mei"]
    unsaid = check("import", vlm.run("import", "voices.csv", "--check", "--json"), code=2)
    assert [(p["line"], p["column"]) for p in unsaid["problems"]] == [(2, "audio"), (3, "audio")]

    edited(vlm.folder / "voices.csv", subject="10042", owner="video")
    told = check("import", vlm.run("import", "voices.csv", "-o", "results.csv", "--json"))
    assert told["counts"] == {"registered": 2, "unchanged": 0, "failed": 0, "not_reached": 0}
    assert sum(place["files"] for place in told["originals_left"]) == 6
    assert (
        (vlm.folder / "results.csv").read_text(encoding="utf-8-sig").startswith("name,result,version,message")
    )

    moved = vlm.ok("import", "voices.csv", "--move").out
    assert "6 originals removed; their sealed copies were read back first" in moved
    assert list((root / "output" / "slicer_opt").iterdir()) == []
    again = check("import", vlm.run("import", "voices.csv", "--json"))
    assert again["counts"]["unchanged"] == 2


def test_looking_needs_no_registry_and_makes_none(bare_vlm: Vlm) -> None:
    trees.pair(bare_vlm.folder / "project", "lin")

    told = bare_vlm.ok("import", "project", "--dry-run").out

    assert "found 1 voice in project" in told
    assert "next: vlm import project --dry-run -o voices.csv" in told
    assert sorted(path.name for path in bare_vlm.folder.iterdir()) == ["project"]
    fails(bare_vlm.run("import", "project", "--json"), 2, "usage")


def test_a_table_that_may_hold_edits_is_not_written_over(bare_vlm: Vlm) -> None:
    trees.pair(bare_vlm.folder / "project", "lin")
    (bare_vlm.folder / "voices.csv").write_text("mine", encoding="utf-8")

    fails(bare_vlm.run("import", "project", "--dry-run", "-o", "voices.csv", "--json"), 4, "refused")
    assert (bare_vlm.folder / "voices.csv").read_text(encoding="utf-8") == "mine"
    bare_vlm.ok("import", "project", "--dry-run", "-o", "voices.csv", "--yes")


def test_a_proposed_table_goes_to_standard_output(bare_vlm: Vlm) -> None:
    trees.pair(bare_vlm.folder / "project", "lin")

    told = bare_vlm.ok("import", "project", "--dry-run", "-o", "/dev/stdout").out

    assert told.removeprefix("\ufeff").startswith("name,weights,")


def test_every_next_command_works_when_it_is_pasted(vlm: Vlm) -> None:
    trees.pair(vlm.folder / "林 小姐's" / "project", "lin")
    folder, place = "林 小姐's/project", "second copy/vlm"
    (vlm.folder / "second copy").mkdir()

    looked = vlm.ok("import", folder, "--dry-run").out
    asked = vlm.run("import", folder).err
    proposed = vlm.ok("import", folder, "--dry-run", "-o", f"{folder}/my voices.csv").out
    checked = vlm.ok("import", f"{folder}/my voices.csv", "--check").out
    made = vlm.ok("backup", "create", place).out
    missing = vlm.run("backup", "check", place, "--snapshot", "nothing").err

    told = [looked, asked, proposed, checked, made, missing]
    commands = [shlex.split(text.splitlines()[-1].partition("vlm ")[2]) for text in told]
    names = [word for words in commands for word in words if "/" in word]
    assert len(names) == len(told)
    assert all((vlm.folder / name).exists() for name in names)


def test_a_file_name_cannot_steer_a_terminal_or_a_spreadsheet(vlm: Vlm) -> None:
    trees.rvc(vlm.folder / "project" / "=cmd|x.pth")
    trees.rvc(vlm.folder / "project" / "a\x1b[31m.pth")

    told = vlm.ok("import", "project", "--dry-run", "-o", "project/voices.csv")

    assert "\x1b" not in told.out + told.err
    assert "a\\x1b[31m.pth" in told.out
    assert ",'=cmd|x.pth," in (vlm.folder / "project" / "voices.csv").read_text(encoding="utf-8-sig")
    vlm.ok("import", "project/voices.csv")


def test_the_worst_row_gives_the_exit_code_and_the_others_are_in(vlm: Vlm) -> None:
    weights(vlm.folder / "a.st")
    (vlm.folder / "torn.pth").write_bytes(b"PK\x03\x04torn")
    rows = [
        {"name": "lin", "weights": "a.st"},
        {"name": "bo", "weights": "torn.pth"},
        {"name": "mei", "weights": "no"},
    ]
    (vlm.folder / "voices.csv").write_bytes(write_table(rows))

    told = check("import", vlm.run("import", "voices.csv", "--json"), code=6)

    assert [row["result"] for row in told["rows"]] == ["registered", "failed", "failed"]
    assert told["error"]["code"] == "unreadable"
    assert [voice["name"] for voice in vlm.ok("list", "--json").json["voices"]] == ["lin"]
    assert "voices.csv:3: bo: " in vlm.run("import", "voices.csv").out


def test_a_table_with_a_wrong_column_is_refused_in_one_sentence(vlm: Vlm) -> None:
    (vlm.folder / "voices.csv").write_text("name,weight\nlin,a.st\n", encoding="utf-8")

    answer = vlm.run("import", "voices.csv")

    assert answer.code == 2
    assert answer.err.splitlines()[0] == (
        'vlm: "voices.csv" has a column "weight", which does not exist; did you mean "weights"'
    )
