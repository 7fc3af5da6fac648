"""A voice speaks the same twice, is mute without its speaker file, and does what its options say."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from engine import safetensors
from engine.assets import base_path, base_speaker_path
from engine.errors import BadOption, BadText, BadVoice, Mute, UnknownLanguage
from engine.synthesis.session import Session, SpeakOptions
from engine.synthesis.voice_file import read_speaker, read_voice, write_speaker
from engine.training.debug import make_debug_voice

TEXT = "You are going home."


@pytest.fixture(scope="module")
def debug(tmp_path_factory):
    return make_debug_voice(tmp_path_factory.mktemp("debug"))


@pytest.fixture(scope="module")
def base():
    torch.set_num_threads(1)
    return Session.load(base_path(), speaker=base_speaker_path())


def speak(session, text=TEXT, **options):
    return session.speak(text, options=SpeakOptions(**options))


def phone_seconds(utterance, *, pauses):
    hop = len(utterance.samples) / utterance.mel.shape[1]
    chosen = [d for p, d in zip(utterance.phones, utterance.durations, strict=True) if (p == "pau") == pauses]
    return sum(chosen) * hop / utterance.rate


def mean_semitones(utterance):
    return float(12 * np.log2(utterance.f0[utterance.f0 > 0]).mean())


def end_rise(utterance):
    """Mean of the last quarter less that of the first quarter of the last 350 ms of voicing, in semitones."""
    hop = len(utterance.samples) / utterance.mel.shape[1]
    voiced = np.flatnonzero(utterance.f0 > 0)
    end = int(voiced[-1]) + 1
    begin = end - round(0.35 * utterance.rate / hop)
    inside = [12 * np.log2(f) if f > 0 else np.nan for f in utterance.f0[begin:end]]
    quarter = len(inside) // 4
    return float(np.nanmean(inside[-quarter:]) - np.nanmean(inside[:quarter]))


def test_what_is_spoken_fits_together(base):
    spoken = speak(base)

    frames = int(spoken.durations.sum())
    assert spoken.mel.shape == (80, frames)
    assert spoken.f0.shape == (frames,)
    assert spoken.samples.shape == (frames * 200,)
    assert len(spoken.phones) == len(spoken.durations)
    assert spoken.samples.dtype == np.float32
    assert 0.02 < np.abs(spoken.samples).max() <= 1.0
    assert 0.8 < len(spoken.samples) / spoken.rate < 3.0


def test_the_same_seed_gives_the_same_samples_and_another_does_not(base):
    one, again, other = speak(base, seed=4), speak(base, seed=4), speak(base, seed=5)

    np.testing.assert_array_equal(one.samples, again.samples)
    assert np.abs(one.samples - other.samples).max() > 1e-4
    np.testing.assert_array_equal(one.durations, other.durations)
    np.testing.assert_array_equal(one.mel, other.mel)


def test_without_its_speaker_file_a_voice_loads_but_is_mute():
    session = Session.load(base_path(), speaker=None)

    assert session.embedding is None
    for call in (session.speak, session.stages):
        with pytest.raises(Mute) as caught:
            call(TEXT)
        assert caught.value.code == "mute"


def test_speed_changes_the_length_and_not_the_pitch(base):
    plain, fast, slow = speak(base), speak(base, speed=2.0), speak(base, speed=0.5)

    assert len(fast.samples) / len(plain.samples) == pytest.approx(0.5, abs=0.06)
    assert len(slow.samples) / len(plain.samples) == pytest.approx(2.0, abs=0.1)
    assert mean_semitones(fast) == pytest.approx(mean_semitones(plain), abs=1.0)


def test_pitch_moves_f0_by_its_semitones_and_nothing_else(base):
    plain, high = speak(base), speak(base, pitch_semitones=5.0)

    assert mean_semitones(high) - mean_semitones(plain) == pytest.approx(5.0, abs=0.01)
    np.testing.assert_array_equal(high.durations, plain.durations)
    np.testing.assert_array_equal(high.mel, plain.mel)


def test_the_moved_pitch_is_heard_in_the_samples(base):
    from engine.audio.pitch import f0 as track

    heard = []
    for semitones in (0.0, 4.0):
        f0 = track(speak(base, pitch_semitones=semitones).samples, base.rate, 200)
        heard.append(float(np.median(12 * np.log2(f0[f0 > 0]))))

    assert heard[1] - heard[0] == pytest.approx(4.0, abs=0.7)


def test_pause_makes_pauses_longer_and_words_not(base):
    text = "Yes, of course, my friend. We will."
    plain, long = speak(base, text), speak(base, text, pause=3.0)

    assert phone_seconds(long, pauses=True) > 2.0 * phone_seconds(plain, pauses=True)
    assert phone_seconds(long, pauses=False) == pytest.approx(phone_seconds(plain, pauses=False), abs=0.1)


@pytest.mark.parametrize(
    "words", ["You are going home", "They saw the river", "It is raining", "The children are asleep"]
)
def test_a_question_rises_at_its_end_by_four_semitones_more_than_a_statement(base, words):
    statement, question = base.speak(words + "."), base.speak(words + "?")

    assert end_rise(question) - end_rise(statement) >= 4.0
    np.testing.assert_array_equal(question.durations, statement.durations)


@pytest.mark.parametrize(
    "options",
    [
        {"speed": 0.0},
        {"speed": 9.0},
        {"speed": float("nan")},
        {"pitch_semitones": 100.0},
        {"pause": -1.0},
        {"speed": "fast"},
    ],
)
def test_options_out_of_range_are_refused(base, options):
    with pytest.raises(BadOption):
        speak(base, **options)


def test_what_cannot_be_spoken_is_refused(base):
    with pytest.raises(BadText):
        base.speak("!!!")
    with pytest.raises(UnknownLanguage):
        speak(base, language="zh")


def test_progress_is_told_after_every_sentence(base):
    told = []

    base.speak("Yes. No. Yes.", progress=told.append)

    assert told == pytest.approx([1 / 3, 2 / 3, 1.0])


def test_stages_are_named_in_order_and_joined_to_what_speak_gives(base):
    stages = base.stages(TEXT, seed=2)

    assert list(stages) == [
        "phones",
        "duration_frames",
        "durations",
        "mel",
        "f0",
        "samples",
        "log_mel",
        "embedding",
    ]
    spoken = speak(base, seed=2)
    np.testing.assert_array_equal(stages["samples"], spoken.samples)
    assert stages["log_mel"].shape == (80, stages["mel"].shape[1] + 1)
    # the vocoder follows the mel that it was given
    loud = stages["mel"][:60, :] > -7
    assert np.abs(stages["log_mel"][:60, :-1] - stages["mel"][:60])[loud].mean() < 1.0


def test_given_durations_replace_the_predicted_ones(base):
    plain = base.stages(TEXT)
    longer = plain["durations"] + 2

    stages = base.stages(TEXT, durations=longer)

    np.testing.assert_array_equal(stages["durations"], longer)
    np.testing.assert_array_equal(stages["duration_frames"], plain["duration_frames"])
    with pytest.raises(BadOption):
        base.stages(TEXT, durations=longer[:-1])


def test_a_long_text_and_odd_characters_are_spoken(base):
    spoken = base.speak("Dr. Ng paid $3.50 at 9:30 a.m. — “why?” " * 5)

    assert np.isfinite(spoken.samples).all()
    assert len(spoken.samples) / spoken.rate > 10


def test_the_debug_voice_is_small_and_speaks(debug):
    weights, speaker = debug
    session = Session.load(weights, speaker=speaker)

    spoken = session.speak("Hello world, are you there?")

    assert weights.stat().st_size + speaker.stat().st_size < 200_000
    assert np.isfinite(spoken.samples).all()
    assert np.abs(spoken.samples).max() > 0.01
    assert session.embedding.shape == (256,)


def test_another_speaker_file_changes_the_voice(debug, tmp_path):
    weights, speaker = debug
    voice = read_voice(weights)
    known = read_speaker(speaker, voice.config)
    higher = replace(known.statistics, log_f0=known.statistics.log_f0 + np.array([0.3, 0], np.float32))
    write_speaker(tmp_path / "other.safetensors", replace(known, statistics=higher))

    one = Session.load(weights, speaker=speaker).speak("one two")
    two = Session.load(weights, speaker=tmp_path / "other.safetensors").speak("one two")

    assert mean_semitones(two) - mean_semitones(one) == pytest.approx(0.3 * 12 / np.log(2), abs=0.1)


def rewritten(path, out, change):
    tensors, metadata = safetensors.read(path)
    change(tensors, metadata)
    safetensors.write(out, tensors, metadata)
    return out


@pytest.mark.parametrize(
    "change",
    [
        lambda t, m: t.pop("acoustic.head.bias"),
        lambda t, m: t.update({"acoustic.extra": np.zeros(2, np.float32)}),
        lambda t, m: t.update({"other.x": np.zeros(2, np.float32)}),
        lambda t, m: t.update({"vocoder.head.bias": np.zeros(3, np.float32)}),
        lambda t, m: t.pop("g2p.w1"),
        lambda t, m: t.update({"g2p.w1": np.full_like(t["g2p.w1"], np.nan)}),
        lambda t, m: t.pop("base.f0_stats"),
        lambda t, m: m.update(format="vlm-voice/9"),
        lambda t, m: m.pop("config"),
        lambda t, m: m.update(config=m["config"].replace("source-filter", "nothing-known")),
        lambda t, m: m.update(config=m["config"].replace('"width":16', '"width":32')),
    ],
)
def test_weights_that_do_not_fit_are_refused_not_filled_with_noise(debug, tmp_path, change):
    bad = rewritten(debug[0], tmp_path / "bad.safetensors", change)

    with pytest.raises(BadVoice):
        Session.load(bad, speaker=debug[1])


@pytest.mark.parametrize(
    "change",
    [
        lambda t, m: t.pop("embedding"),
        lambda t, m: t.update(embedding=np.zeros(5, np.float32)),
        lambda t, m: t.update(embedding=np.full(256, np.inf, np.float32)),
        lambda t, m: t.update(warp=np.array([9.0], np.float32)),
        lambda t, m: t.update(mel_stats=np.zeros((2, 40), np.float32)),
        lambda t, m: t.update(f0_stats=np.array([50.0, 1.0], np.float32)),
        lambda t, m: m.update(format="vlm-voice/1"),
    ],
)
def test_a_speaker_file_that_does_not_fit_is_refused(debug, tmp_path, change):
    bad = rewritten(debug[1], tmp_path / "bad.speaker.safetensors", change)

    with pytest.raises(BadVoice):
        Session.load(debug[0], speaker=bad)
