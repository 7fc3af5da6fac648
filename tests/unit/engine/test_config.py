"""A voice's configuration survives its file, and a hostile one is refused before anything is built."""

import json
from dataclasses import replace

import pytest

from engine.config import AcousticConfig, VoiceConfig
from engine.errors import BadVoice

GOOD = VoiceConfig(phones=("pau", "aa"), chunks=("", "aa1"), acoustic=AcousticConfig(width=32))


def test_a_configuration_survives_its_json():
    assert VoiceConfig.from_json(GOOD.to_json()) == GOOD


def changed(**values: object) -> str:
    return json.dumps({**json.loads(GOOD.to_json()), **values})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[" * 90_000,
        "x" * 300_000,
        changed(unknown=1),
        changed(rate="16000"),
        changed(rate=True),
        changed(rate=10**12),
        changed(n_mels=0),
        changed(n_mels=80.5),
        changed(win=2048),
        changed(fmax=12000.0),
        changed(phones=["aa"]),
        changed(phones=[1]),
        changed(chunks="abc"),
        changed(languages=None),
        changed(origin=3),
        changed(acoustic={"kind": "direct"}),
        changed(vocoder=[]),
        changed(acoustic={"kind": "direct", "width": 10**9, "hidden": 640, "encoder_layers": 3, "layers": 5}),
        changed(acoustic={"kind": 1, "width": 64, "hidden": 64, "encoder_layers": 3, "layers": 5}),
    ],
)
def test_an_impossible_configuration_is_refused(text):
    with pytest.raises(BadVoice):
        VoiceConfig.from_json(text)


def test_sizes_that_fit_are_taken_as_they_are():
    other = replace(GOOD, rate=24000, fmax=12000.0)

    assert VoiceConfig.from_json(other.to_json()).rate == 24000
