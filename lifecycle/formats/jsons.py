"""JSON of a file that nobody trusts: bounded before it is parsed, strict while it is."""

from __future__ import annotations

import json
from typing import Final

from lifecycle.formats.limits import MAX_NODES
from lifecycle.formats.model import Unread

_STRUCTURE: Final = (b"[", b"{", b",", b":")


def parse(data: bytes, what: str) -> object:
    """Return the value of a JSON text in UTF-8.

    Args:
        data: The text.
        what: What it is in the file, as in "header"; used in sentences.

    Raises:
        Unread: It is not JSON, names a key twice, has NaN or infinity, or has more parts than are looked at.
    """
    if sum(data.count(mark) for mark in _STRUCTURE) > MAX_NODES:
        raise Unread(f"has a {what} with more parts than can be looked at")
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except _Twice:
        raise Unread(f"has a {what} that lies: it names one thing twice") from None
    except (ValueError, RecursionError):
        raise Unread(f"has a {what} that is not valid JSON") from None


class _Twice(Exception):
    pass


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _Twice
    return result


def _no_constant(text: str) -> object:
    raise ValueError(text)
