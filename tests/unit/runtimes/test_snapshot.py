"""The engine's copy: named by what is in it, made once, without leftovers of development."""

from __future__ import annotations

from lifecycle.runtimes.snapshot import engine_hash, snapshot


def engine(folder, text="print(1)\n"):
    for name in ("engine/__main__.py", "engine/audio/mel.py", "engine/__pycache__/x.pyc"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder / "engine"


def test_the_copy_holds_the_engine_and_nothing_that_python_left_behind(tmp_path):
    copy = snapshot(engine(tmp_path / "a"), tmp_path / "runtimes")

    names = sorted(
        path.relative_to(copy.folder).as_posix() for path in copy.folder.rglob("*") if path.is_file()
    )
    assert names == ["engine/__main__.py", "engine/audio/mel.py"]
    assert copy.script.stat().st_mode & 0o222 == 0


def test_the_same_engine_gives_the_same_copy_and_another_engine_another_one(tmp_path):
    first = snapshot(engine(tmp_path / "a"), tmp_path / "runtimes")
    again = snapshot(engine(tmp_path / "b"), tmp_path / "runtimes")
    other = snapshot(engine(tmp_path / "c", "print(2)\n"), tmp_path / "runtimes")

    assert first == again
    assert other.digest != first.digest
    assert other.folder != first.folder


def test_a_renamed_file_changes_the_hash(tmp_path):
    folder = engine(tmp_path / "a")
    before = engine_hash(folder)

    (folder / "audio" / "mel.py").rename(folder / "audio" / "lem.py")

    assert engine_hash(folder) != before
