"""Our mel spectrogram beside the filter banks of transformers, and torch beside numpy."""

import numpy as np
import pytest
import torch

from engine.audio.backend import torchaudio
from engine.audio.errors import AudioError
from engine.audio.mel import FLOOR, MelSpec, log_mel, log_mel_torch, mel_bank

SPEC = MelSpec(24000, 1024, 1024, 256, 80, 0, 12000)
SPECS = [
    SPEC,
    MelSpec(16000, 1024, 800, 200, 80, 0, 8000),
    MelSpec(24000, 2048, 1024, 400, 80, 60, 7600, power=2, scale="htk"),
    MelSpec(22050, 512, 511, 100, 20, 125, 7600),
]


def _noise(n, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, n).astype(np.float32)


@pytest.mark.parametrize("spec", SPECS)
def test_the_filters_are_those_of_transformers(spec):
    audio_utils = pytest.importorskip("transformers.audio_utils")
    norm = "slaney" if spec.scale == "slaney" else None
    theirs = audio_utils.mel_filter_bank(
        spec.n_fft // 2 + 1, spec.n_mels, spec.fmin, spec.fmax, spec.rate, norm=norm, mel_scale=spec.scale
    )
    assert np.abs(mel_bank(spec) - theirs.T).max() < 1e-9


@pytest.mark.parametrize("spec", SPECS)
def test_the_spectrogram_is_that_of_transformers(spec):
    audio_utils = pytest.importorskip("transformers.audio_utils")
    x = _noise(9000)
    window = np.zeros(spec.n_fft)
    left = (spec.n_fft - spec.win) // 2
    window[left : left + spec.win] = audio_utils.window_function(spec.win, "hann", periodic=True)
    theirs = audio_utils.spectrogram(
        x.astype(np.float64),
        window,
        spec.n_fft,
        spec.hop,
        power=float(spec.power),
        center=True,
        pad_mode="reflect",
        mel_filters=mel_bank(spec).T,
        mel_floor=FLOOR,
        log_mel=None,
    )
    assert np.abs(np.exp(log_mel(x, spec)) - theirs).max() / theirs.max() < 1e-5


def test_torchaudio_agrees_where_it_loads():
    module = torchaudio()
    if module is None:
        pytest.skip("torchaudio does not load here")
    spec, x = SPECS[2], torch.from_numpy(_noise(24000))[None]
    mel = module.transforms.MelSpectrogram(
        spec.rate, spec.n_fft, spec.win, spec.hop, spec.fmin, spec.fmax, n_mels=spec.n_mels
    )
    assert torch.allclose(mel(x).clamp(min=FLOOR).log(), log_mel_torch(x, spec), atol=1e-3)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("n", [1, 2, 300, 1024, 5000])
def test_torch_and_numpy_agree_at_every_length(spec, n):
    x = _noise(n)
    ours = log_mel(x, spec)
    twin = log_mel_torch(torch.from_numpy(x)[None], spec)[0].numpy()
    assert ours.shape == (spec.n_mels, 1 + n // spec.hop)
    assert np.abs(ours - twin).max() < 1e-4


def test_they_agree_in_bands_that_are_nearly_silent():
    t = np.arange(24000) / 24000
    x = (0.9 * np.sin(2 * np.pi * 300 * t)).astype(np.float32)
    assert np.abs(log_mel(x, SPEC) - log_mel_torch(torch.from_numpy(x)[None], SPEC)[0].numpy()).max() < 1e-4


def test_a_tone_is_loudest_in_its_band():
    t = np.arange(24000) / 24000
    for hz in (200.0, 1000.0, 5000.0):
        mel = log_mel(np.sin(2 * np.pi * hz * t).astype(np.float32), SPEC).mean(axis=1)
        centre = np.argmax(mel_bank(SPEC)[int(mel.argmax())]) * 24000 / 1024
        assert abs(centre - hz) < 120


def test_silence_is_the_floor():
    assert np.allclose(log_mel(np.zeros(4000, np.float32), SPEC), np.log(FLOOR))


def test_the_torch_twin_has_gradients_also_for_silence():
    x = torch.zeros(2, 3000)
    x[1] = torch.randn(3000) * 0.1
    x.requires_grad_(True)
    log_mel_torch(x, SPEC).sum().backward()
    assert bool(torch.isfinite(x.grad).all())
    assert float(x.grad[1].abs().sum()) > 0


def test_rows_of_a_batch_do_not_touch_each_other():
    x = torch.from_numpy(np.stack([_noise(4000, 1), _noise(4000, 2)]))
    both = log_mel_torch(x, SPEC)
    assert torch.equal(both[1:], log_mel_torch(x[1:], SPEC))


@pytest.mark.parametrize(
    "wrong",
    [
        {"hop": 0},
        {"win": 2000},
        {"win": 0},
        {"fmax": 13000.0},
        {"fmin": 5000.0, "fmax": 4000.0},
        {"n_mels": 0},
    ],
)
def test_an_impossible_specification_is_refused(wrong):
    fields = {"rate": 24000, "n_fft": 1024, "win": 1024, "hop": 256, "n_mels": 80, "fmin": 0, "fmax": 12000}
    with pytest.raises(AudioError):
        MelSpec(**{**fields, **wrong})


def test_nothing_has_no_spectrogram():
    with pytest.raises(AudioError):
        log_mel(np.zeros(0, np.float32), SPEC)
    with pytest.raises(AudioError):
        log_mel_torch(torch.zeros(1, 0), SPEC)
    with pytest.raises(AudioError):
        log_mel_torch(torch.zeros(5), SPEC)
