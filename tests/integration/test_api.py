"""vlm for programs: the same services with typed results, and the same refusals as errors."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

import lifecycle
from lifecycle.domain.errors import Held, NotFound, Refused
from tests.files import recordings, speaker, weights
from tests.rooms import environment_of, session


@pytest.fixture
def vlm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[lifecycle.Lifecycle]:
    """A registry with one voice of one person, opened as a program opens it."""
    with session(tmp_path):
        pass
    for name, value in environment_of(tmp_path).items():
        monkeypatch.setenv(name, value)
    with lifecycle.open(tmp_path / "home", keys=tmp_path / "keys") as opened:
        consent = tmp_path / "agreed.txt"
        consent.write_text("yes", encoding="utf-8")
        opened.register(
            "kol-lin",
            weights=[weights(tmp_path / "voice.safetensors")],
            embedding=speaker(tmp_path / "speaker.safetensors"),
            audio=[recordings(tmp_path / "recordings")],
            consents=[consent],
            subject="10042",
            owner="video",
        )
        yield opened


def test_what_was_registered_is_listed_and_shown(vlm: lifecycle.Lifecycle) -> None:
    (listed,) = vlm.list()

    assert (listed.name, listed.owner, listed.recordings) == ("kol-lin", "video", 2)
    assert vlm.show("kol-lin").voice.state.value == "active"


def test_an_audit_names_the_voices_at_risk(vlm: lifecycle.Lifecycle) -> None:
    found = vlm.audit()

    about_voices = {finding.risk.voice for finding in found.listed} - {""}
    assert about_voices == {"kol-lin"}


def test_retiring_deletes_nothing(vlm: lifecycle.Lifecycle) -> None:
    assert vlm.retire("kol-lin").voice == "kol-lin"
    assert vlm.list()[0].recordings == 2


def test_a_purge_is_planned_and_then_done_on_the_name_once_more(vlm: lifecycle.Lifecycle) -> None:
    planned = vlm.plan_purge("kol-lin")
    assert not planned.plan.empty
    assert vlm.list()[0].recordings == 2

    done = vlm.purge_audio("kol-lin", confirm="kol-lin")

    assert done is not None
    assert done.exit_code == 0
    assert done.certificate.is_file()
    assert vlm.list()[0].recordings == 0
    assert vlm.purge_audio("kol-lin", confirm="kol-lin") is None


def test_an_erased_voice_leaves_no_name(vlm: lifecycle.Lifecycle) -> None:
    vlm.retire("kol-lin")
    vlm.erase("kol-lin", confirm="kol-lin")

    assert vlm.list() == ()
    assert [voice.name for voice in vlm.list(everything=True)] == [None]


def test_another_name_as_confirmation_changes_nothing(vlm: lifecycle.Lifecycle) -> None:
    with pytest.raises(Refused, match='confirm is "kol"'):
        vlm.purge_audio("kol-lin", confirm="kol")

    assert vlm.list()[0].recordings == 2


def test_a_hold_forbids_it_here_too(vlm: lifecycle.Lifecycle) -> None:
    vlm.hold("kol-lin", reason="case 7")

    with pytest.raises(Held):
        vlm.purge_audio("kol-lin", confirm="kol-lin")


def test_what_is_in_use_is_not_purged(vlm: lifecycle.Lifecycle) -> None:
    vlm.add_use("kol-lin", where="k8s://prod/tts", term="24h")
    with pytest.raises(Refused, match="in use at k8s://prod/tts"):
        vlm.purge_audio("kol-lin", confirm="kol-lin")

    vlm.remove_use("kol-lin", where="k8s://prod/tts")
    assert vlm.purge_audio("kol-lin", confirm="kol-lin") is not None


def test_a_withdrawal_blocks_speaking_at_once(vlm: lifecycle.Lifecycle, tmp_path: Path) -> None:
    assert vlm.withdraw("10042", received=datetime.now(UTC).date()).case

    with pytest.raises(Refused, match="withdrew"):
        vlm.speak("kol-lin", "Hello.", out=tmp_path / "out.wav")


def test_an_audit_can_be_of_some_voices_only(vlm: lifecycle.Lifecycle) -> None:
    assert vlm.audit(owner="video").voices == 1
    assert vlm.audit(owner="radio").voices == 0


def test_an_unknown_voice_is_an_error_with_an_exit_code_and_a_hint(vlm: lifecycle.Lifecycle) -> None:
    with pytest.raises(NotFound) as caught:
        vlm.show("kol-li")

    assert caught.value.exit_code == 3
    assert caught.value.hint == "did you mean: vlm show kol-lin"


def test_the_ten_lines_of_the_page_run_as_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with session(tmp_path):
        pass
    for name, value in environment_of(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    weights(tmp_path / "lin.safetensors")
    page = (Path(__file__).parents[2] / "docs" / "howto" / "python.md").read_text(encoding="utf-8")
    first, second = page.split("```python\n")[1:]

    names: dict[str, object] = {}
    for block in (first, second):
        exec(compile(block.partition("```")[0], "python.md", "exec"), names)

    out = capsys.readouterr().out
    assert "kol-lin active video" in out
    assert "nothing of kol-lin is left to destroy" in out
