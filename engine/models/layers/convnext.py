"""A ConvNeXt block over time. Source: ConvNeXt, Liu et al. 2022, in the one-dimensional form of Vocos, Siuzdak 2023."""

import torch
from torch import Tensor, nn


class ConvNextBlock(nn.Module):
    """Depthwise convolution over time, then two dense layers per frame, added to the input with a learned scale."""

    def __init__(self, width: int, hidden: int, *, kernel: int = 7, scale: float = 0.3) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map (B, F, D) to (B, F, D); where `mask` (B, F, 1) is 0, the output stays 0."""
        y = self.depthwise(x.transpose(1, 2)).transpose(1, 2)
        y = self.contract(nn.functional.gelu(self.expand(self.norm(y))))
        x = x + self.scale * y
        return x if mask is None else x * mask
