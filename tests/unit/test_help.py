"""Help in another language: translated, wrapped by what a terminal shows, and nothing lost."""

from hypothesis import given
from hypothesis import strategies as st

from lifecycle.cli.help import wrapped
from lifecycle.render.output import width


@given(st.text(st.sampled_from("ab 声音的，。-x"), max_size=120), st.integers(10, 60))
def test_wrapping_loses_no_letter_and_keeps_the_width(text: str, columns: int) -> None:
    lines = wrapped(text, columns)

    assert "".join("".join(lines).split()) == "".join(text.split())
    # a word that is longer than a line stands alone; a closing mark may hang over the edge
    assert all(
        width(line) <= columns + 2 * text.count("，") + 2 * text.count("。") or " " not in line
        for line in lines
    )


def test_a_sentence_of_wide_letters_is_broken_between_letters() -> None:
    assert wrapped("保存每个声音的权重和录音", 10) == ["保存每个声", "音的权重和", "录音"]


def test_words_of_latin_letters_stay_whole() -> None:
    assert wrapped("用 vlm retire 退役声音", 8) == ["用 vlm", "retire", "退役声音"]
