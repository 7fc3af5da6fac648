"""What the walker builds instead of objects: inert values that only remember what the file said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from lifecycle.formats.limits import (
    MAX_DEPTH,
    MAX_KEY,
    MAX_KEY_BITS,
    MAX_LITERALS_TOTAL,
    MAX_TENSORS,
    MAX_TREE,
)
from lifecycle.formats.model import Finding, Unread

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Walk:
    """What one pickle holds and would do.

    `end` is the first byte after its STOP, or None where a dangerous pickle could not be followed to its end.
    """

    value: object
    globals: tuple[str, ...]
    classes: tuple[str, ...]
    findings: tuple[Finding, ...]
    protocol: int
    operations: int
    end: int | None

    @property
    def unsafe(self) -> bool:
        """Whether loading it would run something."""
        return any(finding.severity == "danger" for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Global:
    """A name that a pickle would import."""

    module: str
    attribute: str

    @property
    def name(self) -> str:
        """The dotted name."""
        return f"{self.module}.{self.attribute}"


class Mapping(dict[object, object]):
    """An object that behaves as a dict: OrderedDict, defaultdict, AttributeDict."""

    def __init__(self, cls: str) -> None:
        super().__init__()
        self.cls = cls


@dataclass(slots=True, eq=False)
class Record:
    """An object of a known inert class: its name, what it was made from and its state."""

    cls: str
    args: tuple[object, ...] = ()
    state: object = None
    items: list[object] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class Opaque:
    """What a call would have returned that nobody made."""

    origin: str


@dataclass(frozen=True, slots=True, eq=False)
class Storage:
    """A block of numbers elsewhere in the file. `dtype` is None for untyped bytes; `count` in elements."""

    key: str
    dtype: str | None
    count: int
    location: str


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A view into a storage; offset and strides count elements. Without a storage it has no data."""

    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...] = ()
    offset: int = 0
    storage: Storage | None = None


@dataclass(slots=True, eq=False)
class Array:
    """A numpy array or scalar: shape and dtype are known once its state was read."""

    dtype: str | None = None
    shape: tuple[int, ...] = ()
    data: object = None


def is_key(value: object) -> bool:
    """Say whether a value can be a key without a hash that an attacker chose or that never ends."""
    if isinstance(value, tuple):
        # Python's hash of a tuple has no secret: with few small numbers nobody finds many that collide
        return len(value) <= 3 and all(_is_part(item) for item in value)
    if isinstance(value, int):
        return value.bit_length() <= MAX_KEY_BITS
    if isinstance(value, (str, bytes)):
        return len(value) <= MAX_KEY
    return value is None or isinstance(value, (float, Global, Tensor, Storage, Opaque))


def _is_part(value: object) -> bool:
    if isinstance(value, int):
        return value.bit_length() <= 31
    return (
        value is None
        or isinstance(value, Global)
        or (isinstance(value, (str, bytes)) and len(value) <= MAX_KEY)
    )


def fields_of(value: object) -> dict[object, object] | None:
    """Return the plain mapping behind a dict or an object with a state, else None."""
    if isinstance(value, dict):
        return value
    if isinstance(value, Record) and isinstance(value.state, dict):
        return value.state
    return None


def tensors_in(root: object) -> Iterator[tuple[str, Tensor | Array]]:
    """Yield every tensor with its dotted path, in the order of the file.

    Raises:
        Unread: The tree is deeper than 64 or more than a million nodes: a pickle can share its parts.
    """
    pending: list[tuple[str, int, object]] = [("", 0, root)]
    scanned = letters = 0
    while pending:
        path, depth, value = pending.pop()
        if isinstance(value, (Tensor, Array)):
            yield path, value
            continue
        scanned += _size(value)
        if scanned > MAX_TREE or depth > MAX_DEPTH or len(pending) > MAX_TENSORS:
            raise Unread("holds a tree of values too large to be named")
        for key, child in reversed(list(_children(value))):
            name = f"{path}.{key}" if path else key
            letters += len(name)
            pending.append((name, depth + 1, child))
        if letters > MAX_LITERALS_TOTAL:
            raise Unread("holds a tree of values whose names are too long")


def _size(value: object) -> int:
    mapping = fields_of(value)
    if mapping is not None:
        return 1 + len(mapping)
    return 1 + len(value) if isinstance(value, (list, tuple)) else 1


def _children(value: object) -> Iterator[tuple[str, object]]:
    mapping = fields_of(value)
    if mapping is not None:
        for key, child in mapping.items():
            if isinstance(child, (dict, list, tuple, Record, Tensor, Array)):
                yield (key.name if isinstance(key, Global) else str(key)), child
    elif isinstance(value, (list, tuple)):
        for index, child in enumerate(value):
            if isinstance(child, (dict, list, tuple, Record, Tensor, Array)):
                yield str(index), child


def plain(value: object, *, budget: int = 2_000) -> object:
    """Copy the part of a tree that JSON can say: dicts with text keys, lists, text, numbers, booleans, None.

    Tensors and objects become their class in angle brackets; beyond the budget an ellipsis stands.
    """
    return _Plain(budget).copy(value, 0)


class _Plain:
    def __init__(self, budget: int) -> None:
        self._budget = budget

    def copy(self, value: object, depth: int) -> object:
        self._budget -= 1
        if self._budget < 0 or depth > 12:
            return "…"
        mapping = fields_of(value)
        if mapping is not None:
            return {str(key)[:200]: self.copy(item, depth + 1) for key, item in self._some(mapping.items())}
        if isinstance(value, (list, tuple)):
            return [self.copy(item, depth + 1) for item in self._some(value)]
        if isinstance(value, str):
            return value[:2_000].encode("utf-8", "backslashreplace").decode("utf-8")
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            return value if value.bit_length() <= 63 else str(value)
        if isinstance(value, float):
            return value if value - value == 0 else str(value)
        return f"<{type(value).__name__.lower()}>"

    def _some(self, items: Iterable[_Item]) -> Iterator[_Item]:
        for item in items:
            if self._budget < 0:
                return
            yield item
