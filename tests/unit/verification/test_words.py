"""Word error rate, as recognisers are judged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.verification.words import word_error_rate

sentences = st.lists(st.sampled_from(["the", "ship", "reef", "storm"]), min_size=1, max_size=8).map(" ".join)


@pytest.mark.parametrize(
    ("heard", "rate"),
    [("The ship, was torn!", 0.0), ("the ship was", 0.25), ("a ship was torn apart", 0.5), ("", 1.0)],
)
def test_substitutions_deletions_and_insertions_count_one_each(heard, rate):
    assert word_error_rate("The ship was torn.", heard) == rate


@given(sentences)
def test_what_is_heard_as_it_was_said_has_no_error(said):
    assert word_error_rate(said, said.upper() + "!") == 0.0


@given(sentences, sentences)
def test_the_rate_never_exceeds_the_longer_text(said, heard):
    longest = max(len(said.split()), len(heard.split()))
    assert 0.0 <= word_error_rate(said, heard) <= longest / len(said.split())


def test_nothing_said_is_no_reference():
    with pytest.raises(ValueError):
        word_error_rate("...", "anything")
