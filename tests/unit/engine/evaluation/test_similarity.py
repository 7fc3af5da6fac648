"""The scale of resemblance, and error rates whose value is known."""

import numpy as np
import pytest

from engine.audio.io import write_wav
from engine.evaluation import speakers
from engine.evaluation.similarity import (
    SAME_ABOVE,
    STRANGERS_BELOW,
    TWO_SPEAKERS_BELOW,
    equal_error_rate,
    resemblance,
)
from engine.models.speaker import SpeakerEncoder
from tests.unit.engine.voices import HIGH, LOW, RATE, speech


def at(cosine):
    return np.array([cosine, np.sqrt(1 - cosine**2)])


@pytest.mark.parametrize(
    ("cosine", "says"),
    [
        (1.0, "same"),
        (SAME_ABOVE + 0.01, "same"),
        ((SAME_ABOVE + STRANGERS_BELOW) / 2, "unsure"),
        (STRANGERS_BELOW - 0.01, "stranger"),
        (-1.0, "stranger"),
    ],
)
def test_a_cosine_is_read_on_the_scale(cosine, says):
    found = resemblance(at(1.0), at(cosine))
    assert found.says == says
    assert found.cosine == pytest.approx(cosine, abs=1e-6)
    assert f"above {SAME_ABOVE:.2f}" in found.sentence


def test_length_plays_no_part():
    assert resemblance(at(0.5) * 7, at(1.0) * 0.01).cosine == pytest.approx(0.5)


def test_the_scale_is_in_order():
    assert -1 < TWO_SPEAKERS_BELOW <= 1
    assert STRANGERS_BELOW < SAME_ABOVE


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.zeros(2), at(1.0)),
        (at(1.0), np.ones(3)),
        (np.ones((2, 2)), np.ones((2, 2))),
        (np.array([np.nan, 1]), at(1.0)),
    ],
)
def test_what_has_no_direction_cannot_be_compared(a, b):
    with pytest.raises(ValueError, match="compared"):
        resemblance(a, b)


def test_scores_that_never_mix_have_no_errors():
    rate, threshold = equal_error_rate(np.array([0.8, 0.9]), np.array([0.1, 0.3]))
    assert rate == 0
    assert 0.3 < threshold <= 0.8


def test_scores_that_are_all_alike_are_wrong_half_of_the_time():
    rng = np.random.default_rng(0)
    rate, _ = equal_error_rate(rng.normal(0, 1, 4000), rng.normal(0, 1, 4000))
    assert rate == pytest.approx(0.5, abs=0.02)


def test_the_error_rate_of_two_bells_is_the_known_one():
    rng = np.random.default_rng(1)
    rate, threshold = equal_error_rate(rng.normal(2, 1, 20000), rng.normal(0, 1, 20000))
    assert rate == pytest.approx(0.1587, abs=0.01)  # the tail of the normal distribution beyond one sigma
    assert threshold == pytest.approx(1.0, abs=0.05)


def test_an_error_rate_needs_both_kinds_of_pairs():
    with pytest.raises(ValueError, match="pairs"):
        equal_error_rate(np.array([]), np.array([0.1]))


def test_recordings_of_two_people_are_compared_in_a_table(tmp_path, capsys):
    (tmp_path / "low").mkdir()
    for seed in (1, 2):
        write_wav(tmp_path / "low" / f"{seed}.wav", speech(6, **LOW, seed=seed), RATE)
    (tmp_path / "low" / "notes.txt").write_text("not a recording")
    write_wav(tmp_path / "high.wav", speech(12, **HIGH, seed=3), RATE)

    code = speakers.main([f"low={tmp_path / 'low'}", f"high={tmp_path / 'high.wav'}"])

    printed = capsys.readouterr().out
    assert code == 0
    assert "| low | " in printed
    assert "Equal error rate 0.0 %" in printed


def test_one_person_cannot_be_compared():
    with pytest.raises(ValueError, match="two people"):
        speakers.separate(SpeakerEncoder(), {"a": [np.zeros(3, np.float32)] * 2})
