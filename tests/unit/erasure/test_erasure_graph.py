"""What derives from a recording, and how a result is told."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from lifecycle.domain.digest import Digest
from lifecycle.domain.voices import CLASS_OF_ROLE, Artifact, Role
from lifecycle.erasure.graph import Node, NodeState, descendants, erasable, exit_code, parents, worst

VOICES = ("voice-1", "voice-2", "voice-3")
digests = st.binary(min_size=32, max_size=32).map(lambda raw: Digest("blake3", raw.hex()))
owners = st.dictionaries(digests, st.sets(st.sampled_from(VOICES), min_size=1), max_size=12)
nodes = st.lists(st.sampled_from(NodeState)).map(
    lambda states: [Node(uid=f"{i:032x}", kind="blob", what="x", state=s) for i, s in enumerate(states)]
)


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


def test_a_blob_shared_with_another_voice_stays() -> None:
    only, shared = Digest("blake3", "aa" * 32), Digest("blake3", "bb" * 32)

    gone = erasable({only: ["voice-1"], shared: ["voice-1", "voice-2"]}, "voice-1")

    assert gone == {only}


@given(owners, st.sampled_from(VOICES))
def test_erasing_one_voice_never_touches_another(owned: dict[Digest, set[str]], voice: str) -> None:
    gone = erasable(owned, voice)

    assert all(owned[digest] == {voice} for digest in gone)
    assert all(digest in gone for digest, voices in owned.items() if voices == {voice})


def test_everything_made_from_a_recording_is_found_through_any_number_of_steps() -> None:
    made = [
        artifact("wav", Role.AUDIO),
        artifact("feat", Role.FEATURES, "v1"),
        artifact("pth", Role.WEIGHTS, "v1"),
        artifact("onnx", Role.EXPORT, "v1"),
        artifact("emb", Role.EMBEDDING, "v1"),
        artifact("lock", Role.LOCKFILE, "v1"),
    ]

    found = descendants({"wav"}, parents(made))

    assert found == {"feat", "pth", "onnx", "emb"}


def test_an_export_of_one_version_does_not_derive_from_the_weights_of_another() -> None:
    made = [artifact("pth", Role.WEIGHTS, "v1"), artifact("onnx", Role.EXPORT, "v2")]

    assert parents(made)["onnx"] == ()


@given(nodes)
def test_the_result_is_the_worst_in_scope_and_what_is_kept_never_hides_it(found: list[Node]) -> None:
    states = {node.state for node in found}

    result = worst(found)

    assert result.in_scope
    assert (exit_code(found) == 9) == bool(states & {NodeState.PENDING, NodeState.UNVERIFIABLE})
    if NodeState.UNVERIFIABLE in states:
        assert result is NodeState.UNVERIFIABLE
    kept = [node for node in found if node.state.in_scope]
    assert worst(kept) is result
