"""The order of data is a pure function: whole epochs, any number of processes, nothing to save."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnets.data import Groups, evaluation_ids, gather, order, orders, shard


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 5), st.integers(1, 50), st.integers(1, 20))
def test_the_stream_is_one_permutation_after_the_other(seed, length, batch_size):
    count = -(-3 * length // batch_size)
    stream = np.concatenate([order(seed, n, batch_size=batch_size, length=length) for n in range(count)])
    np.testing.assert_array_equal(orders(seed, 0, count, batch_size=batch_size, length=length).ravel(), stream)
    for epoch in range(3):
        assert sorted(stream[epoch * length : (epoch + 1) * length]) == list(range(length))


def test_seeds_and_epochs_differ_and_numbers_may_come_in_any_order():
    first, again = (order(0, 7, batch_size=8, length=100) for _ in range(2))
    order(0, 1000, batch_size=8, length=100)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, order(1, 7, batch_size=8, length=100))
    epochs = [np.concatenate([order(0, e * 10 + n, batch_size=10, length=100) for n in range(10)]) for e in range(2)]
    assert not np.array_equal(*epochs)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 30), st.integers(0, 3))
def test_examples_that_lie_together_are_shuffled_in_pools_of_whole_epochs(sizes, pool, seed):
    groups, length = Groups(np.array(sizes), pool), sum(sizes)
    of_group = np.repeat(np.arange(len(sizes)), sizes)
    for epoch in range(2):
        ids = orders(seed, epoch, 1, batch_size=length, length=length, groups=groups)[0]
        assert sorted(ids) == list(range(length))
        # A pool is a stretch of the groups in their order of this epoch: only those at its ends are cut.
        pools = [set(of_group[ids[start : start + pool]]) for start in range(0, length, pool)]
        for group, size in enumerate(sizes):
            inside = [number for number, found in enumerate(pools) if group in found]
            assert inside == list(range(inside[0], inside[-1] + 1)) and len(inside) <= -(-size // pool) + 1
    if len(sizes) > 9 and pool > 9 and length > 40:
        first, second = (order(seed, e, batch_size=length, length=length, groups=groups) for e in range(2))
        assert not np.array_equal(first, second) and not np.array_equal(first, np.sort(first))


@pytest.mark.parametrize("count", [1, 2, 4])
def test_processes_share_one_global_batch(count):
    ids = order(3, 5, batch_size=8, length=30)
    parts = [shard(ids, index=index, count=count) for index in range(count)]
    np.testing.assert_array_equal(np.concatenate(parts), ids)
    with pytest.raises(ValueError, match="does not divide over 3 processes"):
        shard(ids, index=0, count=3)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 16))
def test_evaluation_sees_each_example_once(length, batch_size):
    seen = [int(i) for ids, weight in evaluation_ids(length, batch_size) for i, w in zip(ids, weight, strict=True) if w]
    assert seen == list(range(length))


def test_device_and_host_gather_the_same():
    import jax.numpy as jnp

    arrays = {"inputs": np.arange(24.0, dtype=np.float32).reshape(6, 4), "targets": np.arange(6)}
    ids = np.array([3, 0, 3], np.int32)
    host = gather(arrays, ids, window=None)
    device = gather({k: jnp.asarray(v) for k, v in arrays.items()}, jnp.asarray(ids), window=None)
    for name in host:
        np.testing.assert_array_equal(host[name], device[name])
