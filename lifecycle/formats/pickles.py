"""Follow a pickle without running it, and say in a few words what that gave."""

from __future__ import annotations

from lifecycle.formats import known
from lifecycle.formats.machine import Machine
from lifecycle.formats.model import Unread, plural
from lifecycle.formats.opcodes import OpStream, operations
from lifecycle.formats.source import Source
from lifecycle.formats.values import Walk

__all__ = ["Walk", "scan_words", "walk"]


def walk(source: Source, start: int, stop: int, *, script: bool = False, external: bool = True) -> Walk:
    """Follow the pickle that begins at `start` and must end before `stop`.

    Args:
        source: The file or member.
        start: First byte.
        stop: First byte that does not belong to it.
        script: Classes of TorchScript (`__torch__...`) are known.
        external: Persistent ids name storages; without it they are refused.

    Raises:
        Unread: It cannot be followed without doubt, and nothing dangerous was met before that.
    """
    walker = Machine(script=script, external=external)
    stream = OpStream(source, start, stop)
    try:
        for name, argument in operations(stream):
            walker.step(name, argument)
        end: int | None = stream.position
    except Unread as unread:
        if not walker.unsafe:
            raise
        walker.note("warning", "not_followed", f"{unread.reason}; what comes after that was not looked at")
        end = None
    return walker.result(end)


def scan_words(parts: tuple[Walk, ...]) -> str:
    """Say in a few words what following the pickles gave, as it stands in `register` and `inspect`."""
    dangers = [finding for part in parts for finding in part.findings if finding.severity == "danger"]
    if dangers:
        more = f" and {len(dangers) - 1} more" if len(dangers) > 1 else ""
        return f"pickle: {dangers[0].message}{more}"
    classes = list(
        dict.fromkeys(name for part in parts for name in part.classes if name in known.DATA_CLASSES)
    )
    if len(classes) == 1:
        return f"pickle: one class, {classes[0]}, not executed"
    if classes:
        return f"pickle: {plural(len(classes), 'class')}, {', '.join(classes)}, not executed"
    return "pickle: safe to read, 0 calls"
