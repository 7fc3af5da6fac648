from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lifecycle.domain.filters import ALL, VoiceFilter
from lifecycle.domain.voices import State, Voice

NOW = datetime(2026, 11, 24, tzinfo=UTC)
VOICE = Voice(
    "a" * 32, "kol-a", State.ACTIVE, "video", None, "default", "https://example.com/x", NOW, NOW,
    subject_uids=("b" * 32,),
)  # fmt: skip


@pytest.mark.parametrize(
    "condition",
    [
        {"names": ("kol-b", "kol-a")},
        {"owner": "video"},
        {"subject_uid": "b" * 32},
        {"states": (State.ACTIVE, State.RETIRED)},
        {"upstream": "https://example.com/x"},
        {"policy": "default"},
    ],
)
def test_a_voice_that_meets_a_condition_is_meant(condition):
    assert VoiceFilter(**condition).matches(VOICE)


@pytest.mark.parametrize(
    "condition",
    [
        {"names": ("kol-b",)},
        {"owner": "audio"},
        {"owner": ""},
        {"subject_uid": "c" * 32},
        {"states": (State.RETIRED,)},
        {"upstream": ""},
        {"policy": "strict"},
    ],
)
def test_one_condition_that_is_not_met_is_enough(condition):
    assert not VoiceFilter(**{"owner": "video", **condition}).matches(VOICE)


def test_without_conditions_every_voice_is_meant():
    assert ALL.matches(VOICE)
    assert ALL.all
    assert not VoiceFilter(owner="video").all
