"""The language of what people read: English inside, the user's at the edge, JSON never."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.render.language import Catalogue, language_of

ZH = Catalogue(
    {
        "name": "名称",
        "critical": "严重",
        "nothing at risk": "没有风险",
        '"{0}" is {1}, so it cannot {2}': "“{0}”处于 {1} 状态，无法 {2}",
        "{0} holds lie on {1}": "{1} 上有 {0} 个保留",
        "why: {0}": "原因：{0}",
        "{0} voice{1}": "{0} 个声音",
        "{0}, in {1}": "{0}，用时 {1}",
    }
)


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "en_GB.UTF-8"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "de_DE.UTF-8", "LANGUAGE": "fr:zh_CN:en"}, "zh"),
        ({"LANG": "de_DE.UTF-8", "LANGUAGE": "en:zh"}, "en"),
        ({"LANG": "C", "LANGUAGE": "zh"}, "en"),
        ({"LANG": "../../etc/passwd"}, "en"),
        ({"LANG": "zh"}, "zh"),
    ],
)
def test_the_locale_decides_as_gettext_does(environment, language):
    assert language_of(environment) == language


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("nothing at risk", "没有风险"),
        ('"kol-a" is retired, so it cannot speak', "“kol-a”处于 retired 状态，无法 speak"),
        ("3 holds lie on kol-a", "kol-a 上有 3 个保留"),
        ("why: nothing at risk", "原因：没有风险"),
        ("  nothing at risk    vlm audit", "  没有风险    vlm audit"),
        ("2 voices", "2 个声音"),
        ("radio voices", "radio voices"),
        ("shows, in China", "shows, in China"),
        ("a sentence that nobody translated", "a sentence that nobody translated"),
    ],
)
def test_sentences_are_told_with_their_places_filled(english, chinese):
    assert ZH.told(english) == chinese


def test_a_single_word_is_translated_only_as_a_title_since_a_voice_may_be_called_so():
    assert ZH.told("critical") == "critical"
    assert ZH.word("critical") == "严重"


@given(st.text(max_size=200))
def test_what_no_catalogue_has_stays_as_it_is(text):
    assert Catalogue({"a {0} b": "x"}).told(text) == text or text.strip().startswith("a ")


@given(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=30))
def test_what_is_told_in_a_sentence_is_never_changed(name):
    assert ZH.told(f"7 holds lie on {name}") == f"{name} 上有 7 个保留"
