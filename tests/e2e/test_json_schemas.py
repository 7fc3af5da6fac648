"""What `--json` prints is what lifecycle/schemas says, for every command and for errors."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer

from lifecycle.cli.main import app
from tests.conftest import Answer, Vlm
from tests.files import recordings, weights
from tests.postgres import databases, server

SCHEMAS = Path(__file__).parents[2] / "lifecycle" / "schemas"
SUFFIX = ".schema.json"
SNAKE = re.compile(r"[a-z][a-z0-9_]*")
# Below these keys stand words of others: settings of a checkpoint, an author's specification, roles, states.
FOREIGN = {"facts", "config", "spec", "fit", "places", "destroyed", "would_destroy", "packages", "body"}


def validator(name: str) -> jsonschema.Draft202012Validator:
    """Return the validator of one schema."""
    schema = json.loads((SCHEMAS / f"{name}{SUFFIX}").read_text(encoding="utf-8"))
    return jsonschema.Draft202012Validator(schema)


def check(name: str, answer: Answer, *, code: int = 0) -> dict[str, Any]:
    """Hold an answer against its command's schema and the conventions; return its object."""
    assert answer.code == code, f"{name}: {answer.code}\n{answer.out}\n{answer.err}"
    told = answer.json
    best = jsonschema.exceptions.best_match(validator(name).iter_errors(told))
    assert best is None, f"{name}: {best.json_path}: {best.message}\n{answer.out[:3000]}"
    if told["ok"] is False:
        validator("error").validate(told)
    foreign = [key for key in keys_of(told) if SNAKE.fullmatch(key) is None]
    assert foreign == [], name
    return told


def fails(answer: Answer, code: int, word: str) -> None:
    """Hold an error against the schema of errors."""
    assert answer.code == code
    validator("error").validate(answer.json)
    assert answer.json["error"]["code"] == word


def keys_of(value: object) -> Iterator[str]:
    """Yield every key of ours at any depth."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield key
            if key not in FOREIGN:
                yield from keys_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys_of(inner)


def commands(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the name of every command that prints JSON, as its schema is called."""
    command = command or typer.main.get_command(app)
    inner = getattr(command, "commands", {})
    for name, child in inner.items():
        yield from commands(child, (*path, name))
    if path and (not inner or command.invoke_without_command):
        yield "-".join(path)


def test_every_command_has_a_schema_and_every_schema_a_command():
    schemas = {path.name.removesuffix(SUFFIX) for path in SCHEMAS.glob(f"*{SUFFIX}")}
    assert schemas == {*commands(), "error"}


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob(f"*{SUFFIX}")), ids=lambda path: path.name)
def test_a_schema_is_valid_and_names_only_keys_in_snake_case(path):
    schema = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:voice-lifecycle:schema:{path.name.removesuffix(SUFFIX)}:1"
    assert [key for key in properties_of(schema) if SNAKE.fullmatch(key) is None] == []


def properties_of(schema: object) -> Iterator[str]:
    """Yield every property that a schema names."""
    if isinstance(schema, Mapping):
        yield from schema.get("properties", {}) if isinstance(schema.get("properties"), Mapping) else ()
        for inner in schema.values():
            yield from properties_of(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from properties_of(inner)


def test_a_registry_speaks_as_its_schemas_say(bare_vlm: Vlm, tmp_path):
    vlm = bare_vlm
    fails(vlm.run("list", "--json"), 3, "not_found")
    assert check("init", vlm.run("init", "--json"))["dry_run"] is False
    assert (
        check("demo", vlm.run("demo", "--dir", tmp_path / "demo", "--dry-run", "--json"))["dry_run"] is True
    )
    assert not (tmp_path / "demo").exists()
    check("config-show", vlm.run("config", "show", "--json"))
    file = weights(tmp_path / "kol.safetensors")
    check("inspect", vlm.run("inspect", file, "--digests", "--json"))
    (tmp_path / "torn.pth").write_bytes(b"PK\x03\x04torn")
    assert check("inspect", vlm.run("inspect", tmp_path / "torn.pth", "--json"), code=6)["safe"] is None

    consent = tmp_path / "consent.txt"
    consent.write_text("I agree.\n", encoding="utf-8")
    lockfile = tmp_path / "requirements.txt"
    lockfile.write_text("no-such-package-of-ours==1.0\n", encoding="utf-8")
    person = ["--subject", "10042", "--consent", consent, "--consent-until", "2999-12-31"]
    files = ["--weights", file, "--audio", recordings(tmp_path / "audio")]
    arrived = ["register", "kol", *files, *person, "--owner", "video", "--json"]
    check("register", vlm.run(*arrived, "--dry-run"))
    told = check("register", vlm.run(*arrived))
    assert {artifact["role"] for artifact in told["artifacts"]} >= {"weights", "audio", "consent"}
    fails(vlm.run("show", "kol-x", "--json"), 3, "not_found")
    fails(vlm.run("register", "../up", "--weights", file, "--json"), 2, "usage")

    check("list", vlm.run("list", "--json"))
    check("show", vlm.run("show", "kol", "--json"))
    check("completion", vlm.run("completion", "bash", "--json"))
    check("spec", vlm.run("spec", "kol", "--json"))
    check("spec", vlm.run("spec", "kol", "--check", "--json"), code=12)
    check("lock", vlm.run("lock", "kol", lockfile, "--check", "--offline", "--json"), code=12)
    fails(vlm.run("lock", "kol", "--show", "--json"), 3, "not_found")
    check("golden-show", vlm.run("golden", "show", "kol", "--json"))
    check("audit", vlm.run("audit", "--json", "--fail-on", "never"))
    accepted = ["audit", "accept", "no-image", "kol", "--until", "2999-01-31", "--reason", "none", "--json"]
    check("audit-accept", vlm.run(*accepted, "--dry-run"))


def test_the_end_of_a_voice_speaks_as_its_schemas_say(vlm: Vlm, tmp_path):
    person = ["--subject", "10042", "--consent", weights(tmp_path / "consent.safetensors", seed=9)]
    files = ["--weights", weights(tmp_path / "kol.safetensors"), "--audio", recordings(tmp_path / "audio")]
    vlm.ok("register", "kol", *files, *person)

    check("deprecate", vlm.run("deprecate", "kol", "--json"))
    check("restore", vlm.run("restore", "kol", "--json"))
    check("hold", vlm.run("hold", "kol", "--reason", "case 7", "--json"))
    fails(vlm.run("retire", "kol", "--purge-audio", "--yes", "--json"), 4, "held")
    check("unhold", vlm.run("unhold", "kol", "--dry-run", "--json"))
    check("release", vlm.run("release", "kol", "--json"))

    check("retire", vlm.run("retire", "kol", "--dry-run", "--json"))
    planned = check("retire", vlm.run("retire", "kol", "--purge-audio", "--dry-run", "--json"))
    assert planned["would_destroy"] == {"audio": 2}
    done = check("retire", vlm.run("retire", "kol", "--purge-audio", "--yes", "--json"))
    checked = check("certificate-verify", vlm.run("certificate", "verify", done["certificate"], "--json"))
    assert checked["purge"] == done["purge"]
    check("erase", vlm.run("erase", "kol", "--dry-run", "--json"))
    assert check("erase", vlm.run("erase", "kol", "--yes", "--json"))["state"] == "erased"
    told = check("list", vlm.run("list", "--all", "--json"))
    assert [voice["name"] for voice in told["voices"]] == [None]
    check("trail-verify", vlm.run("trail", "verify", "--json"))
    check("doctor", vlm.run("doctor", "--dry-run", "--json"))


def test_the_registry_says_where_it_is_as_its_schemas_say(vlm: Vlm):
    there = "sqlite" if databases.active else server().url(server().create())

    assert check("registry-show", vlm.run("registry", "show", "--json"))["moved_to"] is None
    assert check("registry-move", vlm.run("registry", "move", there, "--dry-run", "--json"))["dry_run"]
    check("registry-move", vlm.run("registry", "move", there, "--yes", "--json"))
    assert check("registry-move", vlm.run("registry", "move", there, "--json"))["finished"]
    assert check("registry-show", vlm.run("registry", "show", "--json"))["moved_to"] is not None
    fails(vlm.run("list", "--json"), 4, "refused")


def test_backups_speak_as_their_schemas_say(vlm: Vlm, tmp_path):
    vlm.ok("register", "kol", "--weights", weights(tmp_path / "kol.safetensors"), "--own-voice")
    create = ["backup", "create", tmp_path / "bk", "--keys-to", tmp_path / "keys-copy", "--json"]
    assert check("backup-create", vlm.run(*create, "--dry-run"))["copied_files"] > 0
    check("backup-create", vlm.run(*create))
    assert check("backup-create", vlm.run(*create))["copied_files"] == 0
    checked = check("backup-check", vlm.run("backup", "check", tmp_path / "bk", "--read-data", "--json"))
    assert [snapshot["attested"] for snapshot in checked["snapshots"]] == [True, True]
    assert len(check("backup-list", vlm.run("backup", "list", tmp_path / "bk", "--json"))["snapshots"]) == 2
    check("backup-restore", vlm.run("backup", "restore", tmp_path / "bk", "--to", tmp_path / "new", "--json"))
    check("backup-prune", vlm.run("backup", "prune", tmp_path / "bk", "--keep", "1", "--dry-run", "--json"))
    check("backup-prune", vlm.run("backup", "prune", tmp_path / "bk", "--keep", "1", "--yes", "--json"))
    (snapshot,) = (tmp_path / "bk" / "snapshots").iterdir()
    (snapshot / "keys.db").unlink()
    told = check("backup-check", vlm.run("backup", "check", tmp_path / "bk", "--json"), code=5)
    assert told["whole"] is False
    fails(vlm.run("backup", "check", tmp_path, "--json"), 3, "not_found")
    fails(vlm.run("backup", "create", vlm.home / "bk", "--json"), 2, "usage")


@pytest.mark.server
def test_running_a_voice_speaks_as_its_schemas_say(vlm: Vlm, debug_voice, torch_runtime, tmp_path):
    vlm.ok("register", "kol", "--weights", debug_voice[0], "--embedding", debug_voice[1], "--own-voice")
    check("runtime-list", vlm.run("runtime", "list", "--json"))
    check("runtime-add", vlm.run("runtime", "add", torch_runtime, "--json"))
    removed = vlm.run("runtime", "remove", torch_runtime, "--dry-run", "--json")
    check("runtime-remove", removed)
    check("golden-record", vlm.run("golden", "record", "kol", "--json"))
    check("golden-show", vlm.run("golden", "show", "kol", "--json"))
    check("verify", vlm.run("verify", "--dry-run", "--json"))
    told = check("verify", vlm.run("verify", "kol", "--why", "--json"))
    assert told["results"][0]["verdict"] == "works"
    saying = ("speak", "kol", "--text", "Hello.", "-o", tmp_path / "out.wav", "--json")
    check("speak", vlm.run(*saying, "--dry-run"))
    assert not (tmp_path / "out.wav").exists()
    check("speak", vlm.run(*saying))
    short = recordings(tmp_path / "short", count=1)
    refused = check("prepare", vlm.run("prepare", short, "--json"), code=6)
    assert refused["error"]["code"] == "unreadable"
