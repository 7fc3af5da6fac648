"""`vlm import` in this process: what a folder gives, what a table does, and that a second run changes nothing."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from lifecycle.bootstrap import Rooms
from lifecycle.domain.errors import NotFound, Unavailable, UsageError
from lifecycle.domain.failpoints import arm
from lifecycle.domain.progress import Silent
from lifecycle.services.imports import run as import_run
from lifecycle.services.imports.propose import Proposal, propose
from lifecycle.services.imports.result import Imported
from lifecycle.services.imports.run import ImportOptions, import_table
from lifecycle.services.imports.tables import split_list, write_table
from tests import trees
from tests.files import recording, recordings, weights
from tests.rooms import session, settings_of


def found(root: Path, **more: Path) -> Proposal:
    return propose(root, settings=settings_of(root.parent), progress=Silent(), **more)


def by_name(proposal: Proposal) -> dict[str, Mapping[str, str]]:
    return {row["name"]: row for row in proposal.rows}


def table(folder: Path, *rows: Mapping[str, str], name: str = "voices.csv") -> Path:
    path = folder / name
    path.write_bytes(write_table(rows))
    return path


def voices(folder: Path, count: int) -> list[dict[str, str]]:
    """Make `count` small voices and their rows."""
    return [
        {"name": f"voice-{n}", "weights": weights(folder / f"{n}.st", seed=n).name, "owner": "video"}
        for n in range(count)
    ]


def trail_size(rooms: Rooms) -> int:
    with rooms.registry.read() as uow:
        return uow.trail.head()[0]


def results(done: Imported) -> list[tuple[str, str]]:
    return [(row.name, row.result) for row in done.rows]


class TestFolder:
    def test_the_newest_halves_of_an_experiment_make_a_voice_and_the_others_are_named(self, tmp_path: Path):
        proposal = found(trees.webui(tmp_path / "GPT-SoVITS"))

        lin = by_name(proposal)["lin"]
        assert split_list(lin["weights"]) == [
            "GPT_weights_v2/lin-e15.ckpt",
            "SoVITS_weights_v2/lin_e8_s400.pth",
        ]
        assert split_list(lin["other_weights"]) == [
            "GPT_weights_v2/lin-e10.ckpt",
            "SoVITS_weights_v2/lin_e8_s200.pth",
        ]
        assert sorted(by_name(proposal)) == ["lin", "mei"]

    def test_a_clip_its_text_and_its_recordings_come_from_the_list_it_was_trained_on(self, tmp_path: Path):
        rows = by_name(found(trees.webui(tmp_path / "GPT-SoVITS")))

        assert (
            rows["lin"]["ref_audio"] == "output/slicer_opt/five.wav"
        )  # of four, the one that is long enough
        assert (rows["lin"]["ref_text"], rows["lin"]["ref_lang"]) == ("五秒的一句话", "zh")
        assert rows["lin"]["audio"] == "output/slicer_opt"
        assert "ref_audio" not in rows["mei"]  # another voice's list is not hers
        assert rows["mei"]["audio"] == "raw/mei"
        assert rows["mei"]["lockfile"] == "requirements.txt"

    def test_recordings_that_no_row_names_are_counted_where_they_lie(self, tmp_path: Path):
        root = trees.webui(tmp_path / "GPT-SoVITS")
        recordings(root / "output" / "slicer_opt" / "guest", seed=8, count=2)
        (root / "raw" / "mei" / "phone.m4a").write_bytes(b"\0\0\0 ftypM4A ")
        recording(root / "voice.wav", seed=7)

        proposal = found(root)

        assert proposal.left_over == ((".", 1), ("output/slicer_opt/guest", 2), ("raw/mei", 1))
        taken = split_list(by_name(proposal)["lin"]["audio"])
        assert len(taken) == 4  # files, not the folder, which would bring the guest's
        assert any(
            "stay as they are: 4, in . (1), output/slicer_opt/guest (2)" in x for x in proposal.lines()
        )

    def test_what_a_folder_above_is_called_does_not_make_all_in_it_the_voice_s(self, tmp_path: Path):
        root = tmp_path / "lin" / "project"
        trees.pair(root, "lin")
        recordings(root / "raw" / "mei")

        proposal = found(root)

        assert "audio" not in by_name(proposal)["lin"]
        assert proposal.left_over == (("raw/mei", 2),)

    def test_base_models_links_and_features_are_left_alone(self, tmp_path: Path):
        root = trees.webui(tmp_path / "GPT-SoVITS")
        outside = trees.gpt(tmp_path / "outside" / "other-e5.ckpt")
        (root / "linked").symlink_to(outside.parent)
        os.mkfifo(root / "pipe")

        proposal = found(root)

        assert sorted(by_name(proposal)) == ["lin", "mei"]
        assert ("linked", "a link") in proposal.skipped
        assert ("pipe", "not a regular file") in proposal.skipped
        assert proposal.made == ("logs/lin/3-bert", "logs/lin/5-wav32k")

    def test_what_a_file_is_called_does_not_make_it_a_voice(self, tmp_path: Path):
        root = trees.webui(tmp_path / "GPT-SoVITS")
        (root / "GPT_weights_v2" / "mei-e99.ckpt").write_bytes(b"PK\x03\x04 no checkpoint")
        trees.gpt(root / "SoVITS_weights_v2" / "lin.bin", epoch=20)

        proposal = found(root)

        assert split_list(by_name(proposal)["lin"]["weights"])[0] == "SoVITS_weights_v2/lin.bin"
        assert [path for path, _ in proposal.refused] == ["GPT_weights_v2/mei-e99.ckpt"]

    def test_halves_of_different_phone_tables_are_never_paired(self, tmp_path: Path):
        root = tmp_path / "project"
        trees.gpt(root / "GPT_weights" / "old-e15.ckpt", rows=512)
        trees.sovits(root / "SoVITS_weights" / "old_e8_s200.pth", version="v2")

        rows = found(root).rows

        assert len(rows) == 2
        assert all("was found that fits" in row["note"] for row in rows)

    def test_two_halves_alone_in_a_folder_are_a_pair(self, tmp_path: Path):
        trees.gpt(tmp_path / "flat" / "model.ckpt")
        trees.sovits(tmp_path / "flat" / "decoder.pth")

        (row,) = found(tmp_path / "flat").rows

        assert split_list(row["weights"]) == ["model.ckpt", "decoder.pth"]

    def test_a_name_that_voices_cannot_have_becomes_one_and_is_kept_in_the_note(self, tmp_path: Path):
        trees.pair(tmp_path / "project", "林小姐")

        (row,) = found(tmp_path / "project").rows

        assert row["name"].startswith("voice-")
        assert "experiment 林小姐" in row["note"]

    def test_voices_of_other_projects_are_found_with_their_settings(self, tmp_path: Path):
        root = tmp_path / "content"
        trees.rvc(root / "RVC" / "weights" / "bo.pth")
        trees.index(root / "RVC" / "logs" / "bo" / "added_IVF2_Flat_nprobe_1_bo_v2.index")
        for step in (20_000, 30_000):
            trees.so_vits_svc(root / "svc" / "logs" / "44k" / f"G_{step}.pth", step=step)
        trees.settings(root / "svc" / "configs" / "config.json", "nana")

        proposal = found(root)

        assert proposal.kinds == ("RVC v2", "so-vits-svc 4.1")
        assert by_name(proposal)["bo"]["features"] == "RVC/logs/bo/added_IVF2_Flat_nprobe_1_bo_v2.index"
        nana = by_name(proposal)["nana"]
        assert split_list(nana["weights"]) == ["svc/logs/44k/G_30000.pth", "svc/configs/config.json"]
        assert split_list(nana["other_weights"]) == ["svc/logs/44k/G_20000.pth"]

    def test_paths_are_relative_to_the_table(self, tmp_path: Path):
        trees.pair(tmp_path / "project", "lin")
        inside = found(tmp_path / "project", output=tmp_path / "voices.csv")
        outside = found(tmp_path / "project", output=tmp_path / "other" / "voices.csv")

        assert inside.rows[0]["weights"].startswith("project/GPT_weights_v2/")
        assert outside.rows[0]["weights"].startswith(str(tmp_path / "project"))

    def test_the_registry_itself_is_not_looked_into(self, tmp_path: Path):
        with session(tmp_path) as rooms:
            folder = rooms.settings.home
        weights(folder / "blobs" / "mine.safetensors")

        assert found(tmp_path).rows == ()
        with pytest.raises(NotFound):
            found(tmp_path / "nowhere")


class TestTable:
    def test_voices_of_other_projects_are_kept_as_what_they_are(self, tmp_path: Path):
        trees.rvc(tmp_path / "bo.pth")
        trees.index(tmp_path / "bo.index")
        trees.so_vits_svc(tmp_path / "G_1.pth")
        trees.settings(tmp_path / "config.json", "nana")
        rows = [
            {"name": "bo", "weights": "bo.pth", "features": "bo.index"},
            {"name": "nana", "weights": "G_1.pth;config.json"},
            {"name": "none", "weights": "config.json"},
        ]
        with session(tmp_path) as rooms:
            done = import_table(table(tmp_path, *rows), rooms=rooms)
            assert [row.result for row in done.rows] == ["registered", "registered", "failed"]
            with rooms.registry.read() as uow:
                kept = {
                    name: {
                        (a.role.value, a.kind, a.data_class.sealed) for a in uow.voices.artifacts(voice.uid)
                    }
                    for name in ("bo", "nana")
                    if (voice := uow.voices.get(name))
                }
        assert {("weights", "rvc", False), ("features", "faiss-index", True)} <= kept["bo"]
        assert {("weights", "so-vits-svc", False), ("config", "so-vits-svc-config", False)} <= kept["nana"]

    def test_what_a_folder_gave_is_registered(self, tmp_path: Path):
        root = tmp_path / "GPT-SoVITS"
        rows = [{**row, "own_voice": "yes"} for row in found(trees.webui(root)).rows]
        with session(tmp_path) as rooms:
            done = import_table(table(root, *rows), rooms=rooms)

            assert results(done) == [("lin", "registered"), ("mei", "registered")]
            assert done.exit_code == 0
            with rooms.registry.read() as uow:
                lin = uow.voices.get("lin")
                roles = sorted(artifact.role.value for artifact in uow.voices.artifacts(lin.uid))
        assert roles == ["audio"] * 4 + [
            "io-spec",
            "lockfile",
            "reference",
            "reference",
            "weights",
            "weights",
        ]
        assert done.places == {str(root / "output" / "slicer_opt"): 4, str(root / "raw" / "mei"): 2}

    def test_a_second_run_changes_nothing_and_reads_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        path = table(tmp_path, *voices(tmp_path, 3))
        with session(tmp_path) as rooms:
            import_table(path, rooms=rooms)
        monkeypatch.setattr(import_run, "register", None)  # whoever reads a file goes through it
        with session(tmp_path) as rooms:
            before = trail_size(rooms)
            done = import_table(path, rooms=rooms)
            after = trail_size(rooms)

        assert [row.result for row in done.rows] == ["unchanged"] * 3
        assert [row.version for row in done.rows] == [1] * 3
        assert after == before

    def test_a_file_that_changed_is_read_again_and_so_is_all_with_again(self, tmp_path: Path):
        path = table(tmp_path, *voices(tmp_path, 2))
        with session(tmp_path) as rooms:
            import_table(path, rooms=rooms)
            weights(tmp_path / "1.st", seed=77)
            done = import_table(path, rooms=rooms)
            assert [(row.result, row.version) for row in done.rows] == [("unchanged", 1), ("registered", 2)]

            before = trail_size(rooms)
            again = import_table(path, rooms=rooms, options=ImportOptions(again=True))
            assert [(row.result, row.created) for row in again.rows] == [("unchanged", "nothing")] * 2
            assert trail_size(rooms) == before

    def test_a_note_may_change_without_reading_files_again(self, tmp_path: Path):
        (row,) = voices(tmp_path, 1)
        with session(tmp_path) as rooms:
            import_table(table(tmp_path, row), rooms=rooms)
            noted = import_table(table(tmp_path, {**row, "note": "done", "other_weights": "x"}), rooms=rooms)
            owned = import_table(table(tmp_path, {**row, "owner": "audio"}), rooms=rooms)

            assert (noted.rows[0].created, owned.rows[0].created) == (None, "additions")
            with rooms.registry.read() as uow:
                assert uow.voices.get("voice-0").owner == "audio"

    def test_a_bad_row_stops_only_itself(self, tmp_path: Path):
        rows = voices(tmp_path, 6)
        rows[1]["weights"] = "nowhere.pth"
        rows[2]["contract_ends"] = "30.6.2027"
        (tmp_path / "3.st").write_bytes(b"PK\x03\x04torn")
        rows[4]["audio"] = "."
        with session(tmp_path) as rooms:
            done = import_table(table(tmp_path, *rows), rooms=rooms)

        assert [row.result for row in done.rows] == ["registered", *["failed"] * 4, "registered"]
        assert [row.code for row in done.rows] == [0, 3, 2, 6, 2, 0]
        assert done.exit_code == 6
        told = "\n".join(done.lines())
        assert "voices.csv:3: voice-1: weights: " in told
        assert 'contract_ends: "30.6.2027" is not a date such as 2027-06-30' in told
        assert "say whose in subject" in told

    def test_a_full_disk_stops_the_import_and_the_rest_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        real = import_run.register

        def register(request, **more):
            if request.name == "voice-1":
                raise Unavailable("there is no room", hint="free some space there")
            return real(request, **more)

        monkeypatch.setattr(import_run, "register", register)
        path = table(tmp_path, *voices(tmp_path, 3))
        with session(tmp_path) as rooms:
            done = import_table(path, rooms=rooms)
        assert [row.result for row in done.rows] == ["registered", "failed", "not_reached"]
        assert done.exit_code == 7
        monkeypatch.setattr(import_run, "register", real)
        with session(tmp_path) as rooms:
            done = import_table(path, rooms=rooms)
        assert [row.result for row in done.rows] == ["unchanged", "registered", "registered"]

    def test_a_crash_between_two_rows_loses_none(self, tmp_path: Path):
        class Crash(BaseException):
            pass

        def crash() -> None:
            raise Crash

        path = table(tmp_path, *voices(tmp_path, 3))
        arm("import.after_row", crash)
        try:
            with session(tmp_path) as rooms, pytest.raises(Crash):
                import_table(path, rooms=rooms)
        finally:
            arm(None)
        with session(tmp_path) as rooms:
            assert not list((rooms.settings.home / "blobs" / "tmp").iterdir())
            done = import_table(path, rooms=rooms)
        assert [row.result for row in done.rows] == ["unchanged", "registered", "registered"]

    def test_an_interruption_just_after_a_row_was_committed_keeps_its_files(self, tmp_path: Path):
        path = table(tmp_path, *voices(tmp_path, 2))

        def interrupt() -> None:
            raise KeyboardInterrupt

        arm("register.before_keep", interrupt)
        try:
            with session(tmp_path) as rooms, pytest.raises(KeyboardInterrupt):
                import_table(path, rooms=rooms)
        finally:
            arm(None)

        with session(tmp_path) as rooms:
            with rooms.registry.read() as uow:
                named = uow.voices.blob_digests()
            assert named
            assert named == {str(digest) for digest in rooms.vault.blobs}
            assert [word for _, word in results(import_table(path, rooms=rooms))] == [
                "unchanged",
                "registered",
            ]

    def test_contract_rights_and_the_day_of_the_recordings_are_kept(self, tmp_path: Path):
        (row,) = voices(tmp_path, 1)
        recordings(tmp_path / "takes")
        row |= {"audio": "takes", "own_voice": "yes", "recorded_on": "2024-05-06"}
        row |= {"rights": "adverts in Europe", "contract_ends": "2027-06-30"}
        with session(tmp_path) as rooms:
            import_table(table(tmp_path, row), rooms=rooms)
            with rooms.registry.read() as uow:
                voice = uow.voices.get("voice-0")
                days = {
                    a.recorded_at and a.recorded_at.date().isoformat()
                    for a in uow.voices.artifacts(voice.uid)
                }
        assert voice.rights == "adverts in Europe"
        assert voice.contract_ends_at is not None
        assert voice.contract_ends_at.date().isoformat() == "2027-06-30"
        assert days == {None, "2024-05-06"}

    def test_originals_are_moved_even_where_two_voices_share_them(self, tmp_path: Path):
        rows = voices(tmp_path, 2)
        takes = recordings(tmp_path / "takes")
        clip = recording(takes / "clip.wav", seed=5, seconds=4)
        for row in rows:
            row |= {"audio": "takes", "ref_audio": "takes/clip.wav", "ref_text": "hello", "own_voice": "yes"}
        path = table(tmp_path, *rows)
        with session(tmp_path) as rooms:
            first = import_table(path, rooms=rooms)
            assert first.places == {str(takes): 3}
            moved = import_table(path, rooms=rooms, options=ImportOptions(move=True))

            assert [row.result for row in moved.rows] == ["unchanged"] * 2
            assert (moved.places, list(takes.iterdir())) == ({}, [])
            assert not clip.exists()
            before = trail_size(rooms)
            again = import_table(path, rooms=rooms)
            assert [row.result for row in again.rows] == ["unchanged"] * 2
            assert trail_size(rooms) == before

    def test_a_move_that_was_cut_short_goes_on(self, tmp_path: Path):
        (row,) = voices(tmp_path, 1)
        takes = recordings(tmp_path / "takes", count=3)
        path = table(tmp_path, row | {"audio": "takes", "own_voice": "yes", "ref_audio": "takes/take-0.wav"})

        class Crash(BaseException):
            pass

        def crash() -> None:
            raise Crash

        arm("register.during_move", crash)
        try:
            with session(tmp_path) as rooms, pytest.raises(Crash):
                import_table(path, rooms=rooms, options=ImportOptions(move=True))
        finally:
            arm(None)
        assert len(list(takes.iterdir())) == 2  # the reference clip is gone, and the row names it
        with session(tmp_path) as rooms:
            done = import_table(path, rooms=rooms, options=ImportOptions(move=True))
            assert (done.exit_code, list(takes.iterdir())) == (0, [])


class TestForm:
    @pytest.mark.parametrize(
        ("header", "word"),
        [
            ("name,weigths", 'has a column "weigths", which does not exist; did you mean "weights"'),
            ("name,owner", 'lacks the column "weights"'),
            ("name,weights,name", 'has the column "name" twice'),
            ("", 'lacks the column "name"'),
        ],
    )
    def test_a_wrong_header_is_refused_whole(self, tmp_path: Path, header: str, word: str):
        (tmp_path / "t.csv").write_text(header + "\nlin,a.st,x\n")
        with session(tmp_path) as rooms, pytest.raises(UsageError, match=word.replace(";", ".")):
            import_table(tmp_path / "t.csv", rooms=rooms)

    def test_a_name_that_stands_twice_is_refused_whole_and_check_names_every_line(self, tmp_path: Path):
        rows = voices(tmp_path, 3)
        rows[2]["name"] = "voice-0"
        rows[1]["weights"] = "../outside.st"
        path = table(tmp_path, *rows)
        with session(tmp_path) as rooms:
            before = trail_size(rooms)
            with pytest.raises(UsageError, match=r'voices.csv:4: name: "voice-0" is the name of line 2 too'):
                import_table(path, rooms=rooms)
            checked = import_table(path, rooms=rooms, options=ImportOptions(check=True))
            assert trail_size(rooms) == before
        assert [(problem.line, problem.column) for problem in checked.problems] == [
            (3, "weights"),
            (4, "name"),
        ]
        assert "leaves the folder of the table" in checked.problems[0].message
        assert checked.exit_code == 2

    def test_a_link_that_leaves_the_folder_is_a_path_that_leaves(self, tmp_path: Path):
        (tmp_path / "in").mkdir()
        weights(tmp_path / "a.st")
        (tmp_path / "in" / "a.st").symlink_to(tmp_path / "a.st")
        with session(tmp_path) as rooms:
            done = import_table(table(tmp_path / "in", {"name": "lin", "weights": "a.st"}), rooms=rooms)
            assert (done.rows[0].result, done.exit_code) == ("failed", 2)
            absolute = {"name": "lin", "weights": str(tmp_path / "a.st")}
            assert import_table(table(tmp_path / "in", absolute), rooms=rooms).exit_code == 0

    def test_what_spreadsheets_write_is_read(self, tmp_path: Path):
        weights(tmp_path / "a.st")
        (tmp_path / "t.csv").write_bytes(
            '\ufeffsep=;\r\nName;Weights;Note\r\n\r\nlin;a.st;"zwei\nZeilen"\r\n;;\r\n'.encode()
        )
        with session(tmp_path) as rooms:
            done = import_table(tmp_path / "t.csv", rooms=rooms)
        assert [(row.line, row.result) for row in done.rows] == [(4, "registered")]

    @pytest.mark.parametrize(
        ("content", "word"),
        [
            (b"name,weights\nlin,\xff\xfe\n", "is not UTF-8 in line 2"),
            (b'name,weights\nlin,"a.st\n', "cannot be read in line"),
        ],
    )
    def test_what_is_no_table_is_said_in_one_sentence(self, tmp_path: Path, content: bytes, word: str):
        (tmp_path / "t.csv").write_bytes(content)
        with session(tmp_path) as rooms, pytest.raises(UsageError, match=word):
            import_table(tmp_path / "t.csv", rooms=rooms)

    def test_a_row_with_more_cells_than_the_header_is_named(self, tmp_path: Path):
        (tmp_path / "t.csv").write_text("name,weights\nlin,a.st,b.st\n")
        with session(tmp_path) as rooms, pytest.raises(UsageError, match=r"t\.csv:2: has 3 cells"):
            import_table(tmp_path / "t.csv", rooms=rooms)


def test_results_are_a_table_that_a_spreadsheet_opens(tmp_path: Path):
    from lifecycle.services.imports.result import results_table

    rows = voices(tmp_path, 2)
    rows[1]["weights"] = "=nowhere"
    with session(tmp_path) as rooms:
        done = import_table(table(tmp_path, *rows), rooms=rooms)
    lines = list(csv.reader(results_table(done.rows).decode("utf-8-sig").splitlines()))

    assert lines[0] == ["name", "result", "version", "message"]
    assert lines[1] == ["voice-0", "registered", "1", ""]
    assert lines[2][:3] == ["voice-1", "failed", ""]
    assert "does not exist" in lines[2][3]
