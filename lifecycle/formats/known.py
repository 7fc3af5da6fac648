"""The names that a pickle of weights may refer to, and what each would do; everything else is dangerous.

A name is listed only if importing it runs no code of a voice and calling it builds data. Names follow
`torch._weights_only_unpickler`, `torch._utils` and numpy's own reconstruction functions.
"""

from __future__ import annotations

from typing import Final

STORAGES: Final[dict[str, str | None]] = {
    "DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16",
    "LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8",
    "ByteStorage": "U8", "BoolStorage": "BOOL", "ComplexFloatStorage": "C64", "ComplexDoubleStorage": "C128",
    "QInt8Storage": "QI8", "QUInt8Storage": "QU8", "QInt32Storage": "QI32",
    "UntypedStorage": None, "TypedStorage": None,
}  # fmt: skip
"""torch storage class -> dtype; None holds bytes."""

DTYPES: Final[dict[str, str]] = {
    "float64": "F64", "double": "F64", "float32": "F32", "float": "F32", "float16": "F16", "half": "F16",
    "bfloat16": "BF16", "int64": "I64", "long": "I64", "int32": "I32", "int": "I32", "int16": "I16",
    "short": "I16", "int8": "I8", "uint8": "U8", "uint16": "U16", "uint32": "U32", "uint64": "U64",
    "bool": "BOOL", "complex64": "C64", "cfloat": "C64", "complex128": "C128", "cdouble": "C128",
    "complex32": "C32", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "qint8": "QI8",
    "quint8": "QU8", "qint32": "QI32",
}  # fmt: skip
"""torch dtype -> our spelling, that of safetensors."""

ITEM_BYTES: Final[dict[str, int]] = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4,
    "U16": 2, "U8": 1, "BOOL": 1, "C32": 4, "C64": 8, "C128": 16, "F8_E4M3": 1, "F8_E5M2": 1, "QI8": 1,
    "QU8": 1, "QI32": 4,
}  # fmt: skip

NUMPY_DTYPES: Final[dict[str, str]] = {
    "f8": "F64", "f4": "F32", "f2": "F16", "i8": "I64", "i4": "I32", "i2": "I16", "i1": "I8", "u8": "U64",
    "u4": "U32", "u2": "U16", "u1": "U8", "b1": "BOOL", "c8": "C64", "c16": "C128",
}  # fmt: skip

MAPPINGS: Final = frozenset(
    {
        "collections.OrderedDict",
        "collections.defaultdict",
        "collections.Counter",
        "pytorch_lightning.utilities.parsing.AttributeDict",
        "lightning_fabric.utilities.data.AttributeDict",
        "lightning.fabric.utilities.data.AttributeDict",
    }
)
"""Classes that behave as a dict."""

DATA_CLASSES: Final = frozenset(
    {
        "utils.HParams",
        "GPT_SoVITS.utils.HParams",
        "tools.my_utils.HParams",
        "argparse.Namespace",
        "types.SimpleNamespace",
        "builtins.object",
    }
)
"""Classes whose objects are nothing but their attributes. The first three are GPT-SoVITS's settings."""

MODULE_PREFIX: Final = "torch.nn.modules."
"""Layers of torch itself: objects of these make a whole pickled module; their state only sets attributes."""

PATHS: Final = frozenset(
    f"{module}.{name}"
    for module in ("pathlib", "pathlib._local")
    for name in ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")
)

TIMES: Final = frozenset(f"datetime.{name}" for name in ("date", "datetime", "time", "timedelta", "timezone"))

TORCH_VALUES: Final = frozenset(
    {f"torch.{name}" for name in DTYPES}
    | {f"torch.{name}" for name in STORAGES}
    | {f"torch.storage.{name}" for name in STORAGES}
    | {f"torch.cuda.{name}" for name in STORAGES}
    | {
        "torch.Tensor",
        "torch._tensor.Tensor",
        "torch.nn.parameter.Parameter",
        "torch.nn.parameter.Buffer",
        "torch.strided",
        "torch.sparse_coo",
        "torch.per_tensor_affine",
        "torch.per_channel_affine",
        "torch.contiguous_format",
        "torch.preserve_format",
    }
)
"""Types and constants that are only mentioned."""

TORCH_FUNCTIONS_PREFIX: Final = "torch.nn.functional."
"""Activations stored in a pickled module: allowed as values, never as calls."""

PLAIN_TYPES: Final = frozenset(
    f"builtins.{name}"
    for name in (
        "set", "frozenset", "list", "dict", "tuple", "int", "float", "str", "bool", "bytes", "bytearray",
        "complex", "slice", "range",
    )
)  # fmt: skip

NUMPY_VALUES: Final = frozenset(
    {"numpy.ndarray", "numpy.dtype"}
    | {
        f"numpy.dtypes.{name}DType"
        for name in ("Float64", "Float32", "Float16", "Int64", "Int32", "UInt8", "Bool")
    }
    | {f"numpy.{name}" for name in ("float64", "float32", "float16", "int64", "int32", "uint8", "bool_")}
)

BUILDERS: Final = frozenset(
    {f"torch._utils._rebuild_{name}" for name in (
        "tensor", "tensor_v2", "tensor_v3", "parameter", "parameter_with_state", "qtensor", "sparse_tensor",
        "meta_tensor_no_storage", "device_tensor_from_numpy",
    )}
    | {f"torch.jit._pickle.{name}" for name in (
        "build_intlist", "build_doublelist", "build_boollist", "build_tensorlist", "restore_type_tag",
    )}
    | {f"{package}.{name}" for package in ("numpy.core", "numpy._core") for name in (
        "multiarray._reconstruct", "multiarray.scalar", "numeric._frombuffer",
    )}
    | {
        "torch._tensor._rebuild_from_type_v2", "torch.Size", "torch.device", "_codecs.encode",
        "torch.serialization._get_layout", "copyreg._reconstructor",
    }
)  # fmt: skip
"""Functions whose call builds data, each with its arguments checked by `calls`."""


def is_layer(name: str) -> bool:
    """Say whether a dotted name is one of torch's own layers, such as torch.nn.modules.linear.Linear."""
    if not name.startswith(MODULE_PREFIX):
        return False
    parts = name.removeprefix(MODULE_PREFIX).split(".")
    return len(parts) == 2 and all(part.isidentifier() for part in parts) and parts[1][:1].isupper()


def is_known(name: str) -> bool:
    """Say whether a pickle may import this name."""
    if name in BUILDERS or name in TORCH_VALUES or name in PLAIN_TYPES or name in NUMPY_VALUES:
        return True
    if name in MAPPINGS or name in DATA_CLASSES or name in PATHS or name in TIMES or is_layer(name):
        return True
    rest = name.removeprefix(TORCH_FUNCTIONS_PREFIX)
    return rest != name and rest.isidentifier() and not rest.startswith("_")
