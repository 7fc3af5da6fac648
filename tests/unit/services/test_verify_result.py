from __future__ import annotations

import pytest

from lifecycle.domain.verdicts import Verdict
from lifecycle.services.bench import next_step
from lifecycle.services.trial import Outcome, _first_sentence
from lifecycle.services.verify_result import Result, Verified, tally
from tests.unit.registry.test_verdicts_and_risks import row


def result(voice: str, verdict: Verdict, torch: str = "2.13.0") -> Result:
    return Result(row(voice=voice, verdict=verdict, torch=torch), reused=False)


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ([], 0),
        ([Verdict.WORKS], 0),
        ([Verdict.WORKS, Verdict.NOT_CHECKED], 12),
        ([Verdict.NOT_CHECKED, Verdict.DIFFERS], 13),
        ([Verdict.DIFFERS, Verdict.BROKEN], 14),
        ([Verdict.CRASHED, Verdict.WORKS], 14),
    ],
)
def test_the_exit_code_is_that_of_the_worst_row(verdicts, code):
    assert Verified(tuple(result("a", verdict) for verdict in verdicts)).exit_code == code


def test_a_voice_counts_by_its_worst_torch():
    rows = [
        result("a", Verdict.WORKS),
        result("a", Verdict.BROKEN, "2.15.0"),
        result("b", Verdict.WORKS),
        result("c", Verdict.WORKS),
        result("d", Verdict.DIFFERS),
    ]

    assert tally(rows) == "2 voices work everywhere, 1 differs, 1 is broken somewhere"


@pytest.mark.parametrize(
    ("outcome", "command"),
    [
        (Outcome(Verdict.WORKS), None),
        (Outcome(Verdict.DIFFERS, "step mel"), "vlm verify kol-a --torch 2.15.0 --why"),
        (Outcome(Verdict.CRASHED, "it died"), "vlm verify kol-a --torch 2.15.0 --why"),
        (Outcome(Verdict.BROKEN, "integrity: its weights file changed"), "vlm audit"),
        (
            Outcome(Verdict.NOT_CHECKED, "it speaks; there is no golden to compare it with"),
            "vlm golden record kol-a",
        ),
        (Outcome(Verdict.NOT_CHECKED, "conditioning was purged"), "vlm show kol-a"),
        (Outcome(Verdict.NOT_CHECKED, "retired", next="vlm restore kol-a"), "vlm restore kol-a"),
    ],
)
def test_what_to_do_next_follows_from_the_outcome(outcome, command):
    assert next_step("kol-a", "2.15.0", outcome) == command


@pytest.mark.parametrize(
    ("said", "short"),
    [
        (
            "Weights only load failed. [1mSo it is. Unsupported global: GLOBAL utils.HParams was not allowed.",
            "torch.load refuses utils.HParams",
        ),
        ("Weights only load failed. WeightsUnpickler error: Unsupported class argparse.Namespace",
         "torch.load refuses argparse.Namespace"),
        (
            "Unknown builtin op: aten::align_as. Could not find any similar ops to aten::align_as.",
            "Unknown builtin op: aten::align_as",
        ),
        ("x" * 500, "x" * 199 + "…"),
    ],
)  # fmt: skip
def test_torch_s_long_explanations_are_cut_to_what_is_wrong(said, short):
    assert _first_sentence(said) == short
