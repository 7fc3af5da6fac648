"""Written English becomes words: one table per kind of thing that is not a word."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.text.en.normalize import normalize
from engine.text.en.numbers import cardinal, decimal, digits, ordinal, year

TABLE = {
    "numbers": [
        ("0", "zero"),
        ("7 cats", "seven cats"),
        ("19 or 20", "nineteen or twenty"),
        ("342", "three hundred forty two"),
        ("1,234", "one thousand two hundred thirty four"),
        ("3.14", "three point one four"),
        ("-4", "minus four"),
        ("007", "zero zero seven"),
        ("1/2 and 3/4", "one half and three quarters"),
        ("10-20", "ten to twenty"),
        ("the 1st, 2nd, 3rd and 21st", "the first, second, third and twenty first"),
        ("2,000,000", "two million"),
    ],
    "money": [
        ("$5", "five dollars"),
        ("$1", "one dollar"),
        ("$5.50", "five dollars and fifty cents"),
        ("$0.99", "ninety nine cents"),
        ("£1.01", "one pound and one penny"),
        ("€3 million", "three million euros"),
        ("$1,250", "one thousand two hundred fifty dollars"),
    ],
    "dates and times": [
        ("2026-11-24", "november twenty fourth twenty twenty six"),
        ("11/24/2026", "november twenty fourth twenty twenty six"),
        ("March 3rd", "march third"),
        ("Nov. 5", "november fifth"),
        ("5 Nov", "fifth of november"),
        ("in 1999, we", "in nineteen ninety nine, we"),
        ("in 1905", "in nineteen oh five"),
        ("in 2007", "in two thousand seven"),
        ("the 1990s", "the nineteen nineties"),
        ("3:05", "three oh five"),
        ("3:30 pm", "three thirty <p> <m>"),
        ("14:00", "fourteen hundred"),
        ("9 a.m.", "nine <a> <m>"),
    ],
    "units": [
        ("12 kg", "twelve kilograms"),
        ("1 km", "one kilometre"),
        ("50%", "fifty percent"),
        ("-5°C", "minus five degrees celsius"),
        ("44.1 kHz", "forty four point one kilohertz"),
        ("80 MB", "eighty megabytes"),
    ],
    "abbreviations": [
        ("Dr. Smith", "doctor smith"),
        ("Mr. and Mrs. Brown", "mister and missus brown"),
        ("St. Paul", "saint paul"),
        ("Baker St.", "baker street"),
        ("e.g. tea", "for example, tea"),
        ("cats, dogs, etc.", "cats, dogs, etcetera"),
        ("No. 5", "number five"),
        ("World War II", "world war two"),
    ],
    "letters": [
        ("the FBI", "the <f> <b> <i>"),
        ("NASA", "nasa"),
        ("U.S.A.", "<u> <s> <a>"),
        ("J. R. R. Tolkien", "<j> <r> <r> tolkien"),
        ("PyTorch", "py torch"),
        ("GPT-4", "<g> <p> <t> four"),
        ("two CDs", "two <c> <d>'s"),
        ("plan b", "plan <b>"),
        ("a cat and I", "a cat and i"),
    ],
    "addresses and signs": [
        ("joe@example.com", "joe at example dot com"),
        ("https://www.example.org/a", "example dot org slash a"),
        ("salt & pepper", "salt and pepper"),
        ("2 + 2 = 4", "two plus two equals four"),
        ("well-known", "well known"),
        ("café naïve", "cafe naive"),
        ("“quoted” — then", "quoted, then"),
        ("don’t", "don't"),
        ("HELLO THERE WORLD", "hello there world"),
    ],
}


@pytest.mark.parametrize(("written", "spoken"), [row for rows in TABLE.values() for row in rows])
def test_what_is_written_is_spoken_so(written, spoken):
    assert normalize(written) == spoken


@given(st.text(max_size=200))
def test_any_text_becomes_plain_letters_and_marks(text):
    assert re.fullmatch(r"[a-z'<>.,;:!? ]*", normalize(text))


@given(st.text(alphabet="0123456789.,-/:$£% aAkmg°st", max_size=60))
def test_any_heap_of_digits_and_signs_is_survived(text):
    assert not re.search(r"\d", normalize(text))


def test_thousands_of_digits_are_read_one_by_one_not_refused():
    assert normalize("9" * 20_000).count("nine") == 20_000
    assert "nine" in normalize("$" + "9" * 5000)


@given(st.integers(0, 999_999_999))
def test_a_cardinal_reads_back_to_its_number(n):
    values = {cardinal(i): i for i in range(100)}
    total = part = 0
    words = cardinal(n).split()
    while words:
        pair = " ".join(words[:2])
        if pair in values and values[pair] > 20 and len(words) > 1:
            part, words = part + values[pair], words[2:]
        elif words[0] == "hundred":
            part, words = part * 100, words[1:]
        elif words[0] in {"thousand", "million"}:
            total, part = total + part * {"thousand": 1000, "million": 1_000_000}[words[0]], 0
            words = words[1:]
        else:
            part, words = part + values[words[0]], words[1:]

    assert total + part == n


def test_ordinals_years_decimals_and_digits():
    assert [ordinal(n) for n in (1, 5, 12, 20, 33, 100)] == [
        "first",
        "fifth",
        "twelfth",
        "twentieth",
        "thirty third",
        "one hundredth",
    ]
    assert [year(n) for n in (1066, 1900, 2000, 2026)] == [
        "ten sixty six",
        "nineteen hundred",
        "two thousand",
        "twenty twenty six",
    ]
    assert decimal("1,250.5") == "one thousand two hundred fifty point five"
    assert digits("4a2") == "four two"
