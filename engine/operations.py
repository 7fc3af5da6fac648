"""What a worker can do, one function per operation; each imports what it needs when it is asked.

Paths in parameters are paths as the worker sees them: inside a sandbox `/inputs/NAME` and `/outputs/NAME`.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.foreign import tensors_of
from engine.protocol import Array, Event, Request, Result

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from engine.synthesis.session import Session

Params = Mapping[str, Any]


@dataclass(frozen=True)
class Context:
    """What an operation may use besides its parameters.

    Args:
        request: The request that it answers.
        send: Sends an event.
        cancelled: True once the client asked to stop.
    """

    request: Request
    send: Callable[[Event], None]
    cancelled: Callable[[], bool]

    def progress(self, **values: Any) -> None:
        """Tell the client how far it is."""
        self.send(Event(self.request.id, values))


def array(name: str, values: "NDArray[Any]") -> Array:
    """Describe a numpy array for the wire."""
    import numpy as np

    plain = np.ascontiguousarray(values)
    plain = plain.astype(plain.dtype.newbyteorder("<"), copy=False)
    return Array(name, plain.dtype.str, tuple(plain.shape), plain.tobytes())


def ping(params: Params, context: Context) -> Result:
    """Answer with the values and bytes that came."""
    return Result(context.request.id, {"echo": params.get("echo")}, (), context.request.payload)


def describe(_params: Params, context: Context) -> Result:
    """Say what this torch is and can: versions, devices, threads, compute capabilities of the build."""
    import numpy
    import torch

    flags = getattr(torch._C, "_cuda_getArchFlags", None)  # noqa: SLF001 - the public call is empty without a GPU
    return Result(
        context.request.id,
        {
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "cuda_available": torch.cuda.is_available(),
            "cuda_arch": str(flags() or "").split() if flags else [],
            "cudnn": _cudnn(),
            "mps_available": torch.backends.mps.is_available(),
            "numpy": numpy.__version__,
            "threads": torch.get_num_threads(),
        },
    )


def _cudnn() -> Any:
    import torch

    backend: Any = torch.backends.cudnn
    return backend.version() if backend.is_available() else None


_sessions: dict[tuple[object, ...], "Session"] = {}


def _session(params: Params) -> "Session":
    """Load a voice, or take the one that was loaded last if its files are the same."""
    from engine.synthesis.session import Session

    weights = Path(params["weights"])
    speaker = Path(params["speaker"]) if params.get("speaker") else None
    device = str(params.get("device", "cpu"))
    key = (device, *(_identity(path) for path in (weights, speaker)))
    if key not in _sessions:
        _sessions.clear()
        _sessions[key] = Session.load(weights, speaker=speaker, device=device)
    return _sessions[key]


def _identity(path: "Path | None") -> object:
    if path is None:
        return None
    status = path.stat()
    return str(path), status.st_ino, status.st_size, status.st_mtime_ns


def stages(params: Params, context: Context) -> Result:
    """Speak each of `texts` and return every step for comparison.

    Params: weights, speaker, texts, seed, device, threads, and optionally durations: for each text whole frames per
    phone to use in place of the predicted ones, or None.
    Values: rate, utterances [{text, phones, frames, samples}]. Arrays for text number i, T phones, F frames,
    N samples: "i/duration_frames" (T,) not rounded, "i/durations" (T,) int64, "i/mel" (80, F), "i/f0" (F,),
    "i/samples" (N,), "i/log_mel" (80, F + 1) of the samples; and "embedding" (256,) of the voice.
    """
    import numpy as np

    from engine.compat import reproducible

    session = _session(params)
    texts = [str(text) for text in params["texts"]]
    given = params.get("durations") or [None] * len(texts)
    arrays: dict[str, Array] = {}
    told = []
    for number, (text, frames) in enumerate(zip(texts, given, strict=True)):
        durations = None if frames is None else np.asarray(frames, np.int64)
        with reproducible(threads=params.get("threads")):
            made = dict(session.stages(text, seed=int(params.get("seed", 0)), durations=durations))
        phones = [session.config.phones[index] for index in made.pop("phones")]
        arrays["embedding"] = array("embedding", made.pop("embedding"))
        arrays.update(
            {f"{number}/{name}": array(f"{number}/{name}", values) for name, values in made.items()}
        )
        told.append(
            {
                "text": text,
                "phones": phones,
                "frames": made["mel"].shape[1],
                "samples": made["samples"].shape[0],
            }
        )
        context.progress(done=number + 1, total=len(texts))
    return Result(context.request.id, {"rate": session.rate, "utterances": told}, tuple(arrays.values()))


def speak(params: Params, context: Context) -> Result:
    """Speak one text. Params: weights, speaker, text, options {speed, pitch_semitones, pause, seed, language}, device.

    Values: rate, seconds, phones. Array: "samples" (N,) float32 in [-1, 1].
    """
    from engine.synthesis.session import SpeakOptions

    session = _session(params)
    options = SpeakOptions(**params.get("options", {}))
    spoken = session.speak(
        str(params["text"]), options=options, progress=lambda share: context.progress(share=float(share))
    )
    seconds = spoken.samples.shape[0] / spoken.rate
    values = {"rate": spoken.rate, "seconds": seconds, "phones": list(spoken.phones)}
    return Result(context.request.id, values, (array("samples", spoken.samples),))


def embed(params: Params, context: Context) -> Result:
    """Embed one recording. Params: audio (a path). Array: "embedding" (256,), unit norm."""
    from engine.audio.io import read_audio
    from engine.models.speaker import SpeakerEncoder

    samples, rate = read_audio(Path(params["audio"]))
    vector = SpeakerEncoder.pretrained().embed(samples, rate)
    values = {"seconds": samples.shape[0] / rate, "rate": rate}
    return Result(context.request.id, values, (array("embedding", vector),))


def prepare(params: Params, context: Context) -> Result:
    """Judge recordings. Params: paths. Values: files [{name, report, error}] and whole, over all of them together."""
    from engine.training.prepare import prepare as judge_all

    found = judge_all(
        [Path(path) for path in params["paths"]],
        progress=lambda share: context.progress(share=float(share)),
        cancelled=context.cancelled,
    )
    return Result(context.request.id, plain(found.to_dict()))


def fit(params: Params, context: Context) -> Result:
    """Fit a voice to recordings; progress as events, stops when cancelled.

    Params: audio (paths), name, out (a folder it may write), base (a path, or nothing for the one that ships),
    budget_s, seed. Values: the FitResult.
    """
    from engine.assets import base_path
    from engine.training.fit import fit as run

    result = run(
        [Path(path) for path in params["audio"]],
        name=str(params["name"]),
        out=Path(params["out"]),
        base=Path(params["base"]) if params.get("base") else base_path(),
        budget_s=float(params["budget_s"]),
        seed=int(params.get("seed", 0)),
        progress=lambda state: context.progress(**plain(state)),
        cancelled=context.cancelled,
    )
    return Result(context.request.id, plain(result))


def try_load(params: Params, context: Context) -> Result:
    """Load a foreign file. Params: path, kind ("checkpoint", "torchscript", "safetensors" or "onnx").

    Values: tensors [{name, dtype, shape, sha256}], sha256 over the contiguous little-endian bytes. A file that
    torch refuses is error "refused" with torch's own words; a kind that nothing here loads is "unsupported".
    """
    kind = str(params["kind"])
    return Result(context.request.id, {"kind": kind, "tensors": tensors_of(Path(params["path"]), kind)})


def debug_voice(params: Params, context: Context) -> Result:
    """Make the tiny voice. Params: out (a folder it may write), seed. Values: weights, speaker (paths)."""
    from engine.training.debug import make_debug_voice

    weights, speaker = make_debug_voice(Path(params["out"]), seed=int(params.get("seed", 0)))
    return Result(context.request.id, {"weights": str(weights), "speaker": str(speaker)})


def plain(thing: Any) -> Any:
    """Return a value as JSON holds it: dataclasses as objects, paths as text, arrays and tuples as lists."""
    if is_dataclass(thing) and not isinstance(thing, type):
        return plain(asdict(thing))
    if isinstance(thing, Mapping):
        return {str(name): plain(value) for name, value in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [plain(value) for value in thing]
    if isinstance(thing, float):
        return thing if -1e308 < thing < 1e308 else None
    if isinstance(thing, Path):
        return str(thing)
    if hasattr(thing, "tolist"):
        return plain(thing.tolist())
    return thing


OPERATIONS: dict[str, Callable[[Params, Context], Result]] = {
    "ping": ping,
    "describe": describe,
    "stages": stages,
    "speak": speak,
    "embed": embed,
    "prepare": prepare,
    "fit": fit,
    "try_load": try_load,
    "debug_voice": debug_voice,
}
