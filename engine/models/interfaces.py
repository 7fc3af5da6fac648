"""What a part must offer to stand in a voice; a second implementation registers itself and changes nothing else."""

from typing import Protocol

from torch import Tensor


class AcousticModel(Protocol):
    """Phones to frames. Tokens are (B, T, 3): phone index, stress 0 or 1, first of its word 0 or 1."""

    def durations(self, tokens: Tensor) -> Tensor:
        """Give (B, T) frames per phone, not rounded, > 0."""
        ...

    def __call__(self, tokens: Tensor, durations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Give mel (B, n_mels, F), log F0 (B, F) and voicing logits (B, F), F = the largest sum of durations."""
        ...


class Vocoder(Protocol):
    """Frames to samples."""

    def __call__(self, mel: Tensor, f0: Tensor, noise: Tensor) -> Tensor:
        """Give (B, (F - 1) * hop) samples for mel (B, n_mels, F), F0 (B, F) in Hz and unit noise."""
        ...
