"""Canonical JSON and digests: equal values give equal bytes, and nothing else passes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.domain.canonical import canonical_json
from lifecycle.domain.digest import Digest

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_any_json_reader_gets_the_value_back(value):
    assert json.loads(canonical_json(value)) == value


@given(st.dictionaries(text, st.integers(0, 9), min_size=2, max_size=6))
def test_the_order_of_insertion_does_not_matter(value):
    reversed_order = dict(reversed(list(value.items())))
    assert canonical_json(value) == canonical_json(reversed_order)


def test_keys_are_sorted_by_utf_16_code_units_as_rfc_8785_asks():
    # U+1F600 is the surrogate pair D83D DE00 and so stands before U+FB33.
    assert canonical_json({"\ufb33": 1, "\U0001f600": 2}) == '{"\U0001f600":2,"\ufb33":1}'.encode()


@pytest.mark.parametrize("value", [1.5, 2**53, "\ud800", {1: 2}, b"bytes", {"a": {0.1}}])
def test_what_has_no_canonical_form_is_refused(value):
    with pytest.raises(ValueError):
        canonical_json(value)


@given(st.sampled_from(["blake3", "sha256"]), st.binary(min_size=32, max_size=32))
def test_a_digest_survives_the_round_trip(algorithm, raw):
    digest = Digest(algorithm, raw.hex())
    assert Digest.parse(str(digest)) == digest


@pytest.mark.parametrize(
    "wrong", ["", "blake3:", "md5:" + "0" * 64, "blake3:" + "A" * 64, "blake3:" + "0" * 63]
)
def test_any_other_form_of_digest_is_refused(wrong):
    with pytest.raises(ValueError):
        Digest.parse(wrong)
