"""The table of moves: what a voice may become, and what it is told otherwise."""

import pytest

from lifecycle.domain.errors import Refused, UsageError
from lifecycle.domain.states import MOVES, Move, moved
from lifecycle.domain.voices import State, checked_name


def test_a_voice_goes_from_active_to_erased_only_through_retired():
    ways_to_erased = {state for (state, move), target in MOVES.items() if target is State.ERASED}
    assert ways_to_erased == {State.RETIRED}


def test_nothing_leads_out_of_erased():
    assert not [move for (state, move) in MOVES if state is State.ERASED]
    for move in Move:
        with pytest.raises(Refused, match="tombstone"):
            moved("kol-a", State.ERASED, move)


@pytest.mark.parametrize("state", [State.ACTIVE, State.DEPRECATED])
def test_erasing_a_living_voice_is_refused_with_the_command_that_comes_first(state):
    with pytest.raises(Refused) as refusal:
        moved("kol-a", state, Move.ERASE)
    assert refusal.value.exit_code == 4
    assert refusal.value.hint == "vlm retire kol-a --purge-audio"


def test_a_retired_voice_can_be_restored():
    assert moved("kol-a", State.RETIRED, Move.RESTORE) is State.ACTIVE


@pytest.mark.parametrize("name", ["kol-lin", "a", "KOL", "v2.1_x", "0" * 64])
def test_plain_names_are_taken(name):
    assert checked_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "../x", "a/b", "a..b", ".a", "a-", "-x", "a b", "x\n", "\udcff", "ä", "0" * 65, "a\x1b[2J"]
)
def test_names_that_could_leave_a_folder_or_steer_a_terminal_are_refused(name):
    with pytest.raises(UsageError) as refusal:
        checked_name(name)
    assert "\x1b" not in refusal.value.message
    refusal.value.message.encode("utf-8")
