"""What people see: columns that align, names that cannot steer a terminal, units."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.render.output import columns, duration, megabytes, printable, use_colour, width


def test_columns_align_also_behind_wide_characters():
    lines = columns([["kol-a", "works"], ["声音", "broken"]])
    assert lines == ["kol-a  works", "声音   broken"]


@given(
    st.lists(
        st.lists(st.text(st.characters(categories=["L", "N"]), max_size=8), min_size=2, max_size=2),
        min_size=1,
    )
)
def test_every_second_column_begins_at_the_same_place(rows):
    starts = {
        width(line[: len(line) - len(row[1])])
        for line, row in zip(columns(rows), rows, strict=True)
        if row[1]
    }
    assert len(starts) <= 1


def test_a_name_cannot_move_the_cursor_or_reverse_the_line():
    assert printable("a\rb\x07c\u202ed\udcff") == "a\ufffdb\ufffdc\ufffdd\ufffd"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colour_where_none_is_wanted(environment):
    assert use_colour(Terminal(), {}) is True
    assert use_colour(Terminal(), environment) is False
    assert use_colour(io.StringIO(), {}) is False


def test_sizes_and_times_carry_units():
    assert [megabytes(n) for n in (12, 1500, 240_300_000, 2_147_000_000)] == [
        "12 B",
        "1.5 kB",
        "240.3 MB",
        "2.1 GB",
    ]
    assert [duration(s) for s in (3.14, 372, 7500)] == ["3.1 s", "6 min 12 s", "2 h 05 min"]
