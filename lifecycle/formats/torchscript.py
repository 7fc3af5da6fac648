"""TorchScript archives: the operators that their code names, their tensors, and what loading would run."""

from __future__ import annotations

import re
from typing import Final

from lifecycle.formats import limits
from lifecycle.formats.checkpoints import Checkpoint, checked_tensors
from lifecycle.formats.model import Finding, Inspection, TensorInfo, Unread, plural, shown
from lifecycle.formats.pickles import Walk, scan_words, walk
from lifecycle.formats.safetensors import common_dtype
from lifecycle.formats.source import memory
from lifecycle.formats.zips import Zip

_CALL = re.compile(
    r"(?<![\w.])(?:torch\s{0,9}\.\s{0,9}([A-Za-z_]\w{0,100})"
    r"|ops\s{0,9}\.\s{0,9}([A-Za-z_]\w{0,60})\s{0,9}\.\s{0,9}([A-Za-z_]\w{0,100}))\s{0,9}\("
)
_FILES = re.compile(r"\b(from_file|save)\b")
"""Operators that touch files; the bare word is enough, since code can give a function another name."""

_OWN_NAMESPACES: Final = frozenset({"aten", "prim", "prims", "quantized", "torch", "inductor", "_quantized"})
_MAX_CODE: Final = 64 * limits.MIB


def is_script(container: Zip, folder: str) -> bool:
    """Say whether torch would take the archive for TorchScript: that is what its constants decide."""
    return f"{folder}/constants.pkl" in container.members


def read(container: Zip, *, digests: bool = False) -> Inspection:
    """Inspect a TorchScript archive.

    Raises:
        Unread: It is damaged or ambiguous.
    """
    folder = container.folder()
    parts = tuple(_pickle(container, f"{folder}/{name}.pkl") for name in ("data", "constants"))
    operators = operators_in(container, folder)
    findings = [finding for part in parts for finding in part.findings]
    findings += _operator_findings(operators)
    findings += container.check()
    unsafe = any(finding.severity == "danger" for finding in findings)
    infos: tuple[TensorInfo, ...] = ()
    if not unsafe:
        for part, place in zip(parts, ("data", "constants"), strict=True):
            infos += _tensors(container, folder, part, place, digests=digests)
    facts: dict[str, object] = {
        "container": "TorchScript",
        "container_version": container.text(f"{folder}/version", 32).strip()
        if f"{folder}/version" in container.members
        else None,
        "n_tensors": len(infos),
        "dtype": common_dtype([info.dtype for info in infos]),
        "ops": operators,
        "globals": sorted({name for part in parts for name in part.globals}),
    }
    what = (
        f"TorchScript, {facts['dtype']}, {plural(len(infos), 'tensor')}, {plural(len(operators), 'operator')}"
    )
    scan = scan_words(parts) if any(part.unsafe for part in parts) else "runs only TorchScript"
    danger = next((finding for finding in findings if finding.severity == "danger"), None)
    if danger is not None and not any(part.unsafe for part in parts):
        scan = danger.message
    return Inspection("torchscript", not unsafe, tuple(findings), facts, infos, None, f"{what}     {scan}")


def operators_in(container: Zip, folder: str) -> list[str]:
    """Return the operators named in the archive's code, such as `aten::relu`, sorted.

    Raises:
        Unread: There is more code than is read, or it is not UTF-8.
    """
    found: set[str] = set()
    total = 0
    for name, member in container.members.items():
        if not name.startswith(f"{folder}/code/") or not name.endswith(".py"):
            continue
        total += member.size
        if total > _MAX_CODE:
            raise Unread("holds more code than can be looked at")
        code = container.text(name, _MAX_CODE)
        for plain, space, operator in _CALL.findall(code):
            found.add(f"aten::{plain}" if plain else f"{space}::{operator}")
        found.update(f"aten::{word}" for word in _FILES.findall(code))
    if len(found) > 10_000:
        raise Unread("names more operators than can be looked at")
    return sorted(found)


def _pickle(container: Zip, name: str) -> Walk:
    data = container.read(name)
    part = walk(memory(data), 0, len(data), script=True)
    if part.end is not None and part.end != len(data):
        raise Unread("has bytes behind the end of its pickle")
    return part


def _tensors(container: Zip, folder: str, part: Walk, place: str, *, digests: bool) -> tuple[TensorInfo, ...]:
    prefix = f"{folder}/{place}/"
    held = {
        name.removeprefix(prefix): container.window(name)
        for name, member in container.members.items()
        if name.startswith(prefix) and member.stored
    }
    tensors = checked_tensors(part.value, held)
    if place != "data":
        tensors = tuple((f"{place}.{name}", tensor) for name, tensor in tensors)
    return Checkpoint((part,), tensors, held, (), {}).infos(digests=digests)


def _operator_findings(operators: list[str]) -> list[Finding]:
    findings = [
        Finding("danger", "file_operator", f"uses {name}, which reads or writes files when it runs")
        for name in operators
        if name in ("aten::from_file", "aten::save")
    ]
    foreign = sorted({name.partition("::")[0] for name in operators} - _OWN_NAMESPACES)
    if foreign:
        message = (
            f"needs operators that are not torch's own: {', '.join(shown(name) for name in foreign[:5])}"
        )
        findings.append(Finding("warning", "foreign_operators", message))
    return findings
