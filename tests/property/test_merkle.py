"""RFC 9162 trees: known roots, and proofs that hold for every size and for no changed leaf."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.domain.merkle import (
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root,
    verify_consistency,
    verify_inclusion,
)

# The leaves and roots of the Certificate Transparency reference tests (sizes 1 to 8).
LEAVES = [
    leaf_hash(bytes.fromhex(text))
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
trees = st.lists(st.binary(max_size=8).map(leaf_hash), min_size=1, max_size=40)


@pytest.mark.parametrize("size", range(1, 9))
def test_the_roots_are_those_of_the_reference(size):
    assert root(LEAVES[:size]).hex() == ROOTS[size - 1]


def test_the_empty_tree_is_the_hash_of_nothing():
    assert root([]) == hashlib.sha256(b"").digest()


@given(trees)
def test_appending_gives_the_root_of_the_definition(leaves):
    def defined(part):
        if len(part) == 1:
            return part[0]
        k = max(power for power in (1 << n for n in range(8)) if power < len(part))
        return node_hash(defined(part[:k]), defined(part[k:]))

    frontier = Frontier(leaves)

    assert frontier.root() == defined(leaves)
    assert frontier.size == len(leaves)


@given(trees, st.data())
def test_a_leaf_is_shown_to_be_in_the_tree_and_no_other_is(leaves, data):
    index = data.draw(st.integers(0, len(leaves) - 1))
    proof, top = inclusion_proof(index, leaves), root(leaves)

    def shown(leaf, at=index, size=len(leaves), steps=proof):
        return verify_inclusion(leaf, at, size=size, proof=steps, tree_root=top)

    assert shown(leaves[index])
    assert not shown(leaf_hash(b"another leaf of nine"))
    assert not shown(leaves[index], steps=[*proof, bytes(32)])
    assert not shown(leaves[index], at=len(leaves))
    if proof:
        assert not shown(leaves[index], steps=proof[:-1])


@given(trees, st.data())
def test_a_longer_tree_is_shown_to_begin_with_the_shorter_one(leaves, data):
    old = data.draw(st.integers(1, len(leaves)))
    proof = consistency_proof(old, leaves)
    old_root, new_root = root(leaves[:old]), root(leaves)

    assert verify_consistency(old, len(leaves), old_root=old_root, new_root=new_root, proof=proof)
    changed = root([leaf_hash(b"another leaf of nine"), *leaves[1:]])
    if changed != new_root:
        assert not verify_consistency(old, len(leaves), old_root=old_root, new_root=changed, proof=proof)
    assert not verify_consistency(old, len(leaves), old_root=bytes(32), new_root=new_root, proof=proof)
    assert not verify_consistency(
        old, len(leaves), old_root=old_root, new_root=new_root, proof=[*proof, bytes(32)]
    )


def test_proofs_of_what_is_not_there_are_refused():
    with pytest.raises(ValueError, match="no leaf 8"):
        inclusion_proof(8, LEAVES)
    with pytest.raises(ValueError, match="no tree of 9"):
        consistency_proof(9, LEAVES)
    with pytest.raises(ValueError, match="no tree of 0"):
        consistency_proof(0, LEAVES)
