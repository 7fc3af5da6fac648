"""What a purge decides to destroy and to keep."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.domain.digest import Digest
from lifecycle.domain.voices import CLASS_OF_ROLE, Artifact, DataClass, Role
from lifecycle.erasure.graph import PERSONAL, NodeState
from lifecycle.erasure.plan import Evidence, KeySet, Plan, PurgeVerb, Scope, make_plan

VOICE, OTHER, PERSON = "a" * 32, "b" * 32, "c" * 32
ROLES = st.lists(st.sampled_from(Role), max_size=10)


def artifact(uid: str, role: Role, version: str | None = None) -> Artifact:
    return Artifact(
        uid=uid,
        version_uid=version,
        role=role,
        data_class=CLASS_OF_ROLE[role],
        digest=Digest("blake3", uid.encode().hex().ljust(64, "0")),
        size_bytes=1,
        key_id=None,
        kind="",
        facts={},
        label=None,
        fingerprint=None,
        added_at=datetime(2026, 11, 1, tzinfo=UTC),
    )


def uids() -> Callable[[], str]:
    numbers = itertools.count(1)
    return lambda: f"{next(numbers):032x}"


def scope(*roles: Role, shared: bool = False) -> Scope:
    things = [artifact(f"{i:032x}", role) for i, role in enumerate(roles)]
    return Scope(
        voice_uid=VOICE,
        artifacts=things,
        sets=[
            KeySet("d" * 32, "e" * 32, DataClass.SOURCE, PERSON),
            KeySet("f" * 32, "0" * 32, DataClass.EVIDENCE, PERSON),
        ],
        owners={t.digest: [VOICE, OTHER] if shared else [VOICE] for t in things if not t.data_class.sealed},
        subject_uids=[PERSON],
        leaving=[PERSON],
        evidence=[Evidence(t.uid, "2031-10-31T00:00:00Z") for t in things if t.role is Role.CONSENT],
    )


@given(ROLES)
def test_purging_audio_takes_every_personal_thing_and_nothing_else(roles: list[Role]) -> None:
    given_scope = scope(*roles)

    plan = make_plan(given_scope, PurgeVerb.PURGE_AUDIO, new_uid=uids())

    personal = {a.uid for a in given_scope.artifacts if a.data_class in PERSONAL}
    assert {t.artifact_uid for t in plan.targets} == personal
    assert len(plan.kept) + len(plan.targets) == len(roles)


@given(ROLES, st.booleans())
def test_erase_takes_the_model_too_but_never_a_file_that_another_voice_needs(
    roles: list[Role], shared: bool
) -> None:
    plan = make_plan(scope(*roles, shared=shared), PurgeVerb.ERASE, new_uid=uids())

    models = [t for t in plan.targets if t.data_class is DataClass.MODEL]
    assert len(models) == sum(1 for r in roles if artifact("", r).data_class is DataClass.MODEL)
    assert all(t.remove_blob is not shared for t in models)


def test_evidence_is_kept_until_its_date_whatever_the_verb() -> None:
    for verb in PurgeVerb:
        plan = make_plan(scope(Role.AUDIO, Role.CONSENT), verb, new_uid=uids())

        (kept,) = plan.kept
        assert kept.state is NodeState.RETAINED
        assert kept.basis == "evidence of consent"
        assert kept.until == "2031-10-31T00:00:00Z"
        assert "0" * 32 not in plan.keys, "the key of the evidence must live"


def test_the_weights_that_stay_are_named_with_what_they_were_made_from() -> None:
    plan = make_plan(scope(Role.AUDIO, Role.WEIGHTS), PurgeVerb.PURGE_AUDIO, new_uid=uids())

    (weights,) = plan.kept
    (recording,) = plan.targets
    assert plan.made_from[weights.uid] == (recording.node_uid,)


def test_a_voice_without_its_reference_or_embedding_will_be_mute() -> None:
    assert make_plan(scope(Role.REFERENCE), PurgeVerb.PURGE_AUDIO, new_uid=uids()).mutes
    assert not make_plan(scope(Role.AUDIO), PurgeVerb.PURGE_AUDIO, new_uid=uids()).mutes


@given(ROLES, st.sampled_from(PurgeVerb))
def test_a_plan_survives_being_stored_and_keeps_its_digest(roles: list[Role], verb: PurgeVerb) -> None:
    plan = make_plan(scope(*roles), verb, new_uid=uids(), basis="withdrawal", remove_originals=True)

    back = Plan.from_json(json.loads(json.dumps(plan.to_json())))

    assert back == plan
    assert back.digest() == plan.digest()


def test_a_changed_plan_has_another_digest() -> None:
    plan = make_plan(scope(Role.AUDIO, Role.FEATURES), PurgeVerb.PURGE_AUDIO, new_uid=uids())

    assert replace(plan, targets=plan.targets[:1]).digest() != plan.digest()


@pytest.mark.parametrize("broken", [{}, {"verb": "purge-audio"}, {"targets": 3}])
def test_a_row_that_holds_no_plan_is_refused(broken: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not a plan"):
        Plan.from_json(broken)


def test_a_plan_holds_no_label_and_no_fingerprint() -> None:
    thing = replace(artifact("1" * 32, Role.AUDIO), label=b"ann.wav", fingerprint="99" * 32)

    plan = make_plan(replace(scope(), artifacts=[thing]), PurgeVerb.PURGE_AUDIO, new_uid=uids())

    text = json.dumps(plan.to_json())
    assert "ann" not in text
    assert "99" * 32 not in text
