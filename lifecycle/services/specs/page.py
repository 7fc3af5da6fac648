"""A voice's specification as a page in Markdown, for whoever has to feed the voice or to use what it gives."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

from lifecycle.services.specs.sheet import Sheet

_TITLES = {
    "output": "What comes out",
    "frames": "Frames",
    "dimensions": "Dimensions",
    "input": "What goes in",
    "front_end": "Front end",
    "tokens": "Token map",
}
_UNITS = {
    "hop": "samples", "window": "samples", "n_fft": "samples", "mel_bands": "bands", "reference_bins": "bins",
    "frames_per_second": "1/s",
}  # fmt: skip


def page_of(name: str, sheet: Sheet, *, given: str | None) -> list[str]:
    """Return the lines of the page.

    Args:
        given: The specification that somebody wrote for the voice, as it is; None where vlm made it.
    """
    lines = [f"# What goes into {name}, and what comes out", ""]
    ordered = sorted(sheet.lines, key=lambda line: list(_TITLES).index(line.section))
    for section, found in groupby(ordered, key=lambda line: line.section):
        lines += [f"## {_TITLES[section]}", "", "| what | value | who says so |", "|---|---|---|"]
        lines += [f"| {_name(line.name)} | {_cell(line.value)} | {_cell(line.said)} |" for line in found]
        lines.append("")
    if sheet.needs:
        lines += ["## Needs", "", "| part | kept with the voice | what for |", "|---|---|---|"]
        lines += [
            f"| {_cell(need.part)} | {'yes' if need.present else '**missing**'} | {_cell(need.purpose)} |"
            for need in sheet.needs
        ]
        lines.append("")
    if sheet.clashes:
        lines += ["## Contradictions", "", *(f"- {_cell(clash.message)}" for clash in sheet.clashes), ""]
    if given is not None:
        lines += ["## As it was given", "", *(f"    {line}" for line in given.splitlines()), ""]
    return lines[:-1]


def _name(name: str) -> str:
    words = name.removesuffix("_hz").replace("_", " ")
    unit = "Hz" if name.endswith("_hz") else _UNITS.get(name, "")
    return f"{words} ({unit})" if unit else words


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_cell(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return " ".join(_cell(item) for item in value)
    plain = str(value).replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
    return plain.replace("&", "&amp;").replace("<", "&lt;")
