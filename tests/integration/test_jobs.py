"""What a killed command leaves in the work folder is gone after the next one."""

import subprocess
import sys

from tests.conftest import Vlm


def dead_process() -> int:
    """Return the number of a process that has ended."""
    done = subprocess.Popen([sys.executable, "-c", "pass"])
    done.wait()
    return done.pid


def test_a_dead_workers_folder_is_emptied_by_the_next_command(vlm: Vlm):
    left = vlm.home / "work" / f"worker-{dead_process()}-abc"
    (left / "inputs").mkdir(parents=True)
    (left / "inputs" / "speaker.safetensors").write_bytes(b"somebody's voice")

    vlm.ok("list")

    assert not left.exists()


def test_a_living_workers_folder_is_left_alone_and_is_no_stray(vlm: Vlm):
    import os

    living = vlm.home / "work" / f"worker-{os.getpid()}-abc"
    living.mkdir(parents=True)

    vlm.ok("doctor")

    assert living.exists()
