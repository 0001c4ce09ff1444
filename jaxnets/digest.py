"""One number for the content of an array, the same however the array is divided over devices and processes.

    digest = sum over elements of bits(x[i]) · weight(i)   modulo 2^64

`weight` is an odd number for each place, drawn by splitmix64. Parts add up, so that no process needs the whole. A
change of one element always changes the sum, any other one all but certainly. It finds mistakes, not forgers.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np

_CHUNK = 1 << 16  # elements: temporaries stay in the cache
_MASK = (1 << 64) - 1


def digest(leaf: Any) -> int:
    """Of the elements that this process answers for: all of a numpy array, the first replicas of a jax array.

    >>> digest(np.float32([1, 2])) == digest(np.float32([2, 1]))
    False
    """
    if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable:
        return part(np.asarray(leaf), start=(0,) * np.ndim(leaf), shape=np.shape(leaf))
    own = [shard for shard in leaf.addressable_shards if shard.replica_id == 0]
    starts = [tuple(axis.start or 0 for axis in shard.index) for shard in own]
    return add(
        part(np.asarray(shard.data), start=start, shape=leaf.shape) for shard, start in zip(own, starts, strict=True)
    )


def add(parts: Any) -> int:
    """The digest of a whole from those of its parts."""
    return sum(parts) & _MASK


def part(values: np.ndarray, *, start: tuple[int, ...], shape: tuple[int, ...]) -> int:
    """The digest of a part that begins at `start` in an array of `shape`.

    >>> whole = np.arange(12, dtype=np.int16).reshape(3, 4)
    >>> halves = [part(whole[:, at : at + 2], start=(0, at), shape=(3, 4)) for at in (0, 2)]
    >>> add(halves) == digest(whole)
    True
    """
    words = np.ascontiguousarray(values).reshape(-1).view(f"u{values.dtype.itemsize}")
    in_order = values.shape[1:] == tuple(shape[1:])  # whole rows lie one after the other
    first = start[0] * math.prod(shape[1:]) if start else 0
    total = np.uint64(0)
    with np.errstate(over="ignore"):
        for low in range(0, len(words), _CHUNK):
            places = np.arange(low, min(low + _CHUNK, len(words)))
            if in_order:
                places = places + first
            else:
                inside = np.unravel_index(places, values.shape)
                places = np.ravel_multi_index([i + at for i, at in zip(inside, start, strict=True)], shape)
            weights = _weights(places.astype(np.uint64))
            weights *= words[low : low + _CHUNK]
            total += weights.sum(dtype=np.uint64)
    return int(total)


def _weights(places: np.ndarray) -> np.ndarray:
    """splitmix64 of each place (n,) of uint64, made odd; in place."""
    x = places
    x *= np.uint64(0x9E3779B97F4A7C15)
    x += np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x ^= x >> np.uint64(shift)
        x *= np.uint64(factor)
    x ^= x >> np.uint64(31)
    x |= np.uint64(1)
    return x
