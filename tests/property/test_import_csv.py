"""A table that vlm wrote is read back as it was, and no cell of it is a formula."""

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from lifecycle.services.imports.tables import (
    COLUMNS,
    guarded,
    join_list,
    read_table,
    split_list,
    unguarded,
    write_table,
)

# Cells hold what can be printed; line breaks come from texts.
LETTERS = st.characters(exclude_categories=("Cs", "Cc"), include_characters="\n\t")
TEXT = st.text(LETTERS, max_size=40) | st.sampled_from(
    ["=1+1", "'=1", "''", "+49", "-e15.ckpt", "@x", ";", "\\;", " a "]
)
ENTRIES = st.lists(TEXT.filter(bool), max_size=5)


@given(TEXT)
def test_a_guarded_cell_is_no_formula_and_comes_back(text):
    assert guarded(text)[:1] not in {"=", "+", "-", "@", "\t", "\r"}
    assert unguarded(guarded(text)) == text


@given(TEXT)
def test_what_people_type_stays_as_it_is(text):
    if not text.startswith("'"):
        assert unguarded(text) == text


@given(ENTRIES)
def test_lists_come_back(entries):
    assert split_list(join_list(entries)) == entries


def test_people_may_put_blanks_around_entries_and_end_with_a_mark():
    assert split_list(" a.ckpt ; b c.pth;") == ["a.ckpt", "b c.pth"]
    assert split_list("C:\\voices\\lin.pth") == ["C:\\voices\\lin.pth"]


@given(st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(COLUMNS, TEXT)), max_size=5))
def test_a_table_comes_back(tmp_path_factory, rows):
    for number, row in enumerate(rows):
        row["name"] = f"voice-{number}"
    path = tmp_path_factory.mktemp("table") / "voices.csv"
    path.write_bytes(write_table(rows))

    table = read_table(path)

    kept = [{name: cell for name, cell in row.items() if cell.strip()} for row in rows]
    assert [dict(row.cells) for row in table.rows] == kept
    assert table.problems == []
    cells = list(csv.reader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="")))
    assert cells[0] == list(COLUMNS)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_table_or_refused_in_one_sentence(tmp_path_factory, content):
    from lifecycle.domain.errors import VlmError

    path = tmp_path_factory.mktemp("table") / "voices.csv"
    path.write_bytes(b"name,weights\n" + content)
    try:
        table = read_table(path)
    except VlmError:
        return
    assert all(row.line > 1 for row in table.rows)
