"""One training loop for every model: cosine schedule over a budget, gradient clipping, checkpoints that resume."""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine import safetensors
from engine.errors import BadVoice, Cancelled


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: the budget in seconds of `clock` or in steps, whichever ends first."""

    budget_s: float
    peak_rate: float
    max_steps: int = 10**9
    warmup: int = 50
    betas: tuple[float, float] = (0.8, 0.99)
    clip: float = 1.0
    checkpoint_s: float = 60.0
    clock: Callable[[], float] = time.process_time


@dataclass(frozen=True)
class Progress:
    """Where a run stands; `done` goes from 0 to 1."""

    step: int
    loss: float
    done: float
    seconds: float


def run(
    net: nn.Module,
    step: Callable[[int], Tensor],
    schedule: Schedule,
    *,
    checkpoint: Path | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> list[float]:
    """Train `net` in place and return the loss of every step, those before a resume included.

    Args:
        net: What is trained.
        step: Gives the loss of step number n; its data must depend on n alone, so that a resumed run sees the same.
        schedule: Budget and rates.
        checkpoint: File to resume from and to write every `checkpoint_s` seconds.
        progress: Called after every step.
        cancelled: Asked before every step.

    Raises:
        Cancelled: `cancelled` said so; the checkpoint holds the last finished step.
    """
    optimiser = torch.optim.AdamW(
        net.parameters(), lr=schedule.peak_rate, betas=schedule.betas, weight_decay=1e-4
    )
    losses, spent = _resume(net, optimiser, checkpoint)
    start = schedule.clock() - spent
    saved = schedule.clock()
    net.train()
    while (seconds := schedule.clock() - start) < schedule.budget_s and len(losses) < schedule.max_steps:
        if cancelled():
            _save(net, optimiser, checkpoint, losses, seconds)
            raise Cancelled("the training was stopped; it goes on from its checkpoint")
        done = max(seconds / schedule.budget_s, len(losses) / schedule.max_steps)
        rate = schedule.peak_rate * min(1.0, (len(losses) + 1) / schedule.warmup)
        for group in optimiser.param_groups:
            group["lr"] = rate * (0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * done)))
        loss = step(len(losses))
        optimiser.zero_grad()
        torch.autograd.backward([loss])
        nn.utils.clip_grad_norm_(net.parameters(), schedule.clip)
        optimiser.step()
        losses.append(float(loss.detach()))
        progress(Progress(len(losses), losses[-1], done, seconds))
        if schedule.clock() - saved > schedule.checkpoint_s:
            _save(net, optimiser, checkpoint, losses, schedule.clock() - start)
            saved = schedule.clock()
    net.eval()
    return losses


def arrays(net: nn.Module, prefix: str = "") -> dict[str, NDArray[Any]]:
    """Return the state of a network as arrays by name."""
    return {prefix + name: value.detach().cpu().numpy().copy() for name, value in net.state_dict().items()}


def load_arrays(net: nn.Module, tensors: Mapping[str, NDArray[Any]], prefix: str = "") -> None:
    """Give `net` the arrays whose names start with `prefix`; a missing, extra or misshapen one is an error.

    Raises:
        BadVoice: It names what is missing, extra or misshapen.
    """
    given = {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
    want = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    wrong = sorted(set(given) ^ set(want)) or sorted(n for n in want if tuple(given[n].shape) != want[n])
    if wrong:
        raise BadVoice(
            f'the weights do not fit the model at "{prefix}{wrong[0][:60]}" and {len(wrong) - 1} others'
        )
    net.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in given.items()})


def _save(
    net: nn.Module, optimiser: torch.optim.Optimizer, path: Path | None, losses: list[float], spent: float
) -> None:
    if path is None:
        return
    tensors = arrays(net, "net.")
    for index, parameter in enumerate(net.parameters()):
        state = optimiser.state.get(parameter, {})
        for name in ("exp_avg", "exp_avg_sq"):
            if name in state:
                tensors[f"adam.{index}.{name}"] = state[name].detach().numpy().copy()
    tensors["losses"] = np.array(losses, dtype=np.float64)
    safetensors.write(path, tensors, {"spent": json.dumps(spent)})


def _resume(net: nn.Module, optimiser: torch.optim.Optimizer, path: Path | None) -> tuple[list[float], float]:
    if path is None or not path.is_file():
        return [], 0.0
    tensors, metadata = safetensors.read(path)
    load_arrays(net, tensors, "net.")
    losses = [float(value) for value in tensors["losses"]]
    for index, parameter in enumerate(net.parameters()):
        if f"adam.{index}.exp_avg" in tensors:
            optimiser.state[parameter] = {
                "step": torch.tensor(float(len(losses))),
                "exp_avg": torch.from_numpy(tensors[f"adam.{index}.exp_avg"]),
                "exp_avg_sq": torch.from_numpy(tensors[f"adam.{index}.exp_avg_sq"]),
            }
    return losses, float(json.loads(metadata["spent"]))
