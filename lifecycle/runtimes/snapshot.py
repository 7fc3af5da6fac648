"""The copy of `engine/` that workers run: named by its hash, read-only, made once."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from lifecycle.domain.errors import IntegrityError

_SKIPPED = ("__pycache__", ".mypy_cache")


def engine_files(engine: Path) -> list[Path]:
    """Return the files of the engine that count, sorted by their path."""
    files = [path for path in engine.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    return sorted(path for path in files if not set(path.relative_to(engine).parts) & set(_SKIPPED))


def engine_hash(engine: Path) -> str:
    """Return "blake3:<hex>" over names and contents of the engine's files."""
    whole = blake3()
    for file in engine_files(engine):
        name = file.relative_to(engine).as_posix().encode()
        content = blake3(file.read_bytes()).digest()
        whole.update(len(name).to_bytes(4, "little") + name + content)
    return "blake3:" + whole.hexdigest()


@dataclass(frozen=True, slots=True)
class EngineCopy:
    """A copy of the engine.

    Args:
        folder: Holds `engine/`.
        digest: "blake3:<hex>" over its files.
    """

    folder: Path
    digest: str

    @property
    def script(self) -> Path:
        """What the worker's Python is started with."""
        return self.folder / "engine" / "__main__.py"


def snapshot(engine: Path, root: Path) -> EngineCopy:
    """Return the copy of the engine, making it where there is none.

    Args:
        engine: The engine that is installed beside lifecycle.
        root: VLM_RUNTIMES.

    Raises:
        IntegrityError: The engine's files changed while they were copied.
    """
    digest = engine_hash(engine)
    folder = root / ".engine" / digest.removeprefix("blake3:")[:32]
    if folder.is_dir():
        return EngineCopy(folder, digest)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".new-"))
    try:
        for file in engine_files(engine):
            copy = temporary / "engine" / file.relative_to(engine)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
            copy.chmod(0o444)
        if engine_hash(temporary / "engine") != digest:
            raise IntegrityError("the engine's files changed while they were copied", hint="vlm doctor")
        temporary.chmod(0o755)
        try:
            temporary.rename(folder)
        except OSError:
            # another process was first; its copy has the same hash
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return EngineCopy(folder, digest)
