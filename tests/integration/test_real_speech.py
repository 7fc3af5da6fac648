"""Real speech: recordings of people are judged, embedded, and what a voice says is understood by a recogniser."""

from pathlib import Path

import numpy as np
import pytest

from engine.assets import base_path, base_speaker_path
from engine.audio.io import read_audio, write_wav
from engine.models.speaker import SpeakerEncoder
from engine.synthesis.session import Session
from engine.training.prepare import judge
from lifecycle.runtimes.judge import Judge
from lifecycle.verification.words import word_error_rate

pytestmark = [pytest.mark.server, pytest.mark.slow]

SENTENCES = (
    "The old road is quiet in the morning.",
    "She packed twenty four books into the wooden box.",
    "We had everything before us, and nothing was lost.",
)


def test_the_recording_of_the_demo_is_judged_rightly(recogniser: Judge):
    samples, rate = read_audio(recogniser.recording)

    report = judge(samples, rate)

    assert report.duration_s == pytest.approx(44.4, abs=0.1)
    assert report.speakers == 1
    assert report.verdict == "usable"
    assert report.bandwidth_hz == pytest.approx(8000, abs=400)
    assert any("although the file says 48 kHz" in line for line in report.advice)
    assert any("60 s of speech are recommended" in line for line in report.advice)


def test_a_reader_is_nearer_to_himself_than_to_two_other_people(recogniser: Judge):
    encoder = SpeakerEncoder.pretrained()
    reader, rate = read_audio(recogniser.recording)
    others, other_rate = read_audio(recogniser.recording.with_name("endgame_nagg_nell.wav"))
    middle = len(reader) // 2
    first, second = encoder.embed(reader[:middle], rate), encoder.embed(reader[middle:], rate)
    strangers = encoder.embed(others, other_rate)

    assert np.linalg.norm(first) == pytest.approx(1.0, abs=1e-5)
    assert float(first @ second) > 0.75 > float(first @ strangers)


def test_what_the_base_voice_says_is_understood(recogniser: Judge, tmp_path: Path):
    session = Session.load(base_path(), speaker=base_speaker_path())
    files = [tmp_path / f"{number}.wav" for number in range(len(SENTENCES))]
    for sentence, file in zip(SENTENCES, files, strict=True):
        spoken = session.speak(sentence)
        write_wav(file, spoken.samples, spoken.rate)

    heard = recogniser.transcribe(*files)

    assert word_error_rate(" ".join(SENTENCES), " ".join(heard)) <= 0.25
