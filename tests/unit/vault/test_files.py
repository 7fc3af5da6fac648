"""Files are written whole or not at all; what is no file is never replaced by one."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lifecycle.domain.errors import Unavailable
from lifecycle.vault.files import write_durably


def test_a_file_is_replaced_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")

    write_durably(tmp_path / "a", b"new")

    assert (tmp_path / "a").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    heard: list[bytes] = []
    reader = threading.Thread(target=lambda: heard.append(pipe.read_bytes()))
    reader.start()

    write_durably(pipe, b"told")
    reader.join()

    assert heard == [b"told"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_device_behind_a_link_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "null").symlink_to("/dev/null")

    write_durably(tmp_path / "null", b"told")

    assert (tmp_path / "null").is_symlink()
    assert Path("/dev/null").is_char_device()


def test_standard_output_that_leads_to_a_file_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    told = tmp_path / "told"
    program = (
        "from pathlib import Path; from lifecycle.vault.files import write_durably as write; import sys; "
    )
    program += "write(Path(sys.argv[1]), b'table, '); print('result')"

    for name in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"):
        before = os.path.lexists(name) and Path(name).is_symlink()
        with told.open("wb") as out:
            subprocess.run([sys.executable, "-c", program, name], stdout=out, check=True)
        assert told.read_bytes() == b"table, result\n"
        assert Path(name).is_symlink() == before


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()

    with pytest.raises(Unavailable):
        write_durably(tmp_path / "folder", b"told")

    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
