"""The source-filter vocoder: a pulse train and noise, each through a filter given frame by frame, then iSTFT.

A stack of ConvNeXt blocks turns mel, F0 and voicing into three numbers per frequency bin: log-magnitude and
phase for the pulses, log-magnitude for the noise. No discriminator; trained by multi-resolution STFT loss.
Sources: the neural source-filter model, Wang, Takaki and Yamagishi 2019; the iSTFT head of Vocos, Siuzdak 2023.
"""

import torch
from torch import Tensor, nn

from engine.config import VocoderConfig, VoiceConfig
from engine.models.layers.convnext import ConvNextBlock
from engine.models.layers.source import continuous, pulses
from engine.models.registry import register_vocoder

_PULSE_BIAS, _NOISE_BIAS = -2.0, -5.0  # a new network starts quiet: exp of these


class SourceFilterVocoder(nn.Module):
    """Turns mel frames and F0 into samples."""

    window: Tensor

    def __init__(self, config: VoiceConfig) -> None:
        super().__init__()
        sizes: VocoderConfig = config.vocoder
        self.rate, self.hop, self.n_fft, self.win = config.rate, config.hop, config.n_fft, config.win
        self.enter = nn.Conv1d(config.n_mels + 2, sizes.width, 7, padding=3)
        self.blocks = nn.ModuleList(ConvNextBlock(sizes.width, sizes.hidden) for _ in range(sizes.layers))
        self.norm = nn.LayerNorm(sizes.width)
        self.head = nn.Linear(sizes.width, 3 * (config.n_fft // 2 + 1))
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("window", torch.hann_window(config.win), persistent=False)

    def forward(self, mel: Tensor, f0: Tensor, noise: Tensor) -> Tensor:
        """Give the samples.

        Args:
            mel: (B, n_mels, F) natural log.
            f0: (B, F) in Hz, 0 where unvoiced.
            noise: (B, (F - 1) * hop) of unit variance; the caller draws it.

        Returns:
            (B, (F - 1) * hop) samples, not yet bounded.
        """
        pulse, phase, hiss = self._filters(mel, f0)
        source = self._spectrum(pulses(f0, self.hop, self.rate))
        # real arithmetic: exp of a complex tensor is not the same on every torch
        gain = torch.exp(pulse)
        voiced = source * torch.complex(gain * torch.cos(phase), gain * torch.sin(phase))
        spectrum = voiced + self._spectrum(noise) * torch.exp(hiss)
        out: Tensor = torch.istft(
            spectrum, self.n_fft, self.hop, self.win, self.window, center=True, length=noise.shape[1]
        )
        return out

    def _filters(self, mel: Tensor, f0: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log-magnitude and phase for pulses, log-magnitude for noise; each (B, bins, F)."""
        pitch = torch.log(continuous(f0)) - 5.0
        voiced = (f0 > 0).to(mel.dtype)
        x = torch.cat([(mel + 5.0) / 3.0, pitch[:, None], voiced[:, None]], dim=1)
        x = self.enter(x).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        pulse, phase, hiss = self.head(self.norm(x)).float().transpose(1, 2).chunk(3, dim=1)
        return (pulse + _PULSE_BIAS).clamp(max=6.0), phase, (hiss + _NOISE_BIAS).clamp(max=4.0)

    def _spectrum(self, x: Tensor) -> Tensor:
        return torch.stft(
            x,
            self.n_fft,
            self.hop,
            self.win,
            self.window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )


register_vocoder("source-filter", SourceFilterVocoder)
