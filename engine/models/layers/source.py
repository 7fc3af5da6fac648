"""The pulse train that drives the vocoder: all harmonics of F0 below half the rate, in closed form."""

import math

import torch
from torch import Tensor


def to_samples(frames: Tensor, hop: int) -> Tensor:
    """Interpolate (B, F) frame values linearly to ((F - 1) * hop) samples: frame i stands at sample i * hop."""
    ramp = torch.arange(hop, device=frames.device, dtype=frames.dtype) / hop
    steps = frames[:, :-1, None] + (frames[:, 1:] - frames[:, :-1])[:, :, None] * ramp
    return steps.flatten(1)


def continuous(f0: Tensor) -> Tensor:
    """Fill unvoiced frames of (B, F) with the F0 before them, else the one after; 100 Hz where nothing is voiced."""
    voiced = f0 > 0
    place = torch.arange(f0.shape[1], device=f0.device).expand_as(f0)
    last = torch.where(voiced, place, torch.full_like(place, -1)).cummax(dim=1).values
    first = voiced.to(torch.int64).argmax(dim=1, keepdim=True).expand_as(place)
    filled = f0.gather(1, torch.where(last >= 0, last, first))
    return torch.where(filled > 0, filled, torch.full_like(filled, 100.0))


def pulses(f0: Tensor, hop: int, rate: int) -> Tensor:
    """Return (B, (F - 1) * hop) samples of a band-limited pulse train of unit power, 0 where unvoiced.

    The sum of K cosines is Dirichlet's kernel, (sin((K + 1/2) x) / sin(x / 2) - 1) / 2; dividing by sqrt(K / 2)
    gives unit power. The phase is summed in float64 (float32 where a device has nothing else).

    Args:
        f0: (B, F) in Hz, 0 where unvoiced.
        hop: Samples per frame.
        rate: Samples per second.
    """
    exact = torch.float32 if f0.device.type == "mps" else torch.float64
    pitch = to_samples(continuous(f0).to(exact), hop)
    voiced = to_samples((f0 > 0).to(exact), hop) > 0.5
    turns = torch.cumsum(pitch / rate, dim=1)
    phase = 2.0 * math.pi * (turns - torch.floor(turns))
    count = torch.floor(0.5 * rate / pitch)
    half = torch.sin(0.5 * phase)
    near_peak = half.abs() < 1e-4
    kernel = torch.sin((count + 0.5) * phase) / torch.where(near_peak, torch.ones_like(half), half)
    total = torch.where(near_peak, count, 0.5 * (kernel - 1.0))
    return (total / torch.sqrt(0.5 * count) * voiced).to(f0.dtype)
