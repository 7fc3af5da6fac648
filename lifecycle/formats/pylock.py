"""Writes pylock.toml (PEP 751): the same packages give the same bytes, without a time and without paths."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from lifecycle.domain.packages import Environment, Locked, Note, Wheel, normal

LOCK_VERSION = "1.0"
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def write_pylock(
    environment: Environment,
    packages: Iterable[Locked],
    notes: Iterable[Note],
    *,
    source: Mapping[str, object],
) -> bytes:
    """Return a lock of an environment.

    Args:
        packages: What is locked; one with neither wheels nor a place stands there by name and version alone,
            and installers refuse the lock, as they should.
        notes: What a reader should know of single packages; kept below `[tool.vlm]`.
        source: Where the environment was read, kept below `[tool.vlm]`; names no path.
    """
    minor = ".".join(environment.python.split(".")[:2])
    lines = [
        f"lock-version = {_value(LOCK_VERSION)}",
        f"environments = [{_value(_marker(environment))}]",
        f"requires-python = {_value(f'=={minor}.*')}",
        'created-by = "vlm"',
    ]
    for package in sorted(packages, key=lambda one: normal(one.name)):
        lines += ["", "[[packages]]", f"name = {_value(normal(package.name))}"]
        lines.append(f"version = {_value(package.version)}")
        if package.place is not None:
            lines.append(f"{package.place[0]} = {_value(package.place[1])}")
        if package.wheels:
            lines += ["wheels = [", *(f"  {_value(_wheel(wheel))}," for wheel in package.wheels), "]"]
    tool = {
        "python": environment.python,
        "system": environment.system,
        "machine": environment.machine,
        "libc": environment.libc,
        **source,
    }
    lines += ["", "[tool.vlm]", *(f"{_key(key)} = {_value(value)}" for key, value in tool.items())]
    told = [
        {"package": note.package, "version": note.version, "finding": note.trouble.value, "said": note.said}
        for note in notes
    ]
    if told:
        lines += ["findings = [", *(f"  {_value(item)}," for item in told), "]"]
    return ("\n".join(lines) + "\n").encode("utf-8")


def _marker(environment: Environment) -> str:
    parts = {
        "implementation_name": environment.implementation,
        "sys_platform": environment.system,
        "platform_machine": environment.machine,
    }
    return " and ".join(f"{name} == '{value}'" for name, value in parts.items() if value.isprintable())


def _wheel(wheel: Wheel) -> Mapping[str, object]:
    place = {"url": wheel.url} if wheel.url else {"path": wheel.name}
    size = {} if wheel.size_bytes is None else {"size": wheel.size_bytes}
    return {"name": wheel.name, **place, **size, "hashes": {"sha256": wheel.sha256}}


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _value(name)


def _value(value: object) -> str:
    """Write a value as TOML; texts as basic strings, whose escapes are those of JSON but for one character."""
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(str(key))} = {_value(item)}" for key, item in value.items())
        return f"{{ {inner} }}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(item) for item in value)}]"
    text = str(value).encode("utf-8", "backslashreplace").decode("utf-8")
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
