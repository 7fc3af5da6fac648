from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lifecycle.domain.digest import Digest
from lifecycle.domain.voices import CLASS_OF_ROLE, Artifact, Role
from lifecycle.verification.plan import Way, Where, inputs_hash, loader_of, subject_of

NOW = datetime(2026, 11, 24, tzinfo=UTC)
WHERE = Where("torch-2.13.0", "sha256:lock", "sha256:engine", "cpu")


def artifact(role: Role, kind: str, *, fill: str = "a", age: int = 0, present: bool = True) -> Artifact:
    return Artifact(
        uid=fill * 32,
        version_uid=None,
        role=role,
        data_class=CLASS_OF_ROLE[role],
        digest=Digest("blake3", fill * 64),
        size_bytes=1,
        key_id=None,
        kind=kind,
        facts={},
        label=None,
        fingerprint=None,
        added_at=NOW - timedelta(days=age),
        present=present,
    )


VOICE = artifact(Role.WEIGHTS, "vlm-voice", fill="a")
SPEAKER = artifact(Role.EMBEDDING, "vlm-speaker", fill="b")
GOLDEN = artifact(Role.GOLDEN, "vlm-golden", fill="c")


def test_one_of_our_voices_is_spoken_and_the_newest_golden_counts():
    older = artifact(Role.GOLDEN, "vlm-golden", fill="d", age=9)

    subject = subject_of([VOICE, SPEAKER, GOLDEN, older])

    assert (subject.way, subject.weights, subject.speaker, subject.golden) == (
        Way.SPEAK,
        (VOICE,),
        SPEAKER,
        GOLDEN,
    )


def test_what_was_destroyed_is_not_looked_at():
    gone = replace(SPEAKER, present=False)

    assert subject_of([VOICE, gone, replace(GOLDEN, present=False)]).files == (VOICE,)


@pytest.mark.parametrize(
    ("kind", "loader"),
    [
        ("gpt-sovits-gpt", "checkpoint"),
        ("torch-checkpoint", "checkpoint"),
        ("torchscript", "torchscript"),
        ("safetensors", "safetensors"),
        ("onnx", "onnx"),
        ("text", None),
    ],
)
def test_a_foreign_file_is_loaded_by_what_it_is(kind, loader):
    assert loader_of(kind) == loader
    assert subject_of([artifact(Role.WEIGHTS, kind)]).way is (Way.LOAD if loader else Way.NOTHING)


def test_a_result_is_used_again_while_nothing_that_decides_it_changed():
    subject = subject_of([VOICE, SPEAKER, GOLDEN])

    assert inputs_hash("id", subject, WHERE) == inputs_hash("id", subject_of([GOLDEN, SPEAKER, VOICE]), WHERE)


@pytest.mark.parametrize("change", ["runtime", "lock_hash", "engine_hash", "device"])
def test_another_runtime_engine_or_device_runs_again(change):
    subject = subject_of([VOICE, SPEAKER, GOLDEN])

    assert inputs_hash("id", subject, WHERE) != inputs_hash(
        "id", subject, replace(WHERE, **{change: "other"})
    )


def test_another_golden_or_other_bytes_run_again():
    subject = subject_of([VOICE, SPEAKER, GOLDEN])
    key = inputs_hash("id", subject, WHERE)

    assert key != inputs_hash("other", subject, WHERE)
    for role in (VOICE, SPEAKER, GOLDEN):
        changed = [
            replace(a, digest=Digest("blake3", "f" * 64)) if a is role else a
            for a in (VOICE, SPEAKER, GOLDEN)
        ]
        assert key != inputs_hash("id", subject_of(changed), WHERE)
