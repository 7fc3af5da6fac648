"""What every command has in common: where output goes, how errors leave, and what is never printed."""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import Vlm


def test_init_makes_a_registry_once_and_finds_it_again(bare_vlm: Vlm):
    first = bare_vlm.ok("init", "--json").json
    second = bare_vlm.ok("init", "--json").json
    assert first["created"] is True
    assert second["created"] is False
    assert first["installation"] == second["installation"]
    assert bare_vlm.home.stat().st_mode & 0o077 == 0
    assert (bare_vlm.keys / first["installation"]).stat().st_mode & 0o077 == 0


def test_init_refuses_keys_inside_the_registry_that_they_protect(bare_vlm: Vlm):
    answer = bare_vlm.with_env(VLM_KEYS=str(bare_vlm.home / "keys")).run("init")
    assert answer.code == 2
    assert "inside the registry" in answer.err
    assert not bare_vlm.home.exists()


def test_a_dry_run_of_init_makes_nothing(bare_vlm: Vlm):
    bare_vlm.ok("init", "--dry-run")
    assert not bare_vlm.home.exists()


def test_without_a_registry_the_error_names_the_command_that_makes_one(bare_vlm: Vlm):
    answer = bare_vlm.run("list")
    assert answer.code == 3
    assert answer.out == ""
    assert "vlm init" in answer.err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["shwo"], 2),
        (["show"], 2),
        (["list", "--jsno"], 2),
        (["show", "nobody"], 3),
        (["inspect", "nowhere"], 3),
    ],
)
def test_errors_are_one_sentence_and_a_hint_for_people_and_one_object_for_programs(vlm: Vlm, arguments, code):
    for_people = vlm.run(*arguments)
    for_programs = vlm.run(*arguments, "--json")
    assert (for_people.code, for_programs.code) == (code, code)
    assert for_people.out == ""
    assert for_people.err.startswith("vlm: ")
    assert "Traceback" not in for_people.err
    told = for_programs.json
    assert told["ok"] is False
    assert told["error"]["message"] in for_people.err
    assert set(told["error"]) == {"code", "message", "hint"}


def test_a_mistyped_name_is_answered_with_the_right_one(vlm: Vlm, debug_voice):
    vlm.ok("register", "kol-lin", "--weights", debug_voice[0])
    assert "kol-lin" in vlm.run("show", "kol-lim").err


def test_names_in_any_bytes_reach_no_terminal_as_they_are(vlm: Vlm):
    name = os.fsdecode(b"a\xff\x1b[2J.pth")
    answer = vlm.run("inspect", name)
    assert answer.code == 3
    assert "\x1b[2J" not in answer.err
    assert len(answer.err.splitlines()) <= 2


def test_a_closed_pipe_is_no_error(vlm: Vlm):
    line = f'"{sys.executable}" -m lifecycle --help | head -n 1'
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], env=vlm.environment, capture_output=True, check=False
    )
    assert done.stderr == b""


def test_every_command_explains_itself_with_an_example(bare_vlm: Vlm):
    import typer

    from lifecycle.cli.main import app

    def walk(command, path):
        for name, child in getattr(command, "commands", {}).items():
            yield from walk(child, [*path, name])
        if not hasattr(command, "commands"):
            yield path, command

    for path, command in walk(typer.main.get_command(app), []):
        assert command.help, path
        assert (command.epilog or "").startswith("Example: vlm "), path
        options = {option for parameter in command.params for option in parameter.opts}
        assert "--json" in options, path


def test_config_show_says_where_each_value_comes_from_and_masks_secrets(bare_vlm: Vlm):
    program = bare_vlm.with_env(VLM_TORCH_INDEX="https://me:secret@index.example/cpu")
    answer = program.ok("config", "show", "--json")
    settings = {each["name"]: each for each in answer.json["settings"]}
    assert settings["home"]["source"] == "environment"
    assert settings["torch_index"]["value"] == "https://***@index.example/cpu"
    assert "secret" not in answer.out


def test_a_bug_leaves_no_traceback_unless_it_is_asked_for(vlm: Vlm):
    code = (
        "import sys; sys.argv = ['vlm', 'list', '--json']\n"
        "import lifecycle.services.shelf as s\n"
        "def broken(*a, **k): raise RuntimeError('boom')\n"
        "for n in [n for n in dir(s) if n.startswith('list')]: setattr(s, n, broken)\n"
        "from lifecycle.cli.main import main; main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=vlm.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["code"] == "internal"
    assert "Traceback" not in done.stderr
