"""Numbers of one example: uniform, of their range, and of no other example."""

import numpy as np
from scipy import stats

from jaxnets.data.draws import Draw


def drawn(seed, place):
    return Draw(np.array([seed, place], np.uint64))


def test_numbers_are_uniform_within_an_example_and_over_examples():
    """p above 1e-4 each: the numbers are always these, so that it is not by chance."""
    many = drawn(0, 0)
    within = [many.uniform(-2.0, 3.0) for _ in range(4_000)]
    over = [drawn(1, place).uniform(0.0, 1.0) for place in range(4_000)]
    seeds = [drawn(seed, 5).uniform(0.0, 1.0) for seed in range(4_000)]
    assert stats.kstest(within, stats.uniform(-2, 5).cdf).pvalue > 1e-4
    for numbers in (over, seeds):
        assert stats.kstest(numbers, stats.uniform().cdf).pvalue > 1e-4
        assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 4 / np.sqrt(4_000)
    counts = np.bincount([many.integers(3, 10) for _ in range(4_000)])
    assert len(counts) == 10 and not counts[:3].any() and stats.chisquare(counts[3:]).pvalue > 1e-4
    assert {many.integers(4, 5) for _ in range(5)} == {4}


def test_all_that_is_drawn_follows_from_seed_and_place():
    first = [drawn(3, 8).integers(0, 2**62) for _ in range(2)]
    assert first[0] == first[1]
    numbers = {drawn(seed, place).integers(0, 2**62) for seed in range(30) for place in range(30)}
    assert len(numbers) == 900
    one = drawn(3, 8)
    assert len({one.integers(0, 2**62) for _ in range(100)}) == 100  # more than one block
    assert [drawn(2**63, 2**64 - 1).uniform(0.0, 1.0)] == [drawn(2**63, 2**64 - 1).uniform(0.0, 1.0)]
