"""What a file is, by its first bytes and its content; the name decides only between kinds of text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final

from lifecycle.formats import (
    arrays,
    audio,
    checkpoints,
    faiss,
    gpt_sovits,
    known,
    lockfiles,
    onnx,
    other_voices,
    pt2,
    safetensors,
    torchscript,
)
from lifecycle.formats.checkpoints import Checkpoint
from lifecycle.formats.model import Finding, Inspection, TensorInfo, Unread, plural, shown
from lifecycle.formats.pickles import scan_words, walk
from lifecycle.formats.safetensors import common_dtype
from lifecycle.formats.source import Source
from lifecycle.formats.zips import Zip, looks_like_zip, repaired

_PICKLE_STARTS: Final = b"\x80(]}clcNIFSVKJMX\x8c)"


def inspect(file: BinaryIO, *, name: str, size: int, digests: bool = False) -> Inspection:
    """Tell what a file is and whether loading it would run something, without loading it.

    Never raises for what the file holds: one that could not be read to its end gives `safe=None` and `error`.

    Args:
        file: Seekable, opened for reading bytes.
        name: As the user knows it; used in sentences, and to tell kinds of text apart.
        size: In bytes.
        digests: Hash the bytes of each tensor too.

    Raises:
        OSError: The file could not be read from its disk.
    """
    try:
        return _read(Source(file, size), name, digests=digests)
    except Unread as unread:
        kind, reason = unread.kind, unread.reason
    except (RecursionError, MemoryError, OverflowError):
        kind, reason = "unknown", "is nested or sized in a way that cannot be followed"
    return Inspection(kind, None, error=f'"{shown(name)}" {reason}', summary="not read")


def _read(source: Source, name: str, *, digests: bool) -> Inspection:
    if source.size == 0:
        raise Unread("is empty")
    head = source.at(0, min(source.size, 512))
    if looks_like_zip(head):
        with _known_as("zip"):
            return _zip(source, digests=digests)
    if safetensors.looks_like(head, source.size):
        with _known_as("safetensors"):
            _refuse_two_faces(source)
            return safetensors.read(source, digests=digests)
    if head[:6] == arrays.MAGIC:
        return arrays.read_npy(source, digests=digests)
    if audio.looks_like(head) or faiss.looks_like(head):
        return audio.read(source, name) if audio.looks_like(head) else faiss.read(source)
    if head[0] in _PICKLE_STARTS and (head[0] == 0x80 or b"\0" in head or b"\n" in head):
        found = _pickled(source, digests=digests)
        if found is not None:
            return found
    if onnx.looks_like(head, name):
        return onnx.read(source, digests=digests)
    told = lockfiles.read(source, name) or other_voices.read_settings(source)
    if told is not None:
        return told
    raise Unread("is of no kind that is known here")


@contextmanager
def _known_as(kind: str) -> Iterator[None]:
    """Give a reason for not reading a file the kind that its first bytes told."""
    try:
        yield
    except Unread as unread:
        raise Unread(unread.reason, kind=kind if unread.kind == "unknown" else unread.kind) from None


def _refuse_two_faces(source: Source) -> None:
    """Refuse a data file that a careless `torch.load` would run: one that is a pickle or a tar archive too."""
    if checkpoints.is_tar(source):
        raise Unread("is a data file and a tar archive at once")
    try:
        walk(source, 0, source.size, external=False)
    except Unread:
        return
    raise Unread("is a data file and a pickle at once")


def _zip(source: Source, *, digests: bool) -> Inspection:
    whole, head = repaired(source)
    container = Zip(whole)
    if pt2.is_pt2(container):
        if head is not None:
            raise Unread(f'is an exported program with the altered head "{head}"', kind="pt2")
        return pt2.read(container, digests=digests)
    if arrays.is_npz(container) and head is None:
        return arrays.read_npz(container, digests=digests)
    folder = container.folder()
    if torchscript.is_script(container, folder):
        if head is not None:
            raise Unread(f'is a TorchScript archive with the altered head "{head}"', kind="torchscript")
        return torchscript.read(container, digests=digests)
    checkpoint = checkpoints.read_zip(container)
    return _describe(checkpoint, "torch-checkpoint", head=head, digests=digests)


def _pickled(source: Source, *, digests: bool) -> Inspection | None:
    if checkpoints.is_tar(source):
        raise Unread("is a pickle and a tar archive at once", kind="pickle")
    try:
        legacy = checkpoints.read_legacy(source)
    except Unread as unread:
        if source.at(0, 1) != b"\x80" and unread.kind == "unknown":
            return None
        raise Unread(unread.reason, kind="pickle" if unread.kind == "unknown" else unread.kind) from None
    if legacy is not None:
        return _describe(legacy, "torch-legacy", head=None, digests=digests)
    with _known_as("pickle"):
        return _describe(checkpoints.read_pickle(source), "pickle", head=None, digests=digests)


def _describe(checkpoint: Checkpoint, kind: str, *, head: str | None, digests: bool) -> Inspection:
    infos = checkpoint.infos(digests=digests)
    dtype = common_dtype([info.dtype for info in infos])
    shapes = {info.name: info.shape for info in infos}
    walks = checkpoint.walks
    facts: dict[str, object] = dict(checkpoint.facts)
    facts |= {
        "n_tensors": len(infos),
        "dtype": dtype,
        "globals": sorted({name for part in walks for name in part.globals}),
        "opcodes": sum(part.operations for part in walks),
        "protocol": max(part.protocol for part in walks),
    }
    if head is not None:
        facts |= {"head": head, "head_version": gpt_sovits.HEAD_VERSIONS[head]}
    findings = [finding for part in walks for finding in part.findings]
    findings += checkpoint.findings
    what = f"{_WORDS[kind]}, {dtype}, {plural(len(infos), 'tensor')}"
    if not checkpoint.unsafe:
        findings += _class_findings(checkpoint)
        voice = gpt_sovits.recognise(checkpoint.value, shapes, dtype, head)
        voice = voice or other_voices.recognise(checkpoint.value, shapes, dtype)
        if voice is not None:
            kind, what = voice.kind, voice.what
            facts |= voice.facts
            findings += voice.findings
        elif head is not None:
            findings.append(
                Finding("warning", "head", f'has the head "{head}" but not the tensors of GPT-SoVITS')
            )
    scan = scan_words(walks)
    summary = f"{what}     {scan}" if infos or not checkpoint.unsafe else f"{_WORDS[kind]}     {scan}"
    return Inspection(kind, not checkpoint.unsafe, tuple(findings), facts, infos, None, summary)


_WORDS: Final = {
    "torch-checkpoint": "torch checkpoint",
    "torch-legacy": "old torch checkpoint",
    "pickle": "pickle",
}


def _class_findings(checkpoint: Checkpoint) -> list[Finding]:
    names = list(dict.fromkeys(name for part in checkpoint.walks for name in part.classes))
    data = [name for name in names if name in known.DATA_CLASSES]
    layers = [name for name in names if known.is_layer(name)]
    findings = [Finding("info", "class", f"holds one class, {name}, not executed") for name in data]
    if layers:
        message = f"is a whole pickled module of {plural(len(layers), 'layer class')}, not weights alone"
        findings.append(Finding("warning", "whole_module", message))
    return findings


__all__ = ["TensorInfo", "inspect"]
