"""The speaker encoder: unit vectors, indifferent to level and rate, nearer within a person than between two."""

import json

import numpy as np
import pytest
import torch

from engine import safetensors
from engine.audio.resample import resample
from engine.errors import BadAudio, BadVoice
from engine.models.speaker import ASSET, SPEC, SpeakerEncoder
from tests.unit.engine.voices import HIGH, LOW, RATE, speech


@pytest.fixture(scope="module")
def encoder():
    return SpeakerEncoder.pretrained()


@pytest.fixture(scope="module")
def voices():
    return {name: [speech(8, **who, seed=s) for s in (1, 2)] for name, who in (("low", LOW), ("high", HIGH))}


@pytest.mark.parametrize("shape", [(24000,), (1, 24000), (3, 5000), (2, 1)])
def test_any_batch_of_waveforms_gives_unit_vectors(shape):
    out = SpeakerEncoder()(torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 0.1)
    assert out.shape == (1 if len(shape) == 1 else shape[0], 256)
    assert torch.allclose(out.norm(dim=1), torch.ones(len(out)), atol=1e-5)


def test_a_new_encoder_reads_no_file(monkeypatch):
    monkeypatch.setattr("builtins.open", None)
    monkeypatch.setattr("os.open", None)
    assert SpeakerEncoder()(torch.ones(1, 4000)).shape == (1, 256)


def test_silence_has_a_direction_too():
    assert bool(torch.isfinite(SpeakerEncoder()(torch.zeros(1, 24000))).all())


@pytest.mark.parametrize("shape", [(0,), (1, 0), (1, 2, 100)])
def test_what_is_no_batch_of_waveforms_is_refused(shape):
    with pytest.raises(BadAudio):
        SpeakerEncoder()(torch.zeros(shape))


def test_it_is_the_network_of_the_article():
    encoder = SpeakerEncoder()
    assert (SPEC.n_mels, SPEC.rate) == (80, 24000)
    assert (encoder.gru.input_size, encoder.gru.hidden_size, encoder.gru.num_layers) == (80, 256, 1)


def test_it_learns():
    encoder = SpeakerEncoder()
    out = encoder(torch.randn(2, 8000) * 0.1)
    (out[0] @ out[1]).backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in encoder.parameters())


def test_one_person_is_nearer_than_another(encoder, voices):
    (low_a, low_b), (high_a, high_b) = ([encoder.embed(x, RATE) for x in voices[k]] for k in ("low", "high"))
    for one, two in ((low_a, low_b), (high_a, high_b)):
        for other in (high_a, high_b) if one is low_a else (low_a, low_b):
            assert one @ two > one @ other + 0.2
            assert two @ one > two @ other + 0.2


@pytest.mark.parametrize("gain", [0.1, 5.0])
def test_level_does_not_matter(encoder, gain):
    x = speech(8, **LOW, seed=1, noise=0)
    assert encoder.embed(x, RATE) @ encoder.embed(x * np.float32(gain), RATE) > 0.98


def test_the_sampling_rate_does_not_matter(encoder, voices):
    x = voices["low"][0]
    assert encoder.embed(x, RATE) @ encoder.embed(resample(x, RATE, 48000), 48000) > 0.99


def test_pauses_do_not_matter(encoder, voices):
    x = voices["low"][0]
    silence = np.random.default_rng(0).normal(0, 0.0005, 4 * RATE).astype(np.float32)
    assert encoder.embed(x, RATE) @ encoder.embed(np.concatenate([silence, x, silence]), RATE) > 0.9


def test_a_long_recording_is_heard_in_windows(encoder):
    windows = encoder.embed_windows(speech(20, **LOW), RATE)
    assert windows.shape[0] >= 8
    assert windows.shape[1] == 256
    assert np.allclose(np.linalg.norm(windows, axis=1), 1, atol=1e-5)


def test_without_speech_there_is_no_speaker(encoder):
    with pytest.raises(BadAudio, match="no speech"):
        encoder.embed(np.zeros(48000, np.float32), RATE)


def test_the_weights_that_ship_are_small_and_say_where_they_come_from():
    assert ASSET.stat().st_size < 2_000_000
    _, metadata = safetensors.read(ASSET)
    assert json.loads(metadata["recipe"])["seed"] == 0
    assert json.loads(metadata["voices"])
    assert {"CARD.md", "LICENSES.md"} <= {p.name for p in ASSET.parent.iterdir()}


def test_saved_weights_come_back(tmp_path):
    encoder = SpeakerEncoder().eval()
    encoder.save(tmp_path / "e.safetensors", metadata={"recipe": "none"})
    x = torch.randn(1, 9000) * 0.1
    with torch.no_grad():
        assert torch.allclose(encoder(x), SpeakerEncoder.pretrained(tmp_path / "e.safetensors")(x), atol=5e-3)


def test_foreign_or_missing_weights_are_refused(tmp_path):
    with pytest.raises(BadVoice, match="missing"):
        SpeakerEncoder.pretrained(tmp_path / "none.safetensors")
    safetensors.write(tmp_path / "x.safetensors", {"a": np.zeros(3, np.float32)}, {"format": "other"})
    with pytest.raises(BadVoice, match="not a file of speaker encoder weights"):
        SpeakerEncoder.pretrained(tmp_path / "x.safetensors")
    safetensors.write(
        tmp_path / "x.safetensors", {"a": np.zeros(3, np.float32)}, {"format": "vlm-speaker-encoder/1"}
    )
    with pytest.raises(BadVoice, match="gru"):
        SpeakerEncoder.pretrained(tmp_path / "x.safetensors")
