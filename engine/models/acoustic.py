"""The direct acoustic model: aligned phones to durations, then to mel, F0 and voicing, all frames at once.

Source of the arrangement: FastSpeech 2, Ren et al. 2021 (explicit durations and pitch), with ConvNeXt blocks in
place of attention: a sentence's shape is told by the distances to its pauses and ends.
"""

import torch
from torch import Tensor, nn

from engine.config import AcousticConfig, VoiceConfig
from engine.models.layers.convnext import ConvNextBlock
from engine.models.registry import register_acoustic

_LOG_F0_CENTRE, _LOG_F0_SCALE = 5.15, 0.25
_MEL_CENTRE, _MEL_SCALE = -5.5, 2.5


class DirectAcoustic(nn.Module):
    """Phones to frames; see `engine.models.interfaces.AcousticModel`. Tokens beyond a sentence are `pad`."""

    def __init__(self, config: VoiceConfig) -> None:
        super().__init__()
        sizes: AcousticConfig = config.acoustic
        width = sizes.width
        self.pad, self.pause = len(config.phones), config.phones.index("pau")
        self.phone = nn.Embedding(self.pad + 1, width, padding_idx=self.pad)
        self.stress = nn.Embedding(2, width)
        self.first = nn.Embedding(2, width)
        self.place = nn.Linear(5, width)
        self.encoder = nn.ModuleList(
            ConvNextBlock(width, sizes.hidden, kernel=5) for _ in range(sizes.encoder_layers)
        )
        self.duration = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1)
        )
        self.within = nn.Linear(4, width)
        self.decoder = nn.ModuleList(ConvNextBlock(width, sizes.hidden) for _ in range(sizes.layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, config.n_mels + 2)

    def durations(self, tokens: Tensor) -> Tensor:
        """Give (B, T) frames per phone, not rounded."""
        hidden, _ = self._encode(tokens)
        return torch.exp(self.log_durations(hidden))

    def log_durations(self, hidden: Tensor) -> Tensor:
        """Give (B, T) log frames for encoded phones."""
        out: Tensor = self.duration(hidden)[..., 0] + 1.6
        return out.clamp(-1.0, 5.5)

    def forward(self, tokens: Tensor, durations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Give mel, log F0 and voicing logits for (B, T, 3) tokens that last (B, T) frames."""
        hidden, _ = self._encode(tokens)
        return self.decode(hidden, durations)

    def train_forward(self, tokens: Tensor, durations: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Give log durations beside the frames, with one pass of the encoder."""
        hidden, _ = self._encode(tokens)
        return (self.log_durations(hidden), *self.decode(hidden, durations))

    def decode(self, hidden: Tensor, durations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Spread (B, T, D) encoded phones over their frames and give mel, log F0 and voicing logits."""
        index, features, mask = _spread(durations)
        x = hidden.gather(1, index[..., None].expand(-1, -1, hidden.shape[2]))
        x = (x + self.within(features)) * mask
        for block in self.decoder:
            x = block(x, mask)
        out = self.head(self.norm(x)).float()
        mel = out[..., :-2].transpose(1, 2) * _MEL_SCALE + _MEL_CENTRE
        return mel, out[..., -2] * _LOG_F0_SCALE + _LOG_F0_CENTRE, out[..., -1]

    def _encode(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        phones = tokens[..., 0]
        mask = (phones != self.pad)[..., None].to(self.place.weight.dtype)
        x = self.phone(phones) + self.stress(tokens[..., 1]) + self.first(tokens[..., 2])
        x = (x + self.place(self._places(phones).to(x.dtype))) * mask
        for block in self.encoder:
            x = block(x, mask)
        return x, mask

    def _places(self, phones: Tensor) -> Tensor:
        """Return (B, T, 5): log distances from and to the nearest pause and the ends, and the relative place."""
        n = phones.shape[1]
        place = torch.arange(n, device=phones.device).expand_as(phones)
        length = (phones != self.pad).sum(dim=1, keepdim=True)
        pause = phones == self.pause
        before = torch.where(pause, place, torch.zeros_like(place)).cummax(dim=1).values
        after = torch.where(pause, place, torch.full_like(place, n)).flip(1).cummin(dim=1).values.flip(1)
        end = torch.minimum(after, length - 1)
        distances = torch.stack([place - before, end - place, place, length - 1 - place], dim=-1).clamp(min=0)
        relative = place / length.clamp(min=1)
        return torch.cat([torch.log1p(distances.float()) / 3.0, relative[..., None].float()], dim=-1)


def _spread(durations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For every frame: its phone's index, its place in the phone (4 features), and 1 where the frame exists."""
    ends = durations.cumsum(dim=1)
    total = ends[:, -1:]
    frame = torch.arange(int(total.max()), device=durations.device).expand(len(durations), -1).contiguous()
    index = torch.searchsorted(ends, frame, right=True).clamp(max=durations.shape[1] - 1)
    length = durations.gather(1, index).clamp(min=1).float()
    begin = (ends - durations).gather(1, index)
    inside = (frame - begin).float() + 0.5
    share = (inside / length).clamp(0.0, 1.0)
    features = torch.stack([share, torch.log(length) / 3.0, inside.clamp(0, 40) / 10.0,
                            (length - inside).clamp(0, 40) / 10.0], dim=-1)  # fmt: skip
    return index, features, (frame < total)[..., None].to(features.dtype)


register_acoustic("direct", DirectAcoustic)
