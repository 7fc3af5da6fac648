"""The recipe of the speaker encoder: warps that move what they should, a loss that does its work, seeds that hold."""

import shutil
import subprocess

import numpy as np
import pytest
import torch

from engine.audio.mel import mel_bank
from engine.models.speaker import SPEC
from engine.training.speaker_base import Augment, Ge2eLoss, Recipe, train
from engine.training.speaker_corpus import Pseudo, pseudo_speakers, sentences, speak_all, warped_mel
from tests.unit.engine.voices import HIGH, LOW, speech

BAND_HZ = np.argmax(mel_bank(SPEC), axis=1) * SPEC.rate / SPEC.n_fft


def warp(x, *, pitch=1.0, tract=1.0):
    return warped_mel(x, pitch=pitch, tract=tract)


def _centre(mel):
    """Centre of power of the mean spectrum, Hz."""
    power = np.exp(mel).mean(axis=1)
    return float((power * BAND_HZ).sum() / power.sum())


def test_stretching_the_tract_moves_the_formants_and_keeps_the_pitch():
    x = speech(3, **HIGH)
    plain, longer, shorter = (warp(x, tract=t) for t in (1.0, 0.85, 1.18))

    assert _centre(longer) < _centre(plain) < _centre(shorter)
    low = BAND_HZ < 400  # the first harmonics of 235 Hz stay where they are
    harmonics = [int(np.argmax(mel[low].mean(axis=1))) for mel in (plain, longer, shorter)]
    assert max(harmonics) - min(harmonics) <= 1


def test_raising_the_pitch_shortens_the_sound_and_keeps_the_tract():
    x = speech(3, **LOW)
    plain, high = warp(x), warp(x, pitch=1.3)

    assert high.shape[1] == pytest.approx(plain.shape[1] / 1.3, abs=2)
    assert _centre(high) == pytest.approx(_centre(plain), rel=0.15)


def test_pseudo_speakers_come_from_every_voice_and_differ():
    voices = {
        "a": [speech(2, **LOW, seed=s) for s in range(3)],
        "b": [speech(2, **HIGH, seed=s) for s in range(3)],
    }

    made = pseudo_speakers(voices, 3, 0, utterances=2)

    assert [p.voice for p in made] == ["a", "a", "a", "b", "b", "b"]
    assert len({(p.voice, p.pitch, p.tract) for p in made}) == 6
    assert all(len(p.mels) == 2 and p.mels[0].shape[0] == 80 for p in made)


def test_augmentation_keeps_the_shape_and_changes_the_numbers():
    mel = warp(speech(2, **LOW))
    augment = Augment(np.random.default_rng(0))
    for _ in range(40):
        out = augment(mel)
        assert out.shape == mel.shape
        assert bool(np.isfinite(out).all())
        assert not np.allclose(out, mel)


def test_the_loss_is_small_where_speakers_are_apart_and_large_where_they_are_mixed():
    apart = torch.eye(4)[:, None].expand(4, 3, 4)
    mixed = torch.eye(4)[torch.tensor([[0, 1, 2], [1, 2, 3], [2, 3, 0], [3, 0, 1]])]
    loss = Ge2eLoss()
    assert float(loss(apart).detach()) < 0.01 < float(loss(mixed).detach())


def _people(count):
    made = []
    for i in range(count):
        who = {"hz": 100 + 25 * i, "tract": 0.85 + 0.07 * i}
        mels = [warp(speech(2, **who, seed=10 * i + s)).astype(np.float16) for s in range(3)]
        made.append(Pseudo(f"v{i}", 1.0, 1.0, mels))
    return made


def test_training_learns_and_a_seed_gives_the_same_weights_again():
    people = _people(4)
    recipe = Recipe(seed=3, steps=25, speakers=4, crops=2, frames=(40, 60))

    first, losses = train(people, recipe)
    second, again = train(people, recipe)

    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    assert losses == again
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_sentences_are_seeded_and_varied():
    one, two = (sentences(50, np.random.default_rng(s)) for s in (1, 1))
    assert one == two
    assert len(set(one)) > 45


@pytest.mark.skipif(
    shutil.which("flite") is None or shutil.which("festival") is None, reason="needs flite and festival"
)
def test_the_synthesisers_speak():
    try:
        voices = speak_all(1, 0)
    except (
        subprocess.CalledProcessError
    ) as error:  # a voice package may be missing where the programs are not
        pytest.skip(f"a voice is not installed: {error}")
    assert len(voices) == 6
    assert all(len(sounds[0]) > 24000 for sounds in voices.values())
