"""A voice is fitted within its budget, says how near it came, goes on after a stop, and refuses too little speech."""

import numpy as np
import pytest
import torch

from engine.assets import base_path, base_speaker_path
from engine.audio.io import write_wav
from engine.errors import BadAudio, Cancelled
from engine.evaluation.similarity import SAME_ABOVE
from engine.synthesis.session import Session, SpeakOptions
from engine.synthesis.voice_file import read_speaker, read_voice
from engine.training.fit import fit

TEXT = (
    "The captain opened the wooden box and found a letter from the north. Nobody had seen the old road before. "
    "In the morning we walked along the river, and the children followed us with great care. "
    "After a long pause my sister said that the weather was clear. A quiet stranger waited near the station."
)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A person who is not the base: the base, six semitones lower and louder."""
    torch.set_num_threads(1)
    session = Session.load(base_path(), speaker=base_speaker_path())
    spoken = session.speak(TEXT, options=SpeakOptions(pitch_semitones=-6.0))
    path = tmp_path_factory.mktemp("recording") / "person.wav"
    write_wav(path, spoken.samples * 1.5, spoken.rate)
    return path


def run(recording, out, **more):
    return fit([recording], name="me", out=out, base=base_path(), **{"budget_s": 3.0, "seed": 1, **more})


@pytest.fixture(scope="module")
def fitted(recording, tmp_path_factory):
    out, told = tmp_path_factory.mktemp("fitted"), []
    return run(recording, out, progress=told.append), told, out


def test_a_fitted_voice_speaks_with_the_pitch_of_its_person(fitted):
    result, _, _ = fitted

    session = Session.load(result.weights, speaker=result.speaker)
    spoken = session.speak("They walked along the river.")
    person = read_speaker(result.speaker, session.config).statistics
    heard = float(np.log(spoken.f0[spoken.f0 > 0]).mean())
    assert heard == pytest.approx(float(person.log_f0[0]), abs=0.12)


def test_a_fit_leaves_three_files_and_tells_its_progress(fitted):
    _, told, out = fitted

    assert {path.name for path in out.iterdir()} == {"me.safetensors", "me.speaker.safetensors", "me.wav"}
    assert [step.done for step in told] == sorted(step.done for step in told)
    assert {step.stage for step in told} == {"read", "embed", "tune", "warp", "write"}
    assert told[-1].done == 1.0


def test_the_figures_are_there_and_possible(fitted):
    result, _, _ = fitted

    for value in (result.similarity, result.similarity_held_out, result.similarity_base):
        assert -1.0 <= value <= 1.0001
    assert result.similarity_held_out > SAME_ABOVE
    assert f"{SAME_ABOVE:.2f}" in result.scale
    assert result.steps > 1
    assert len(result.losses) <= 100
    assert result.loss_held_out_after < result.loss_held_out_before * 1.1
    assert result.speech_s >= 10


def test_the_weights_hold_no_statistics_of_the_person(fitted):
    """The weights are of class model and stay after a purge; what describes the person is in the speaker file."""
    result, _, _ = fitted

    base, tuned = read_voice(base_path()), read_voice(result.weights)

    np.testing.assert_array_equal(base.base.log_f0, tuned.base.log_f0)
    np.testing.assert_array_equal(base.base.mel_mean, tuned.base.mel_mean)
    assert set(base.tensors) == set(tuned.tensors)


def test_a_stopped_fit_goes_on_where_it_was(recording, tmp_path):
    seen = []

    with pytest.raises(Cancelled):
        run(recording, tmp_path, progress=seen.append, cancelled=lambda: seen[-1].step >= 2)
    assert not list(tmp_path.glob("*.safetensors"))
    again = []
    run(recording, tmp_path, progress=again.append)

    steps = [step.step for step in again if step.stage == "tune"]
    assert steps[0] == 3
    assert not (tmp_path / "me.work").exists()


def test_another_recording_does_not_go_on_from_somebody_elses_checkpoint(recording, tmp_path):
    seen = []
    with pytest.raises(Cancelled):
        run(recording, tmp_path, progress=seen.append, cancelled=lambda: seen[-1].step >= 2)

    again = []
    with pytest.raises(Cancelled):
        run(recording, tmp_path, seed=2, progress=again.append, cancelled=lambda: again[-1].step >= 1)

    assert next(step.step for step in again if step.stage == "tune") == 1


def test_too_little_speech_is_refused_and_nothing_is_written(tmp_path):
    tone = 0.1 * np.sin(np.arange(16000 * 4) * 0.05).astype(np.float32)
    write_wav(tmp_path / "short.wav", tone, 16000)
    write_wav(tmp_path / "silence.wav", np.zeros(16000 * 30, np.float32), 16000)
    out = tmp_path / "out"
    out.mkdir()

    for name in ("short.wav", "silence.wav"):
        with pytest.raises(BadAudio):
            run(tmp_path / name, out)

    assert not list(out.iterdir())
