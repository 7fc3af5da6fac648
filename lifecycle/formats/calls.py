"""Calls that only build data: each known builder, with the arguments it may be given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lifecycle.formats import known
from lifecycle.formats.limits import MAX_DIMS, MAX_ELEMENTS, MAX_KEY
from lifecycle.formats.model import Unread, shown
from lifecycle.formats.opcodes import Skipped
from lifecycle.formats.values import Array, Global, Mapping, Record, Storage, Tensor, is_key

Args = tuple[object, ...]


class BadCall(Exception):
    """A known builder was given something that it is never given."""


def _need(condition: bool) -> None:
    if not condition:
        raise BadCall


def _counts(value: object) -> tuple[int, ...]:
    _need(isinstance(value, (tuple, list)) and len(value) <= MAX_DIMS)
    assert isinstance(value, (tuple, list))
    numbers = []
    for item in value:
        _need(isinstance(item, int) and not isinstance(item, bool) and 0 <= item <= MAX_ELEMENTS)
        numbers.append(int(item))
    return tuple(numbers)


def _integer(value: object) -> int:
    _need(isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_ELEMENTS)
    assert isinstance(value, int)
    return value


def _no_hooks(value: object) -> None:
    _need(value is None or (isinstance(value, dict) and not value))


def dtype_of(value: object) -> str:
    """Return our spelling of a torch dtype that a pickle names."""
    _need(isinstance(value, Global) and value.module == "torch" and value.attribute in known.DTYPES)
    assert isinstance(value, Global)
    return known.DTYPES[value.attribute]


def _view(storage: object, offset: object, shape: object, strides: object, dtype: str | None) -> Tensor:
    _need(isinstance(storage, Storage))
    assert isinstance(storage, Storage)
    kind = dtype or storage.dtype
    _need(kind is not None)
    assert kind is not None
    sizes, steps = _counts(shape), _counts(strides)
    _need(len(sizes) == len(steps))
    return Tensor(kind, sizes, steps, _integer(offset), storage)


def _tensor(args: Args) -> Tensor:
    _need(len(args) == 4)
    return _view(args[0], args[1], args[2], args[3], None)


def _tensor_v2(args: Args) -> Tensor:
    _need(len(args) in (6, 7))
    _no_hooks(args[5])
    return _view(args[0], args[1], args[2], args[3], None)


def _tensor_v3(args: Args) -> Tensor:
    _need(len(args) in (7, 8))
    _no_hooks(args[5])
    return _view(args[0], args[1], args[2], args[3], dtype_of(args[6]))


def _qtensor(args: Args) -> Tensor:
    _need(len(args) == 7)
    _no_hooks(args[6])
    return _view(args[0], args[1], args[2], args[3], None)


def _parameter(args: Args) -> Tensor:
    _need(len(args) in (3, 4) and isinstance(args[0], Tensor))
    _no_hooks(args[2])
    assert isinstance(args[0], Tensor)
    return args[0]


def _meta_tensor(args: Args) -> Tensor:
    _need(len(args) == 4)
    return Tensor(dtype_of(args[0]), _counts(args[1]))


def _from_numpy(args: Args) -> Tensor:
    _need(len(args) == 4 and isinstance(args[0], Array))
    assert isinstance(args[0], Array)
    return Tensor(dtype_of(args[1]), args[0].shape)


def _from_type(args: Args) -> object:
    _need(len(args) == 4 and isinstance(args[0], Global) and isinstance(args[1], Global))
    assert isinstance(args[0], Global)
    assert isinstance(args[1], Global)
    _need(args[0].name.startswith("torch._utils._rebuild_") and args[0].name in known.BUILDERS)
    _need(args[1].name in ("torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter"))
    _need(isinstance(args[2], tuple))
    assert isinstance(args[2], tuple)
    return build(args[0], args[2])


def _typed_list(args: Args) -> object:
    _need(len(args) == 1 and isinstance(args[0], list))
    return args[0]


def _tagged(args: Args) -> object:
    _need(len(args) == 2 and isinstance(args[1], str))
    return args[0]


def _size(args: Args) -> object:
    _need(len(args) == 1)
    return _counts(args[0])


def _encode(args: Args) -> object:
    _need(len(args) == 2 and args[1] in ("latin1", "latin-1"))
    if isinstance(args[0], Skipped):
        return Skipped("bytes", args[0].size)
    _need(isinstance(args[0], str))
    if len(str(args[0])) > MAX_KEY:
        return Skipped("bytes", len(str(args[0])))
    try:
        return str(args[0]).encode("latin-1")
    except UnicodeEncodeError:
        raise BadCall from None


def _array(args: Args) -> object:
    _need(len(args) == 3 and args[0] == Global("numpy", "ndarray") and args[1] in ((0,), ()))
    return Array()


def _scalar(args: Args) -> object:
    _need(len(args) == 2 and isinstance(args[0], Record) and args[0].cls == "numpy.dtype")
    return Array(numpy_dtype(args[0]), (), args[1])


def _from_buffer(args: Args) -> object:
    _need(len(args) == 4 and args[3] in ("C", "F"))
    return Array(numpy_dtype(args[1]), _counts(args[2]), args[0])


def _dtype(args: Args) -> object:
    _need(1 <= len(args) <= 3 and isinstance(args[0], str) and len(str(args[0])) <= 64)
    return Record("numpy.dtype", args[:1])


def numpy_dtype(value: object) -> str:
    """Return our spelling of a numpy dtype, or numpy's own where there is none."""
    _need(isinstance(value, Record) and value.cls == "numpy.dtype")
    assert isinstance(value, Record)
    text = str(value.args[0]).lstrip("<=|>")
    return known.NUMPY_DTYPES.get(text, text)


def _few(cls: str, types: tuple[type, ...], most: int) -> Callable[[Args], object]:
    def make(args: Args) -> object:
        _need(len(args) <= most and all(item is None or isinstance(item, types) for item in args))
        return Record(cls, args)

    return make


def _collection(cls: str) -> Callable[[Args], object]:
    def make(args: Args) -> object:
        _need(len(args) <= 1 and all(isinstance(item, (list, tuple, set, dict, Record)) for item in args))
        if cls in ("builtins.set", "builtins.frozenset") and args and isinstance(args[0], list):
            return Record(cls, (), None, args[0])
        return Record(cls, args)

    return make


def _mapping(cls: str) -> Callable[[Args], object]:
    def make(args: Args) -> object:
        factory = cls == "collections.defaultdict"
        if factory and args:
            allowed = known.PLAIN_TYPES | known.MAPPINGS
            _need(args[0] is None or (isinstance(args[0], Global) and args[0].name in allowed))
            args = args[1:]
        _need(len(args) <= 1)
        result = Mapping(cls)
        if args:
            _fill(result, args[0])
        return result

    return make


def _fill(result: Mapping, pairs: object) -> None:
    if isinstance(pairs, dict):
        result.update(pairs)
        return
    _need(isinstance(pairs, list))
    assert isinstance(pairs, list)
    for pair in pairs:
        _need(isinstance(pair, (list, tuple)) and len(pair) == 2 and is_key(pair[0]))
        result[pair[0]] = pair[1]


def _old_object(args: Args) -> object:
    _need(len(args) == 3 and isinstance(args[0], Global) and args[1] == Global("builtins", "object"))
    _need(args[2] is None)
    assert isinstance(args[0], Global)
    return instance(args[0], ())


_BUILD: Final[dict[str, Callable[[Args], object]]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor_v2,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_qtensor": _qtensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._utils._rebuild_meta_tensor_no_storage": _meta_tensor,
    "torch._utils._rebuild_device_tensor_from_numpy": _from_numpy,
    "torch._utils._rebuild_sparse_tensor": lambda args: Record("torch.sparse", args),
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch.jit._pickle.build_intlist": _typed_list,
    "torch.jit._pickle.build_doublelist": _typed_list,
    "torch.jit._pickle.build_boollist": _typed_list,
    "torch.jit._pickle.build_tensorlist": _typed_list,
    "torch.jit._pickle.restore_type_tag": _tagged,
    "torch.Size": _size,
    "torch.device": _few("torch.device", (str, int), 2),
    "torch.serialization._get_layout": _few("torch.layout", (str,), 1),
    "_codecs.encode": _encode,
    "copyreg._reconstructor": _old_object,
    "types.SimpleNamespace": lambda args: instance(Global("types", "SimpleNamespace"), args),
    "numpy.dtype": _dtype,
    "builtins.bytes": _few("builtins.bytes", (str, bytes, Skipped), 2),
    "builtins.bytearray": _few("builtins.bytearray", (str, bytes, Skipped), 2),
    "builtins.complex": _few("builtins.complex", (int, float), 2),
    "builtins.slice": _few("builtins.slice", (int,), 3),
    "builtins.range": _few("builtins.range", (int,), 3),
    **{
        f"{package}.{name}": function
        for package in ("numpy.core", "numpy._core")
        for name, function in {
            "multiarray._reconstruct": _array,
            "multiarray.scalar": _scalar,
            "numeric._frombuffer": _from_buffer,
        }.items()
    },
    **{
        f"builtins.{name}": _collection(f"builtins.{name}")
        for name in ("set", "frozenset", "list", "dict", "tuple")
    },
    **{name: _mapping(name) for name in known.MAPPINGS},
    **{name: _few(name, (str,), 64) for name in known.PATHS},
    **{name: _few(name, (int, bytes, str, Record), 10) for name in known.TIMES},
}


def build(function: Global, args: Args) -> object:
    """Return what a known function would give, as an inert value.

    Raises:
        BadCall: The function is not one that only builds data, or its arguments are none it takes.
    """
    make = _BUILD.get(function.name)
    if make is None:
        raise BadCall
    return make(args)


def instance(cls: Global, args: Args) -> object:
    """Return an object of a known inert class, made without its constructor.

    Raises:
        BadCall: The class is not known, or it is given arguments.
    """
    _need(not args)
    if cls.name in known.MAPPINGS:
        return Mapping(cls.name)
    if cls.name in known.DATA_CLASSES or known.is_layer(cls.name):
        return Record(cls.name)
    raise BadCall


def storage(persistent: object) -> Storage | Global:
    """Read the persistent id of a storage: ("storage", type, key, location, count[, view]).

    Raises:
        Unread: It has another form.
    """
    try:
        _need(isinstance(persistent, tuple) and len(persistent) >= 4)
        assert isinstance(persistent, tuple)
        if persistent[0] == "module" and len(persistent) == 4 and isinstance(persistent[1], Global):
            return persistent[1]  # whole modules of old: the class, with its source beside it
        _need(persistent[0] == "storage" and len(persistent) in (5, 6))
        kind, key, location = persistent[1], persistent[2], persistent[3]
        _need(isinstance(kind, Global) and isinstance(key, str) and isinstance(location, str))
        _need(len(persistent) == 5 or persistent[5] is None)
        assert isinstance(kind, Global)
        _need(kind.module in ("torch", "torch.storage", "torch.cuda") and kind.attribute in known.STORAGES)
        return Storage(key, known.STORAGES[kind.attribute], _integer(persistent[4]), location)
    except BadCall:
        raise Unread("refers to data outside its pickle in a way that torch never writes") from None


def set_state(target: object, state: object, *, script: bool) -> None:
    """Give an object its state, once, where that only sets attributes.

    Raises:
        Unread: It has no state, or one that no writer gives it.
    """
    if isinstance(target, Array):
        _set_array_state(target, state)
    elif isinstance(target, Mapping):
        if not isinstance(state, dict):
            raise Unread("gives a dictionary in its pickle attributes that are no dictionary")
        check_attributes(list(state))
    elif isinstance(target, Record) and target.cls == "numpy.dtype" and isinstance(state, tuple):
        return
    elif isinstance(target, Record) and target.state is None:
        target.state = _object_state(target.cls, state, script=script)
    else:
        raise Unread("sets the state of a value in its pickle that has none")


def _object_state(cls: str, state: object, *, script: bool) -> object:
    if script and cls.startswith("__torch__."):
        return state
    if cls not in known.DATA_CLASSES and not known.is_layer(cls):
        raise Unread("sets the state of a value in its pickle that has none")
    if not isinstance(state, dict):
        raise Unread(f"gives an object of {shown(cls)} a state that is no dictionary")
    check_attributes(list(state))
    return state


def check_attributes(names: list[object]) -> None:
    """Refuse attributes by which Python would call something later, such as `__setstate__` or `append`.

    Raises:
        Unread: One of the names is of that kind.
    """
    for name in names:
        if isinstance(name, str) and (name in _METHODS or (name.startswith("__") and name.endswith("__"))):
            raise Unread(
                f'gives an object in its pickle the attribute "{shown(name, 40)}", which Python calls'
            )


_METHODS: Final = frozenset({"append", "extend", "add"})


def _set_array_state(target: Array, state: object) -> None:
    """Read numpy's array state: (version, shape, dtype, fortran order, data)."""
    if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[1], tuple):
        raise Unread("gives an array a state that numpy never writes")
    if not all(isinstance(n, int) and 0 <= n < 1 << 50 for n in state[1]) or len(state[1]) > 64:
        raise Unread("gives an array a shape that cannot be")
    try:
        target.dtype = numpy_dtype(state[2])
    except BadCall:
        raise Unread("gives an array a type that numpy never writes") from None
    target.shape, target.data = state[1], state[4]
