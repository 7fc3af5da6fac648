"""Letters become phones through the network and its beam; the base's network knows ordinary words."""

import pytest

from engine.assets import base_path
from engine.models.g2p import LetterToPhone, window
from engine.synthesis.voice_file import read_voice
from engine.training.train_g2p import Aligner


@pytest.fixture(scope="module")
def base():
    voice = read_voice(base_path())
    tensors = {name[4:]: value for name, value in voice.tensors.items() if name.startswith("g2p.")}
    return LetterToPhone(tensors, voice.config.chunks)


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("cat", "k ae1 t"),
        ("ship", "sh ih1 p"),
        ("making", "m ey1 k ih0 ng"),
        ("national", "n ae1 sh ax0 n ax0 l"),
        ("computer", "k ax0 m p y uw1 t er0"),
        ("river", "r ih1 v er0"),
    ],
)
def test_the_base_pronounces_ordinary_words(base, word, phones):
    assert " ".join(base(word)) == phones


def test_a_word_of_unknown_letters_is_silent_or_short_and_never_fails(base):
    assert base("") == ()
    assert len(base("éü")) <= 4
    assert len(base("z" * 500)) <= 80


def test_the_same_word_is_always_the_same(base):
    assert base("frobnicate") == base("frobnicate")


def test_the_window_is_padded_beyond_the_word():
    rows = window("ab")

    assert rows.shape == (2, 13)
    assert rows[0].tolist() == [0] * 6 + [1, 2] + [0] * 5


def test_the_aligner_gives_every_phone_to_a_letter_and_learns_double_ones():
    lexicon = {
        "cat": ("k", "ae1", "t"), "cap": ("k", "ae1", "p"), "tap": ("t", "ae1", "p"), "act": ("ae1", "k", "t"),
        "pat": ("p", "ae1", "t"), "pact": ("p", "ae1", "k", "t"), "tax": ("t", "ae1", "k", "s"),
    }  # fmt: skip
    aligner = Aligner()
    aligner.fit(lexicon)

    assert aligner.align("tax", lexicon["tax"]) == ("t", "ae1", "k s")
    assert aligner.align("a", ("k", "ae1", "t")) is None
    for word, phones in lexicon.items():
        assert " ".join(filter(None, aligner.align(word, phones))) == " ".join(phones)
