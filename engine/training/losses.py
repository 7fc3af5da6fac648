"""Losses of the vocoder and the acoustic model."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_SIZES = (256, 512, 1024, 2048)
_FLOOR = 1e-3


def multi_resolution_stft(x: Tensor, y: Tensor, sizes: Sequence[int] = _SIZES) -> Tensor:
    """Mean over sizes of log-magnitude L1 plus half the spectral convergence; (B, N) against (B, N).

    Source: Parallel WaveGAN, Yamamoto, Song and Kim 2020.
    """
    total = x.new_zeros(())
    for size in sizes:
        window = torch.hann_window(size, device=x.device)
        a, b = (_magnitude(wave, size, window) for wave in (x, y))
        convergence = torch.linalg.vector_norm(a - b) / torch.linalg.vector_norm(b).clamp(min=1e-3)
        distance = nn.functional.l1_loss(torch.log(a.clamp(min=_FLOOR)), torch.log(b.clamp(min=_FLOOR)))
        total = total + distance + 0.5 * convergence
    return total / len(sizes)


def _magnitude(wave: Tensor, size: int, window: Tensor) -> Tensor:
    spectrum = torch.stft(wave, size, size // 4, size, window, pad_mode="constant", return_complex=True)
    # the small constant keeps the gradient of the root finite at silence
    return torch.sqrt(spectrum.real**2 + spectrum.imag**2 + 1e-9)


def acoustic_loss(outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> tuple[Tensor, dict[str, float]]:
    """Sum of L1 on mel, log F0 (voiced frames) and log durations, and cross-entropy on voicing.

    Args:
        outputs: log durations (B, T), mel (B, M, F), log F0 (B, F), voicing logits (B, F).
        targets: durations (B, T), mel (B, M, F), F0 in Hz (B, F), frame mask (B, F), token mask (B, T).

    Returns:
        The loss and its parts by name.
    """
    log_d, mel, log_f0, voicing = outputs
    want_d, want_mel, want_f0, frames, tokens = targets
    voiced = (want_f0 > 0).float() * frames
    mel_l1 = ((mel - want_mel).abs().mean(dim=1) * frames).sum() / frames.sum()
    f0_l1 = ((log_f0 - torch.log(want_f0.clamp(min=1.0))).abs() * voiced).sum() / voiced.sum().clamp(min=1)
    entropy = nn.functional.binary_cross_entropy_with_logits(voicing, (want_f0 > 0).float(), reduction="none")
    voicing_ce = (entropy * frames).sum() / frames.sum()
    duration_l1 = ((log_d - torch.log(want_d.clamp(min=0.5).float())).abs() * tokens).sum() / tokens.sum()
    loss = mel_l1 + 3.0 * f0_l1 + 0.3 * voicing_ce + 0.5 * duration_l1
    parts = {"mel": mel_l1, "log_f0": f0_l1, "voicing": voicing_ce, "log_duration": duration_l1}
    return loss, {name: float(value.detach()) for name, value in parts.items()}
