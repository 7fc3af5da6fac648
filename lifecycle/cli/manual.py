"""Manual pages of every command, made from the commands themselves by `python -m lifecycle.cli.reference`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from lifecycle.cli.reference import all_commands

_NAME = "vlm - the voice lifecycle manager: keeps cloned voices working, and ends them with evidence"
_CODES = (
    ("0", "fine"), ("1", "a bug of vlm"), ("2", "usage"), ("3", "not found"),
    ("4", "refused: hold, use, state, policy, consent, or a confirmation that is missing"),
    ("5", "integrity"), ("6", "bad or unread input file"), ("7", "a dependency is missing or unreachable"),
    ("8", "busy"), ("9", "done, but not all of it could be done or checked"),
    ("10, 11", "the audit found warnings, or critical risks"),
    ("12, 13, 14", "not checked, differs, broken or crashed"), ("130", "interrupted"),
)  # fmt: skip


def manual() -> dict[str, str]:
    """Return every manual page in roff (man(7)), by file name: vlm.1, vlm-register.1, vlm-runtime-add.1, ..."""
    commands = all_commands()
    found = {"vlm.1": _root(commands)}
    for path, command in commands:
        found[f"{'-'.join(path)}.1"] = _page(path, command)
    return found


def _root(commands: Sequence[tuple[list[str], Any]]) -> str:
    lines = [*_head(["vlm"]), ".SH NAME", _text(_NAME), ".SH SYNOPSIS", ".B vlm", ".I COMMAND"]
    lines += ["[OPTIONS]", ".SH COMMANDS"]
    for path, command in commands:
        lines += [".TP", f".BR {'-'.join(path)} (1)".replace("-", "\\-"), _text(_first(command))]
    lines.append(".SH EXIT STATUS")
    for code, meaning in _CODES:
        lines += [".TP", f".B {code}", _text(meaning)]
    lines += [".SH ENVIRONMENT", _text("VLM_HOME, VLM_KEYS and others; what they are now:"), ".PP"]
    lines.append(".B vlm config show")
    return "\n".join(lines) + "\n"


def _page(path: Sequence[str], command: Any) -> str:
    lines = [*_head(path), ".SH NAME", f"{_text('-'.join(path))} \\- {_text(_first(command))}"]
    lines += [".SH SYNOPSIS", f".B {_text(' '.join(path))}"]
    lines += [_text(_argument(one)) for one in command.params if one.param_type_name == "argument"]
    lines.append("[OPTIONS]")
    rest = (command.help or "").strip().split("\n\n")[1:]
    if rest:
        lines.append(".SH DESCRIPTION")
        lines += [part for told in rest for part in (".PP", _text(" ".join(told.split())))]
    lines.append(".SH OPTIONS")
    for parameter in command.params:
        if not getattr(parameter, "hidden", False):
            lines += [
                ".TP",
                f".B {_text(_named(parameter))}",
                _text(getattr(parameter, "help", None) or "\\&"),
            ]
    if command.epilog:
        lines += [".SH EXAMPLE", ".PP", ".EX", _text(command.epilog.removeprefix("Example: ")), ".EE"]
    lines += [".SH SEE ALSO", ".BR vlm (1)"]
    return "\n".join(lines) + "\n"


def _head(path: Sequence[str]) -> list[str]:
    title = "-".join(path).upper().replace("-", "\\-")
    return [f'.TH {title} 1 "" vlm "Voice lifecycle manager"']


def _first(command: Any) -> str:
    return " ".join((command.help or "").strip().split("\n\n")[0].split()).rstrip(".")


def _argument(parameter: Any) -> str:
    name = (parameter.metavar or parameter.name.upper()).strip("[].{}")
    name += " ..." if parameter.nargs == -1 else ""
    return name if parameter.required else f"[{name}]"


def _named(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return _argument(parameter)
    value = "" if parameter.is_flag else f" {parameter.metavar or 'VALUE'}"
    names = [f"{name}{value}" for name in sorted(parameter.opts, key=len)]
    return ", ".join([*names, *parameter.secondary_opts])


def _text(text: str) -> str:
    """Escape what roff would take for its own: backslashes, dashes, and a dot or quote that begins a line."""
    plain = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", plain)
