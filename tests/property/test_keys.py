"""Whatever was made and whatever is purged: exactly the purged keys are gone, for copies from before as well."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from lifecycle.vault.keys import EpochGone, KeyDestroyed
from tests.unit.vault.conftest import Place

PEOPLE = ("a" * 32, "b" * 32, None)
made = st.lists(
    st.tuples(st.sampled_from(PEOPLE), st.sampled_from(["source", "template", "label", "evidence"])),
    min_size=1,
    max_size=8,
)


def opens(store, key) -> bool:
    try:
        return store.data_key(key.id) == key
    except (KeyDestroyed, EpochGone):
        return False


@settings(max_examples=8, deadline=None)
@given(made, st.data())
def test_exactly_the_purged_keys_are_gone(wanted, data):
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        store = place.keys()
        store.create()
        for person in PEOPLE[:2]:
            store.create_subject(person)
        keys = [
            (store.create_data_key(subject_uid=person, purpose=purpose), person) for person, purpose in wanted
        ]
        person = data.draw(st.sampled_from(PEOPLE))
        theirs = [key for key, whose in keys if whose == person]
        purged = data.draw(st.sets(st.sampled_from(theirs))) if theirs else set()
        place.copy("home", "home-before")

        done = store.purge([key.id for key in purged], subject_uid=person, subject_leaves=False)

        for key, _ in keys:
            assert opens(place.keys(), key) is (key not in purged)
            assert opens(place.keys(home="home-before"), key) is (not purged)
        assert (done.new_epoch > done.old_epoch) is bool(purged)
        assert place.keys().check() == []
        if purged:
            before = place.keys(home="home-before")
            before.restore_from_keybag()
            assert [opens(before, key) for key, _ in keys] == [key not in purged for key, _ in keys]
