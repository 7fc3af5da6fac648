"""Who speaks, as a unit vector: mel spectrogram, one recurrent layer, one projection.

Source: the network of Jia et al., "Transfer learning from speaker verification...", 2018, with a GRU.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from engine import safetensors
from engine.audio.mel import MelSpec, log_mel_torch
from engine.audio.resample import resample
from engine.audio.slice import speech_only, speech_segments
from engine.compat import reproducible
from engine.errors import BadAudio, BadVoice

RATE_HZ = 24_000
WIDTH = 256  # D: of the recurrent state and of the embedding
SPEC = MelSpec(RATE_HZ, n_fft=2048, win=1024, hop=400, n_mels=80, fmin=60, fmax=7600, power=2, scale="htk")
WINDOW_S, STEP_S = 1.5, 0.5  # a recording is heard in windows of this length; shorter ones vary less together
ASSET = Path(__file__).resolve().parent.parent / "assets" / "speaker" / "speaker.safetensors"
_FORMAT = "vlm-speaker-encoder/1"
_BATCH = 32
_RMS = 0.05  # every waveform is brought to this level
_RANGE = (
    50 * math.log(10.0) / 10.0
)  # what lies 50 dB under the mean power is room, coder or filter, not voice


class SpeakerEncoder(nn.Module):
    """Mel (80 bands of 24 kHz) -> GRU (256) -> last state -> linear -> unit vector of 256 numbers.

    A new instance reads no file and knows nothing; `pretrained` gives one that was trained.
    """

    def __init__(self, n_mels: int = SPEC.n_mels, width: int = WIDTH) -> None:
        super().__init__()
        self.mel_mean: Tensor
        self.mel_scale: Tensor
        self.register_buffer("mel_mean", torch.zeros(n_mels))
        self.register_buffer("mel_scale", torch.full((n_mels,), 0.3))
        self.gru = nn.GRU(n_mels, width, batch_first=True)
        self.proj = nn.Linear(width, width)

    def forward(self, wav: Tensor) -> Tensor:
        """Embed waveforms.

        Args:
            wav: (B, N) or (N,) floats, 24 kHz, mono, N > 0.

        Returns:
            (B, 256) of unit norm; B is 1 for a single row.

        Raises:
            BadAudio: Another rank, or no samples.
        """
        if wav.ndim == 1:
            wav = wav[None]
        if wav.ndim != 2 or wav.shape[1] == 0:
            raise BadAudio(f"the speaker encoder hears samples of shape (B, N), not {tuple(wav.shape)}")
        wav = wav.to(self.proj.weight.dtype)
        level = wav.square().mean(dim=1, keepdim=True).sqrt()
        return self.embed_mel(log_mel_torch(wav * (_RMS / level.clamp(min=1e-7)), SPEC))

    def embed_mel(self, mel: Tensor) -> Tensor:
        """(B, n_mels, F) log-mels of SPEC -> (B, 256); the level of the recording plays no part."""
        mel = floored(mel)
        mel = mel - mel.mean(dim=(1, 2), keepdim=True)
        frames = (mel.transpose(1, 2) - self.mel_mean) * self.mel_scale  # (B, F, n_mels)
        _, state = self.gru(frames)
        return functional.normalize(self.proj(state[-1]), dim=1, eps=1e-8)

    @classmethod
    def pretrained(cls, path: Path = ASSET) -> SpeakerEncoder:
        """The encoder whose weights come with the engine, in evaluation mode.

        Raises:
            BadVoice: The file is missing, damaged or of another kind.
        """
        if not path.is_file():
            raise BadVoice(f'the speaker encoder\'s weights "{path.name}" are missing from this installation')
        tensors, metadata = safetensors.read(path, as_float32=True)
        if metadata.get("format") != _FORMAT:
            raise BadVoice(f'"{path.name}" is not a file of speaker encoder weights')
        encoder = cls()
        wanted = {name: tuple(value.shape) for name, value in encoder.state_dict().items()}
        found = {name: tuple(value.shape) for name, value in tensors.items()}
        if wanted != found:
            differing = sorted(set(wanted.items()) ^ set(found.items()))
            raise BadVoice(f'"{path.name}" does not fit the speaker encoder: {differing}')
        encoder.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()})
        return encoder.eval()

    def save(self, path: Path, *, metadata: dict[str, str]) -> None:
        """Write the weights in float16, with the format's name and `metadata`."""
        tensors = {name: value.detach().cpu().numpy() for name, value in self.state_dict().items()}
        halves = {name: value.astype(np.float16) for name, value in tensors.items()}
        safetensors.write(path, halves, {"format": _FORMAT, **metadata})

    @torch.no_grad()
    def embed_windows(
        self,
        samples: NDArray[np.float32],
        rate: int,
        *,
        window_s: float = WINDOW_S,
        step_s: float = STEP_S,
    ) -> NDArray[np.float32]:
        """Embed the speech of a recording window by window.

        Args:
            samples: (N,) mono.
            rate: Its sampling rate in Hz.
            window_s: Length of a window in seconds.
            step_s: From one window's start to the next, in seconds.

        Returns:
            (W, 256): one unit vector per window of speech; W >= 1.

        Raises:
            BadAudio: No speech was found.
        """
        heard = resample(samples, rate, RATE_HZ)
        speech = speech_only(heard, RATE_HZ, speech_segments(heard, RATE_HZ))
        if len(speech) == 0:
            raise BadAudio("no speech was found in the recording")
        length, step = round(window_s * RATE_HZ), round(step_s * RATE_HZ)
        length = min(length, len(speech))  # a short one is heard as a whole
        starts = range(0, len(speech) - length + 1, step)
        windows = torch.from_numpy(np.stack([speech[at : at + length] for at in starts]))
        # a recurrent layer waits for its threads at every step: on a busy machine two take fifty times one
        with reproducible(threads=1):
            parts = [self(windows[at : at + _BATCH]) for at in range(0, len(windows), _BATCH)]
        return _rows(torch.cat(parts))

    def embed(self, samples: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
        """One unit vector (256,) for a whole recording: the direction of the mean over its windows.

        Raises:
            BadAudio: No speech was found.
        """
        mean = self.embed_windows(samples, rate).mean(axis=0)
        unit: NDArray[np.float32] = (mean / max(float(np.linalg.norm(mean)), 1e-8)).astype(np.float32)
        return unit


def floored(mel: Tensor) -> Tensor:
    """Raise what is far below the mean power of its row to one floor: (B, n_mels, F) -> the same shape."""
    rows = mel.reshape(mel.shape[0], -1)
    mean = torch.logsumexp(rows, dim=1) - math.log(rows.shape[1])
    return torch.maximum(mel, (mean - _RANGE)[:, None, None])


def _rows(embeddings: Tensor) -> NDArray[np.float32]:
    result: NDArray[np.float32] = embeddings.cpu().numpy().astype(np.float32)
    return result
