"""Canonical JSON (RFC 8785) for values that are hashed or signed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

Json: TypeAlias = "bool | int | str | Sequence[Json] | Mapping[str, Json] | None"

_SAFE_INTEGER = 2**53 - 1


def canonical_json(value: Json) -> bytes:
    """Encode a value so that equal values give equal bytes. Source: RFC 8785.

    Floating-point numbers are refused: hashed records hold integers and text only, which keeps the
    encoding free of number-formatting differences between languages.

    Args:
        value: None, booleans, integers within +-(2^53 - 1), text, lists and string-keyed mappings.

    Raises:
        ValueError: A number out of range, a float, a lone surrogate, or a key that is not text.
    """
    return _encode(value).encode("utf-8")


def _encode(value: Json) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int):
        if abs(value) > _SAFE_INTEGER:
            raise ValueError(f"{value} does not fit an RFC 8785 number")
        return str(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return _object(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return "[" + ",".join(_encode(item) for item in value) + "]"
    raise ValueError(f"{type(value).__name__} has no canonical form")


def _object(value: Mapping[str, Json]) -> str:
    if not all(isinstance(key, str) for key in value):
        raise ValueError("a key of a canonical object must be text")
    # RFC 8785 sorts by UTF-16 code units, which differs from code points above the basic plane.
    ordered = sorted(value, key=lambda key: key.encode("utf-16-be", "surrogatepass"))
    return "{" + ",".join(f"{_text(key)}:{_encode(value[key])}" for key in ordered) + "}"


def _text(value: str) -> str:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("text with a lone surrogate has no canonical form") from None
    return json.dumps(value, ensure_ascii=False)
