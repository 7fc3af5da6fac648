from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.domain.verdicts import Verdict
from lifecycle.verification.compare import Comparison, blame, compare
from lifecycle.verification.golden import Spoken
from lifecycle.verification.tolerances import TOLERANCES

from .voices import HOP, golden


def compared(*sentences: Spoken, device: str = "cpu", **changes: object) -> Comparison:
    return compare(golden(), sentences, changes.get("embedding", golden().embedding), device=device)  # type: ignore[arg-type]


def test_a_voice_that_says_the_same_works():
    result = compared(*golden().sentences)

    assert result.judge() == (Verdict.WORKS, "")
    assert result.complete == 2


@pytest.mark.parametrize(
    ("name", "change", "step"),
    [
        ("phones", ("pau", "h", "aa", "pau"), "phones"),
        ("raw_durations", lambda s: s.raw_durations + np.float32(0.2), "durations"),
        ("durations", np.array([3, 14, 12, 7]), "durations"),
        ("mel", lambda s: s.mel + 0.5, "mel"),
        ("f0", lambda s: s.f0 * 1.05, "f0"),
        (
            "samples",
            lambda s: s.samples + 0.05 * np.random.default_rng(1).standard_normal(len(s.samples)),
            "log-mel",
        ),
        ("samples", lambda s: s.samples[:-HOP], "log-mel"),
    ],
)
def test_the_first_step_that_diverges_is_named(name, change, step):
    first, second = golden().sentences
    value = change(first) if callable(change) else change

    result = compared(replace(first, **{name: value}), second)

    verdict, reason = result.judge()
    assert verdict is Verdict.DIFFERS
    assert result.first is not None
    assert result.first.name == step
    assert reason.startswith(f"step {step}:")


def test_what_follows_a_diverging_step_is_not_judged():
    first, second = golden().sentences

    result = compared(replace(first, phones=("pau", "x", "ow", "pau"), mel=first.mel + 9), second)

    assert [step.name for step in result.steps] == ["embedding", "phones"]


def test_noise_that_a_newer_torch_speaks_without_an_exception_is_caught():
    rng = np.random.default_rng(3)
    first, second = golden().sentences
    noise = (0.2 * rng.standard_normal(len(first.samples))).astype(np.float32)

    assert compared(replace(first, samples=noise), second).judge()[0] is Verdict.DIFFERS


@pytest.mark.parametrize("flaw", [np.nan, np.inf])
def test_values_that_are_not_numbers_are_broken_not_different(flaw):
    first, second = golden().sentences
    samples = second.samples.copy()
    samples[100] = flaw

    verdict, reason = compared(first, replace(second, samples=samples)).judge()

    assert verdict is Verdict.BROKEN
    assert "sentence 2" in reason


def test_silence_is_broken():
    first, second = golden().sentences

    verdict, reason = compared(first, replace(second, samples=np.zeros_like(second.samples))).judge()

    assert (verdict, reason) == (Verdict.BROKEN, "sentence 2: it speaks silence")


def test_a_runtime_that_leaves_a_sentence_out_is_broken():
    assert compared(golden().sentences[0]).judge()[0] is Verdict.BROKEN


def test_another_embedding_differs_before_anything_is_spoken():
    other = -golden().embedding

    result = compared(*golden().sentences, embedding=other)

    assert str(result.first).startswith("step embedding")


def test_a_phase_shift_of_the_waveform_is_no_difference():
    first, second = golden().sentences
    spectrum = np.fft.rfft(first.samples)
    shifted = np.fft.irfft(spectrum * np.exp(0.3j), len(first.samples)).astype(np.float32)
    assert np.abs(shifted - first.samples).max() > 0.05

    result = compared(replace(first, samples=shifted), second)

    step = next(s for s in result.steps if s.name == "log-mel")
    assert step.distance is not None
    assert step.distance < 0.1


def test_a_gpu_may_round_more_than_a_cpu():
    first, second = golden().sentences
    nearby = replace(first, mel=first.mel + np.float32(0.01))

    assert compared(nearby, second, device="cpu").judge()[0] is Verdict.DIFFERS
    assert compared(nearby, second, device="cuda").judge()[0] is Verdict.WORKS


def test_a_duration_on_the_edge_that_rounds_the_other_way_does_not_count():
    first, second = golden().sentences

    result = compared(replace(first, durations=first.durations + np.array([1, -1, 0, 0])), second)

    assert result.judge()[0] is Verdict.WORKS
    assert result.complete == 1
    assert any("edge of rounding" in step.note for step in result.steps)


def test_edges_everywhere_are_not_checked_and_never_works():
    now = (replace(s, durations=s.durations + np.array([1, -1, 0, 0])) for s in golden().sentences)

    assert compared(*now).judge()[0] is Verdict.NOT_CHECKED


def test_a_voice_that_does_not_tell_lengths_before_rounding_is_compared_in_whole_frames():
    first, second = (replace(s, raw_durations=np.zeros(0, np.float32)) for s in golden().sentences)
    other = replace(first, durations=first.durations + np.array([1, -1, 0, 0]))

    assert compared(first, second).judge()[0] is Verdict.WORKS
    assert compared(other, second).judge()[0] is Verdict.DIFFERS


@given(error=st.floats(2e-3, 1.0), phone=st.integers(0, 3))
def test_a_length_that_moved_by_more_than_a_rounding_counts(error, phone):
    first, second = golden().sentences
    moved = first.raw_durations.copy()
    moved[phone] += np.float32(error)

    assert compared(replace(first, raw_durations=moved), second).judge()[0] is Verdict.DIFFERS


@given(st.floats(-1e-4, 1e-4))
def test_rounding_of_the_last_digits_is_no_difference(error):
    first, second = golden().sentences
    mel = first.mel + np.float32(error)

    assert compared(replace(first, mel=mel, samples=first.samples * np.float32(1 + error)), second).judge()[
        0
    ] is (Verdict.WORKS)


def test_every_step_has_a_tolerance_with_a_reason():
    for step in compared(*golden().sentences).steps:
        assert step.to_json()["why_this_tolerance"] == TOLERANCES[step.name].reason
        assert len(TOLERANCES[step.name].reason) > 20


def test_the_engine_is_blamed_only_if_it_differs_on_the_golden_s_own_torch():
    same = compared(*golden().sentences)
    other = compared(*(replace(s, mel=s.mel + 1) for s in golden().sentences))

    assert "torch made" in blame(engine_changed=False, now=other, then=None)
    assert "torch made" in blame(engine_changed=True, now=other, then=same)
    assert "engine made" in blame(engine_changed=True, now=other, then=other)
    assert "not here" in blame(engine_changed=True, now=other, then=None)
    assert blame(engine_changed=True, now=same, then=None) == ""
