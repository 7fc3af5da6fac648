"""Load a file that somebody else wrote, the way torch itself would; only ever called inside a sandbox.

Loading is all that is claimed: the tensors' hashes go back, and the caller compares them with what it read from
the file without torch.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_MAX_TENSORS = 20_000
_MAX_DEPTH = 12


class LoadRefused(Exception):
    """torch does not take the file."""

    code = "refused"


class UnknownKind(Exception):
    """There is no loader for such a file here."""

    code = "unsupported"


def tensors_of(path: Path, kind: str) -> list[dict[str, Any]]:
    """Load a file and return its tensors as {name, dtype, shape, sha256}, in the file's order.

    Args:
        path: The file.
        kind: "checkpoint", "torchscript", "safetensors" or "onnx".

    Raises:
        LoadRefused: torch does not take it; the message is torch's own.
        UnknownKind: Nothing here loads such a file.
    """
    loaders = {
        "checkpoint": _checkpoint,
        "torchscript": _torchscript,
        "safetensors": _safetensors,
        "onnx": _onnx,
    }
    if kind not in loaders:
        raise UnknownKind(f'there is no loader for "{kind}" files')
    return loaders[kind](path)


def _checkpoint(path: Path) -> list[dict[str, Any]]:
    import torch

    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:
        raise LoadRefused(_words(error)) from error
    return [_tensor(name, tensor) for name, tensor in _walk(loaded)]


def _torchscript(path: Path) -> list[dict[str, Any]]:
    import torch

    try:
        module = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    except MemoryError:
        raise
    except Exception as error:
        raise LoadRefused(_words(error)) from error
    return [_tensor(name, tensor) for name, tensor in module.state_dict().items()]


def _safetensors(path: Path) -> list[dict[str, Any]]:
    from engine.errors import EngineError
    from engine.safetensors import read

    try:
        tensors, _metadata = read(path)
    except EngineError as error:
        raise LoadRefused(_words(error)) from error
    return [
        {
            "name": name,
            "dtype": str(values.dtype),
            "shape": list(values.shape),
            "sha256": hashlib.sha256(
                values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
            ).hexdigest(),
        }
        for name, values in tensors.items()
    ]


def _onnx(path: Path) -> list[dict[str, Any]]:
    try:
        import onnxruntime  # type: ignore[import-not-found]
    except ImportError as error:
        raise UnknownKind("onnxruntime is not in this runtime, so an ONNX file cannot be loaded") from error
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:
        raise LoadRefused(_words(error)) from error
    return [{"name": i.name, "dtype": i.type, "shape": None, "sha256": None} for i in session.get_inputs()]


def _walk(thing: Any) -> Iterator[tuple[str, "torch.Tensor"]]:
    """Yield the tensors of nested containers under dotted names."""
    import torch

    stack: list[tuple[str, Any, int]] = [("", thing, 0)]
    count = 0
    while stack:
        name, value, depth = stack.pop()
        if isinstance(value, torch.Tensor):
            count += 1
            if count > _MAX_TENSORS:
                raise LoadRefused(f"the file holds more than {_MAX_TENSORS} tensors")
            yield name, value
        elif isinstance(value, (dict, list, tuple)) and depth < _MAX_DEPTH:
            items = value.items() if isinstance(value, dict) else enumerate(value)
            inner = [(f"{name}.{key}" if name else str(key), item, depth + 1) for key, item in items]
            stack += reversed(inner)


def _tensor(name: str, tensor: "torch.Tensor") -> dict[str, Any]:
    return {
        "name": name,
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "shape": list(tensor.shape),
        "sha256": hashlib.sha256(_bytes(tensor)).hexdigest(),
    }


def _bytes(tensor: "torch.Tensor") -> bytes:
    """The row-major bytes of a tensor of any dtype (numpy has no bfloat16, so the view is as bytes)."""
    import torch

    plain = tensor.detach().cpu().contiguous()
    if plain.is_quantized:
        plain = plain.int_repr()
    if plain.numel() == 0:
        return b""
    return plain.reshape(-1).view(torch.uint8).numpy().tobytes()


def _words(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:1500] or type(error).__name__
