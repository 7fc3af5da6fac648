"""A shell completes names of voices quickly, and says nothing where there is nothing to say."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lifecycle.registry.names import voice_names
from lifecycle.services.registration.register import register
from lifecycle.services.registration.request import RegisterRequest
from tests.conftest import Vlm
from tests.files import weights
from tests.rooms import session


def test_names_that_begin_like_the_word_are_offered_in_order(tmp_path):
    with session(tmp_path) as rooms:
        for seed, name in enumerate(["kol_b", "kol-a", "lin", "kolx"]):
            file = weights(tmp_path / f"{seed}.safetensors", seed=seed)
            register(RegisterRequest(name=name, weights=(file,)), rooms=rooms)
        where = rooms.registry.where

        assert voice_names(where, "kol") == ["kol-a", "kol_b", "kolx"]
        assert voice_names(where, "kol_") == ["kol_b"]
        assert voice_names(where, "%") == []
        assert voice_names(where, "", limit=2) != []
        assert voice_names(where, "' OR 1=1 --") == []


def completed(vlm: Vlm, *words: str) -> subprocess.CompletedProcess[str]:
    """Complete the last word as bash does, with the script that `vlm completion bash` prints."""
    program = Path(sys.executable).with_name("vlm")
    bash = shutil.which("bash")
    if bash is None or not program.exists():
        pytest.skip("bash or the program vlm is missing")
    script = (
        'eval "$(vlm completion bash)"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _vlm_completion vlm; '
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    environment = {**vlm.environment, "PATH": f"{program.parent}:{vlm.environment['PATH']}"}
    return subprocess.run(
        [bash, "-c", script, "bash", *words], env=environment, capture_output=True, text=True, check=False
    )


def test_bash_completes_commands_options_and_voices(vlm, tmp_path):
    vlm.ok("register", "kol-lin", "--weights", weights(tmp_path / "kol.safetensors"))

    assert completed(vlm, "vlm", "lo").stdout.split() == ["lock"]
    assert "--from-image" in completed(vlm, "vlm", "lock", "--").stdout.split()
    assert completed(vlm, "vlm", "show", "k").stdout.split() == ["kol-lin"]
    assert completed(vlm, "vlm", "hold", "").stdout.split() == ["kol-lin"]


def test_without_a_registry_nothing_is_offered_and_nothing_is_said(bare_vlm):
    done = completed(bare_vlm, "vlm", "show", "")

    assert (done.stdout.split(), done.stderr) == ([], "")


def test_another_shell_is_refused_with_those_that_there_are(bare_vlm):
    answer = bare_vlm.run("completion", "tcsh")

    assert (answer.code, answer.out) == (2, "")
    assert bare_vlm.ok("completion", "zsh").out.startswith("#compdef vlm")


def test_every_command_that_takes_a_voice_completes_its_name():
    families = Path(__file__).parents[2] / "lifecycle" / "cli"
    own = [path.name for path in families.glob("*.py") if 'help="Name of the voice."' in path.read_text()]

    assert own == ["common.py"], "use VoiceArgument"
