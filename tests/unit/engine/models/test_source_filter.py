"""The pulse train has the pitch and the power it should; the vocoder and the acoustic model keep their shapes."""

import numpy as np
import pytest
import torch

from engine.config import AcousticConfig, VocoderConfig, VoiceConfig
from engine.errors import BadVoice
from engine.models.layers.source import continuous, pulses, to_samples
from engine.models.registry import build_acoustic, build_vocoder, register_vocoder
from engine.text.symbols import PHONES

SMALL = VoiceConfig(
    phones=PHONES,
    acoustic=AcousticConfig(width=8, hidden=16, encoder_layers=1, layers=1),
    vocoder=VocoderConfig(width=8, hidden=16, layers=1),
)


@pytest.mark.parametrize("hz", [80.0, 123.4, 220.0, 400.0])
def test_the_pulse_train_has_unit_power_and_peaks_at_the_harmonics(hz):
    wave = pulses(torch.full((1, 161), hz), 200, 16000)[0].numpy()

    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    strongest = np.argsort(spectrum)[-1] * 16000 / len(wave)
    nearest = round(strongest / hz) * hz
    assert np.mean(wave**2) == pytest.approx(1.0, abs=0.05)
    assert abs(strongest - nearest) < 1.5


def test_unvoiced_frames_are_silent_and_others_are_not():
    f0 = torch.cat([torch.full((1, 40), 100.0), torch.zeros(1, 41)], dim=1)

    wave = pulses(f0, 200, 16000)[0]

    assert wave[: 39 * 200].abs().mean() > 0.1
    assert wave[41 * 200 :].abs().max() == 0


def test_frames_become_samples_along_straight_lines():
    got = to_samples(torch.tensor([[0.0, 4.0, 0.0]]), 4)

    assert got.tolist() == [[0, 1, 2, 3, 4, 3, 2, 1]]


def test_gaps_take_the_pitch_before_them_or_the_first_one():
    got = continuous(torch.tensor([[0.0, 100.0, 0.0, 200.0, 0.0], [0.0] * 5]))

    assert got.tolist() == [[100, 100, 100, 200, 200], [100] * 5]


def test_the_vocoder_gives_one_hop_of_samples_per_frame():
    vocoder = build_vocoder(SMALL)

    out = vocoder(torch.randn(2, 80, 11), torch.full((2, 11), 120.0), torch.randn(2, 2000))

    assert out.shape == (2, 2000)
    assert torch.isfinite(out).all()


def test_padding_of_a_batch_does_not_change_a_sentence():
    torch.manual_seed(0)
    model = build_acoustic(SMALL).eval()
    short = torch.randint(0, 41, (1, 6, 3)).clamp(max=40)
    short[..., 1:] %= 2
    padded = torch.zeros(1, 9, 3, dtype=torch.int64)
    padded[..., 0] = len(PHONES)
    padded[:, :6] = short
    frames = torch.full((1, 6), 4)
    with torch.no_grad():
        alone = model(short, frames)[0]
        beside = model(padded, torch.nn.functional.pad(frames, (0, 3)))[0]
        lengths = model.durations(short), model.durations(padded)[:, :6]

    torch.testing.assert_close(alone, beside[..., :24], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(*lengths, atol=1e-4, rtol=1e-4)


def test_a_second_vocoder_takes_its_place_by_one_registration():
    class Silence(torch.nn.Module):
        def __init__(self, config):
            super().__init__()
            self.hop = config.hop

        def forward(self, mel, f0, noise):
            return torch.zeros(len(mel), (mel.shape[2] - 1) * self.hop)

    register_vocoder("silence", Silence)
    config = VoiceConfig(phones=PHONES, vocoder=VocoderConfig(kind="silence"))

    assert build_vocoder(config)(torch.zeros(1, 80, 3), torch.zeros(1, 3), torch.zeros(1, 400)).shape == (
        1,
        400,
    )


def test_a_part_that_nobody_registered_is_refused_by_its_name():
    with pytest.raises(BadVoice, match="warbler"):
        build_vocoder(VoiceConfig(phones=PHONES, vocoder=VocoderConfig(kind="warbler")))
