"""Random numbers are the published ones, the same everywhere, and independent between streams."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.random import normal, philox, uniform

FULL = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((FULL, FULL, FULL, FULL), (FULL, FULL), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_published_words(counter, key, words):
    got = philox(np.array([counter], np.uint32), key)[0]

    assert tuple(int(word) for word in got) == words


def test_normal_numbers_stay_as_they_were_in_the_first_release():
    first = normal(7, "vocoder-noise-0", (4,))

    assert first.dtype == np.float32
    np.testing.assert_allclose(first, normal(7, "vocoder-noise-0", (1000,))[:4], atol=0)


@given(st.integers(-(2**70), 2**70), st.text(max_size=5))
def test_the_same_seed_and_stream_give_the_same_numbers(seed, stream):
    np.testing.assert_array_equal(normal(seed, stream, (3, 5)), normal(seed, stream, (3, 5)))


def test_streams_and_seeds_are_independent():
    a, b, c = normal(1, "a", (20_000,)), normal(1, "b", (20_000,)), normal(2, "a", (20_000,))

    for other in (b, c):
        assert abs(float(np.corrcoef(a, other)[0, 1])) < 0.03


def test_normal_numbers_have_mean_zero_and_variance_one():
    x = normal(3, "moments", (200_000,)).astype(np.float64)

    assert abs(x.mean()) < 0.01
    assert abs(x.var() - 1.0) < 0.02
    assert abs((x**4).mean() - 3.0) < 0.1


def test_uniform_numbers_fill_the_unit_interval_evenly():
    x = uniform(3, "even", (100_000,))

    assert x.min() >= 0.0
    assert x.max() < 1.0
    counts = np.histogram(x, bins=10, range=(0, 1))[0]
    assert abs(counts - 10_000).max() < 500
