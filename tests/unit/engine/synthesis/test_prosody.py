"""The rules on durations and F0, as rules."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.synthesis.prosody import question, transpose, whole_frames

frames = st.lists(st.floats(0.1, 50), min_size=1, max_size=30)


@given(frames, st.floats(0.25, 4.0))
def test_whole_frames_are_at_least_one_each_and_keep_the_wanted_sum(wanted, speed):
    durations = np.array(wanted)
    got = whole_frames(
        durations, pauses=np.zeros(len(wanted), bool), weights=np.ones(len(wanted)), speed=speed, pause=1.0
    )

    total = np.maximum(durations / speed, 1.0).sum()
    assert got.min() >= 1
    assert abs(got.sum() - total) <= 0.5 + 1e-6


@given(frames, st.floats(0, 5))
def test_only_pauses_are_stretched_by_pause(wanted, pause):
    durations = np.round(np.array(wanted) + 1)
    pauses = np.arange(len(wanted)) % 2 == 0
    ones = np.ones(len(wanted))

    got = whole_frames(durations, pauses=pauses, weights=ones, speed=1.0, pause=pause)

    np.testing.assert_array_less(np.abs(got - durations)[~pauses], 1.01)


def test_the_rise_of_a_question_is_seven_semitones_at_the_last_voiced_frame():
    log_f0 = np.full(100, 5.0, np.float32)
    voiced = np.arange(100) < 90

    raised = question(log_f0, voiced, frame_rate=80.0)
    semitones = 12 * (raised - log_f0) / np.log(2)

    assert abs(semitones[89] - 7.0) < 1e-3
    assert np.all(semitones[: 90 - 28] == 0)
    assert np.all(np.diff(semitones[61:90]) > 0)


def test_a_question_without_voicing_or_shorter_than_the_ramp_is_survived():
    flat = np.full(5, 5.0, np.float32)

    np.testing.assert_array_equal(question(flat, np.zeros(5, bool), frame_rate=80.0), flat)
    assert question(flat, np.ones(5, bool), frame_rate=80.0)[-1] > flat[-1]


def test_an_octave_doubles_the_pitch():
    np.testing.assert_allclose(
        np.exp(transpose(np.log(np.array([100.0], np.float32)), 12.0)), [200.0], rtol=1e-5
    )
