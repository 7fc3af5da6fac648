"""Words become phones with pauses; tables come before the network, and every phone is known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BadText, UnknownLanguage
from engine.text.en.exceptions import LETTERS, WORDS
from engine.text.en.phones import English
from engine.text.frontend import front_end, sentences
from engine.text.symbols import INDEX, PHONES, VOWELS


def spell(word: str) -> tuple[str, ...]:
    """Stand-in for the network: one vowel per letter, so that a test sees which words reached it."""
    return tuple("aa1" for _ in word)


def phones(text: str) -> str:
    return " | ".join(" ".join(sentence.phones) for sentence in English(spell)(text))


def test_the_phone_set_is_festivals_41_symbols():
    assert len(PHONES) == len(set(PHONES)) == 41
    assert PHONES[0] == "pau"


def test_every_exception_is_made_of_known_phones_with_stress_on_vowels_only():
    for word, row in {**WORDS, **LETTERS}.items():
        names = [phone.rstrip("012") for phone in row]
        assert set(names) <= set(INDEX), word
        assert all(
            (phone[-1] in "012") == (name in VOWELS) for phone, name in zip(row, names, strict=True)
        ), word


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("one", "pau w ah n pau"),
        ("Don't!", "pau d ow n t pau"),
        ("FBI", "pau eh f b iy ay pau"),
        ("yes, no", "pau y eh s pau n ow pau"),
        ("yes,, ; no;", "pau y eh s pau n ow pau"),
        ("the one", "pau dh ax w ah n pau"),
        ("the old", "pau dh iy ow l d pau"),
        ("women's", "pau w ih m ax n z pau"),
        ("church's", "pau aa aa aa aa aa aa z pau"),
        ("voices'", "pau v oy s ax z pau"),
        ("friend's", "pau f r eh n d z pau"),
        ("weeks", "pau w iy k s pau"),
    ],
)
def test_words_come_from_the_tables_first(text, want):
    assert phones(text) == want


def test_unknown_words_go_to_the_network():
    asked = []

    def pronounce(word: str) -> tuple[str, ...]:
        asked.append(word)
        return ("b", "aa1")

    English(pronounce)("the frobnicator said one zyzzyva.")

    assert asked == ["frobnicator", "zyzzyva"]


def test_sentences_end_at_marks_and_only_questions_are_questions():
    found = English(spell)("Yes. Is it one? No! And two")

    assert [sentence.question for sentence in found] == [False, True, False, False]
    assert [sentence.words for sentence in found] == [("yes",), ("is", "it", "one"), ("no",), ("and", "two")]


def test_paragraphs_end_sentences_and_brackets_are_pauses():
    found = sentences("yes\n\nno", language="en", pronounce=spell)
    (bracket,) = sentences("yes (no) two", language="en", pronounce=spell)

    assert len(found) == 2
    assert " ".join(bracket.phones) == "pau y eh s pau n ow pau t uw pau"


@pytest.mark.parametrize("text", ["Is it one?!", 'Is it one?"', "Is it one??", "Is it one?."])
def test_a_question_stays_one_with_other_marks_behind_it(text):
    assert English(spell)(text)[-1].question


def test_stress_stands_on_vowels_and_the_first_phone_of_a_word_is_marked():
    (sentence,) = English(spell)("seven words")

    by_phone = list(zip(sentence.phones, sentence.stress, sentence.first, strict=True))

    assert by_phone[1:4] == [("s", 0, 1), ("eh", 1, 0), ("v", 0, 0)]
    assert by_phone[6] == ("w", 0, 1)


def test_a_stronger_mark_gives_a_longer_pause():
    (sentence,) = English(spell)("yes, no; yes")

    inner = [w for p, w in zip(sentence.phones, sentence.weights, strict=True) if p == "pau"][1:-1]

    assert inner[1] > inner[0]


@pytest.mark.parametrize("text", ["", "   ", "...", "?!", "\x00\x01", "你好"])
def test_text_without_a_word_is_refused(text):
    with pytest.raises(BadText):
        sentences(text, language="en", pronounce=spell)


def test_a_text_without_end_is_refused_and_a_word_without_end_is_spoken():
    with pytest.raises(BadText):
        sentences("a " * 20_000, language="en", pronounce=spell)

    (sentence,) = sentences("z" * 5000, language="en", pronounce=spell)
    assert len(sentence.phones) == 5002


def test_languages_are_known_by_their_code():
    assert front_end("en-GB", spell)
    with pytest.raises(UnknownLanguage) as caught:
        front_end("tlh", spell)
    assert caught.value.code == "unknown_language"


@given(st.text(max_size=120))
def test_any_text_gives_known_phones_between_pauses_or_nothing(text):
    for sentence in English(spell)(text):
        assert set(sentence.phones) <= set(INDEX)
        assert sentence.phones[0] == sentence.phones[-1] == "pau"
        rows = {len(sentence.phones), len(sentence.stress), len(sentence.first), len(sentence.weights)}
        assert len(rows) == 1
