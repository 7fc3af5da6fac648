"""The semantic decoder: a Transformer over phones or sub-words, in plain torch.

Source: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019 (GPT-2: pre-norm blocks,
learned positions). Its blocks take a GPT-2 checkpoint's weights and give that checkpoint's numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from engine.errors import BadVoice

MAX_POSITIONS = 1024
_IGNORED = (".attn.bias", ".attn.masked_bias")  # causal masks that old checkpoints stored as buffers
_TRANSPOSED = (".attn.c_attn.weight", ".attn.c_proj.weight", ".mlp.c_fc.weight", ".mlp.c_proj.weight")

Cache = list[tuple[Tensor, Tensor]]  # per layer: keys and values, each (B, H, T, D / H)


class TextSemanticDecoder(nn.Module):
    """Tokens, or embeddings of a width `hidden_size`, to context vectors of the same width.

    The trunk (everything but the projection) can be frozen, so that a small set of recordings tunes the
    projection alone.
    """

    def __init__(
        self,
        vocab_size: int = 500,
        hidden_size: int = 768,
        num_layers: int = 6,
        *,
        num_heads: int = 12,
        inner_size: int = 3072,
        max_positions: int = MAX_POSITIONS,
    ) -> None:
        super().__init__()
        if hidden_size % num_heads:
            raise ValueError(f"{hidden_size} dimensions cannot be divided among {num_heads} heads")
        self.max_positions = max_positions
        self.wte = nn.Embedding(vocab_size, hidden_size)
        self.wpe = nn.Embedding(max_positions, hidden_size)
        self.h = nn.ModuleList(Block(hidden_size, num_heads, inner_size) for _ in range(num_layers))
        self.ln_f = nn.LayerNorm(hidden_size, eps=1e-5)
        self.proj = nn.Linear(hidden_size, hidden_size)
        self.apply(_initialise)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> Tensor:
        """Give the projected last hidden state.

        Args:
            input_ids: (B, T) integers below `vocab_size`; or
            inputs_embeds: (B, T, D) in their place.
            attention_mask: (B, T), 1 where a position may be attended to, 0 for padding on either side.
                Positions count from 0 whatever the mask, as in GPT-2.

        Returns:
            (B, T, D): `proj` of the hidden state after the last norm.

        Raises:
            ValueError: Both or neither of ids and embeddings, a wrong shape, or more than 1024 positions.
        """
        result: Tensor = self.proj(self.hidden(input_ids, attention_mask, inputs_embeds))
        return result

    def hidden(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> Tensor:
        """The last hidden state itself, before the projection: (B, T, D)."""
        x = self._embedded(input_ids, inputs_embeds)
        self._check_length(x.shape[1], 0)
        x = x + self.wpe(torch.arange(x.shape[1], device=x.device))
        bias = _mask_bias(attention_mask, x)
        for block in self.h:
            x, _ = block(x, bias, None)
        result: Tensor = self.ln_f(x)
        return result

    def step(self, input_ids: Tensor, cache: Cache | None = None) -> tuple[Tensor, Cache]:
        """Go on from a cache, without padding: the same numbers as `forward` over the whole sequence.

        Args:
            input_ids: (B, T) the new tokens only.
            cache: What the last call returned, or None at the start; it stays as it is.

        Returns:
            (B, T, D) for the new tokens, and the longer cache.

        Raises:
            ValueError: Old and new tokens together exceed 1024 positions.
        """
        past = cache[0][0].shape[2] if cache else 0
        x = self._embedded(input_ids, None)
        self._check_length(x.shape[1], past)
        x = x + self.wpe(torch.arange(past, past + x.shape[1], device=x.device))
        longer: Cache = []
        for i, block in enumerate(self.h):
            x, kept = block(x, None, cache[i] if cache else None)
            longer.append(kept)
        return self.proj(self.ln_f(x)), longer

    def freeze_trunk(self, *, frozen: bool = True) -> TextSemanticDecoder:
        """Take gradients from everything but the projection, or give them back."""
        for name, parameter in self.named_parameters():
            if not name.startswith("proj."):
                parameter.requires_grad_(not frozen)
        return self

    def trainable(self) -> Iterator[nn.Parameter]:
        """The parameters that an optimiser should get now."""
        return (parameter for parameter in self.parameters() if parameter.requires_grad)

    def load_gpt2(self, state_dict: Mapping[str, Tensor], proj_state_dict: Mapping[str, Tensor]) -> None:
        """Take the weights of a GPT-2 model and of a projection; all of them or none.

        Args:
            state_dict: Of transformers' GPT2Model (or a larger model that holds one as "transformer.").
                Its dense layers store (inputs, outputs) and are transposed here.
            proj_state_dict: "weight" and "bias" of a Linear(D, D).

        Raises:
            BadVoice: Keys are missing, unknown or of another shape; the message names every one.
        """
        theirs: dict[str, Tensor] = {}
        for name, value in state_dict.items():
            short = name[len("transformer.") :] if name.startswith("transformer.") else name
            if not short.endswith(_IGNORED):
                theirs[short] = value.t() if short.endswith(_TRANSPOSED) and value.ndim == 2 else value
        for name, value in proj_state_dict.items():
            theirs[f"proj.{name}"] = value
        own = self.state_dict()
        faults = [f"missing {name}" for name in sorted(own.keys() - theirs.keys())]
        faults += [f"unknown {name}" for name in sorted(theirs.keys() - own.keys())]
        for name in sorted(own.keys() & theirs.keys()):
            if own[name].shape != theirs[name].shape:
                faults.append(f"{name} is {tuple(theirs[name].shape)}, not {tuple(own[name].shape)}")
        if faults:
            raise BadVoice("these weights do not fit the semantic decoder: " + "; ".join(faults))
        self.load_state_dict(theirs)

    def _embedded(self, input_ids: Tensor | None, inputs_embeds: Tensor | None) -> Tensor:
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds, and not both")
        if input_ids is not None:
            if input_ids.ndim != 2:
                raise ValueError(f"input_ids must have shape (B, T), not {tuple(input_ids.shape)}")
            embedded: Tensor = self.wte(input_ids)
            return embedded
        assert inputs_embeds is not None
        width = self.wte.embedding_dim
        if inputs_embeds.ndim != 3 or inputs_embeds.shape[2] != width:
            raise ValueError(
                f"inputs_embeds must have shape (B, T, {width}), not {tuple(inputs_embeds.shape)}"
            )
        return inputs_embeds

    def _check_length(self, new: int, past: int) -> None:
        if past + new > self.max_positions:
            raise ValueError(
                f"{past + new} positions are more than the {self.max_positions} that can be told apart"
            )


class Block(nn.Module):
    """Norm, attention, norm, feed-forward; each adds to what it was given."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width, eps=1e-5)
        self.attn = Attention(width, heads)
        self.ln_2 = nn.LayerNorm(width, eps=1e-5)
        self.mlp = FeedForward(width, inner)

    def forward(
        self, x: Tensor, bias: Tensor | None, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """(B, T, D) -> the same shape, and the keys and values for the next step."""
        attended, kept = self.attn(self.ln_1(x), bias, past)
        x = x + attended
        return x + self.mlp(self.ln_2(x)), kept


class Attention(nn.Module):
    """Causal self-attention, written out: one result on every torch."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.c_attn = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)

    def forward(
        self, x: Tensor, bias: Tensor | None, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Attend from each position to itself and those before it.

        Args:
            x: (B, T, D).
            bias: (B, 1, 1, T) added to the scores, or None.
            past: Keys and values of earlier positions, each (B, H, P, D / H).
        """
        B, T, D = x.shape
        q, k, v = (
            part.view(B, T, self.heads, D // self.heads).transpose(1, 2)
            for part in self.c_attn(x).split(D, dim=2)
        )
        if past is not None:
            k, v = torch.cat((past[0], k), dim=2), torch.cat((past[1], v), dim=2)
        scores = q @ k.transpose(-2, -1) / math.sqrt(D // self.heads)  # (B, H, T, P + T)
        allowed = torch.ones(T, k.shape[2], dtype=torch.bool, device=x.device).tril(k.shape[2] - T)
        lowest = torch.finfo(x.dtype).min
        scores = scores.masked_fill(~allowed, lowest)
        if bias is not None:
            scores = (scores + bias).clamp(min=lowest)
        mixed = (scores.softmax(dim=-1) @ v).transpose(1, 2).reshape(B, T, D)
        return self.c_proj(mixed), (k, v)


class FeedForward(nn.Module):
    """Two dense layers around GELU in its tanh form (gelu_new)."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, inner)
        self.act = nn.GELU(approximate="tanh")
        self.c_proj = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        result: Tensor = self.c_proj(self.act(self.c_fc(x)))
        return result


def _mask_bias(mask: Tensor | None, x: Tensor) -> Tensor | None:
    """A padding mask (B, T) as (B, 1, 1, T): 0 where open, the lowest number of the type where closed."""
    if mask is None:
        return None
    if mask.shape != x.shape[:2]:
        raise ValueError(f"attention_mask must have shape {tuple(x.shape[:2])}, not {tuple(mask.shape)}")
    closed = (mask == 0)[:, None, None, :]
    return torch.zeros(closed.shape, dtype=x.dtype, device=x.device).masked_fill(
        closed, torch.finfo(x.dtype).min
    )


def _initialise(module: nn.Module) -> None:
    """GPT-2's initial weights: normal with 0.02, biases zero."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
