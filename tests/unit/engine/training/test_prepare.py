"""What prepare says about recordings whose faults are known."""

import json

import numpy as np
import pytest

from engine.audio.io import write_wav
from engine.audio.resample import resample
from engine.errors import BadAudio, Cancelled
from engine.training.prepare import count_speakers, judge, prepare
from tests.unit.engine.voices import HIGH, LOW, RATE, speech


@pytest.fixture(scope="module")
def clean():
    """80 s of one clear voice."""
    return speech(80, **LOW)


@pytest.fixture(scope="module")
def short(clean):
    """14 s of it, for faults that show at any length."""
    return clean[: 14 * RATE]


def said(report, word):
    return [sentence for sentence in report.advice if word in sentence]


def test_a_minute_of_clear_speech_of_one_person_is_good(clean):
    report = judge(clean, RATE)

    assert report.verdict == "good"
    assert report.advice == []
    assert report.speakers == 1
    assert report.speech_s > 60
    assert report.snr_db > 25
    assert report.bandwidth_hz == 12000
    assert report.clipping < 1e-4


def test_under_a_minute_it_asks_for_the_missing_seconds(clean):
    report = judge(clean[: 40 * RATE], RATE)

    assert report.verdict == "usable"
    (sentence,) = said(report, "more")
    assert f"record {int(np.ceil(60 - report.speech_s))} s more" in sentence


def test_under_ten_seconds_of_speech_it_refuses(clean):
    report = judge(np.concatenate([clean[: 3 * RATE], np.zeros(30 * RATE, np.float32)]), RATE)

    assert report.verdict == "refused"
    assert "too little" in report.advice[0]
    assert report.duration_s == pytest.approx(33)


@pytest.mark.parametrize("kind", ["zeros", "hiss", "hum"])
def test_without_speech_it_refuses_and_says_so(kind):
    t = np.arange(20 * 16000) / 16000
    x = {
        "zeros": np.zeros(len(t)),
        "hiss": np.random.default_rng(0).normal(0, 0.05, len(t)),
        "hum": 0.1 * np.sin(2 * np.pi * 50 * t),
    }[kind]

    report = judge(x.astype(np.float32), 16000)

    assert report.verdict == "refused"
    assert "no speech" in report.advice[0]
    assert (report.speakers, report.speech_s, report.snr_db) == (0, 0, None)
    json.dumps(report.to_dict(), allow_nan=False)


def test_heavy_clipping_is_refused_and_a_little_is_named(short):
    peak = float(np.abs(short).max())
    ruined, touched = np.clip(short, -0.2 * peak, 0.2 * peak), np.clip(short, -0.75 * peak, 0.75 * peak)

    for spoilt, verdict in ((ruined, "refused"), (touched, "usable")):
        report = judge(spoilt, RATE)
        assert report.verdict == verdict
        assert said(report, "clipped")


def test_noise_is_named_and_too_much_is_refused(short):
    rng = np.random.default_rng(3)
    level = float(short.std())
    some = short + rng.normal(0, 0.2 * level, len(short)).astype(np.float32)
    much = short + rng.normal(0, 0.9 * level, len(short)).astype(np.float32)

    for spoilt, verdict in ((some, "usable"), (much, "refused")):
        report = judge(spoilt, RATE)
        assert report.verdict == verdict
        assert said(report, "noise")


def test_an_upsampled_recording_is_seen_through(short):
    x = resample(resample(short, RATE, 16000), 16000, 48000)

    report = judge(x, 48000)

    assert report.bandwidth_hz == pytest.approx(8000, abs=400)
    assert said(report, "8 kHz although the file says 48 kHz")
    assert "bandwidth 8 kHz (file says 48 kHz)" in report.summary


def test_what_the_file_declared_counts_even_when_it_was_resampled_since(short):
    narrow = resample(resample(short, RATE, 8000), 8000, RATE)
    assert said(judge(narrow, RATE, declared_rate=44100), "4 kHz although the file says 44.1 kHz")


def test_an_honest_narrow_file_is_told_to_be_wider(short):
    report = judge(resample(short, RATE, 16000), 16000)
    assert said(report, "the file holds 16 kHz")
    assert not said(report, "although")


def test_two_people_are_told_from_one(clean):
    both = np.concatenate([clean[: 15 * RATE], speech(15, **HIGH, seed=5)])
    report = judge(both, RATE)

    assert report.speakers == 2
    assert said(report, "more than one person")
    assert report.verdict == "usable"
    assert "more than one speaker" in report.summary


def test_an_offset_and_a_low_level_are_named(short):
    assert said(judge(short * np.float32(0.3) + np.float32(0.05), RATE), "offset")
    assert said(judge(short * np.float32(0.01), RATE), "quiet")


@pytest.mark.parametrize("bad", [np.zeros(0), np.zeros((2, 10)), np.array([0.0, np.nan])])
def test_what_is_no_recording_is_an_error(bad):
    with pytest.raises(BadAudio):
        judge(bad.astype(np.float32), RATE)


def test_a_report_is_plain_json(short):
    fields = json.loads(json.dumps(judge(short, RATE).to_dict(), allow_nan=False))
    assert fields["verdict"] == "usable"
    assert fields["rate_hz"] == RATE
    assert isinstance(fields["advice"], list)


class TestFolder:
    @pytest.fixture
    def folder(self, tmp_path, clean):
        for i in range(3):
            write_wav(tmp_path / f"{i}.wav", clean[i * 25 * RATE : (i + 1) * 25 * RATE], RATE)
        (tmp_path / "notes.txt").write_text("read on a Tuesday")
        (tmp_path / ".hidden.wav").write_bytes(b"RIFF")
        return tmp_path

    def test_files_are_judged_one_by_one_and_as_a_whole(self, folder):
        shares = []
        found = prepare([folder], progress=shares.append)

        assert [f.name for f in found.files] == ["0.wav", "1.wav", "2.wav", "notes.txt"]
        assert all(f.report.verdict == "usable" for f in found.files[:3])  # each alone is short of a minute
        assert "not a recording" in found.files[3].error
        assert found.whole.verdict == "good"
        assert found.whole.speech_s == pytest.approx(sum(f.report.speech_s for f in found.files[:3]))
        assert shares[-1] == 1.0
        json.dumps(found.to_dict(), allow_nan=False)

    def test_a_second_person_in_another_file_is_noticed(self, folder):
        write_wav(folder / "guest.wav", speech(25, **HIGH, seed=9), RATE)
        found = prepare([folder])
        assert [f.report.speakers for f in found.files if f.report] == [1, 1, 1, 1]
        assert found.whole.speakers == 2

    def test_nothing_readable_is_an_error(self, tmp_path):
        with pytest.raises(BadAudio, match="no recordings"):
            prepare([tmp_path])
        (tmp_path / "a.wav").write_bytes(b"text")
        with pytest.raises(BadAudio, match="none of 1"):
            prepare([tmp_path])

    def test_it_can_be_cancelled(self, folder):
        with pytest.raises(Cancelled):
            prepare([folder], cancelled=lambda: True)


class TestCountSpeakers:
    def test_few_windows_say_nothing(self):
        assert count_speakers(np.zeros((0, 8), np.float32)) == 0
        assert count_speakers(np.eye(8, dtype=np.float32)[:3]) == 1

    def test_a_stray_window_is_not_a_person(self):
        windows = np.tile(np.eye(8, dtype=np.float32)[0], (30, 1))
        windows[7] = np.eye(8)[1]
        assert count_speakers(windows) == 1

    def test_two_directions_are_two_people(self):
        windows = np.repeat(np.eye(8, dtype=np.float32)[:2], [20, 6], axis=0)
        assert count_speakers(windows) == 2
