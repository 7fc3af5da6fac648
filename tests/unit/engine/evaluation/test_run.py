"""Latency and resemblance of a voice that really speaks."""

import json

import pytest

from engine.errors import BadText, Mute
from engine.evaluation.run import measure_latency, measure_resemblance
from engine.models.speaker import SpeakerEncoder
from engine.synthesis.session import Session
from engine.training.debug import make_debug_voice

TEXTS = ("the quiet river turned slowly.", "nobody has forgotten the wooden bridge.", "is the shop open?")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return make_debug_voice(tmp_path_factory.mktemp("voice"))


class Clock:
    """Each look at it takes a second."""

    now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


def test_each_time_stands_for_what_it_says(files):
    weights, speaker = files

    found = measure_latency(lambda: Session.load(weights, speaker=speaker), TEXTS, clock=Clock())

    assert (found.load_s, found.first_s, found.median_s, found.slowest_s) == (1, 1, 1, 1)
    assert found.texts == 3
    assert found.audio_s > 0.5
    assert found.real_time_factor > 0
    assert json.loads(json.dumps(found.to_dict()))["texts"] == 3


def test_with_one_text_the_first_is_all_there_is(files):
    weights, speaker = files
    found = measure_latency(lambda: Session.load(weights, speaker=speaker), TEXTS[:1])
    assert found.median_s == found.first_s == found.slowest_s > 0


def test_a_mute_voice_has_neither(files):
    weights, _ = files
    with pytest.raises(Mute):
        measure_latency(lambda: Session.load(weights, speaker=None), TEXTS)
    with pytest.raises(Mute):
        measure_resemblance(Session.load(weights, speaker=None), TEXTS, SpeakerEncoder())


def test_without_text_there_is_nothing_to_measure(files):
    weights, speaker = files
    with pytest.raises(BadText):
        measure_latency(lambda: Session.load(weights, speaker=speaker), ())
    with pytest.raises(BadText):
        measure_resemblance(Session.load(weights, speaker=speaker), (), SpeakerEncoder())
