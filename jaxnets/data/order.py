"""The order of data as a pure function of a seed and a batch number: nothing to save, nothing to lose."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Groups:
    """Examples that lie together and are read together, so that they are shuffled among near ones, not among all.

    sizes: (g,) examples of each, which are numbered one after the other
    pool:  examples that are shuffled among each other, once the groups have been
    """

    sizes: np.ndarray
    pool: int


def order(seed: int, number: int, *, batch_size: int, length: int, groups: Groups | None = None) -> np.ndarray:
    """The example ids (batch_size,) of global batch `number`; the same for any number of processes.

    The stream is one permutation of `length` examples after the other, each drawn from (seed, epoch); a batch may span
    the end of an epoch, nothing is dropped.

    >>> sorted(int(i) for n in range(2) for i in order(0, n, batch_size=3, length=6))
    [0, 1, 2, 3, 4, 5]
    """
    return orders(seed, number, 1, batch_size=batch_size, length=length, groups=groups)[0]


def orders(
    seed: int, first: int, count: int, *, batch_size: int, length: int, groups: Groups | None = None
) -> np.ndarray:
    """The ids (count, batch_size) of batches `first` and on, as `order` gives them one by one."""
    start, missing = first * batch_size, count * batch_size
    parts = []
    while missing:
        epoch, offset = divmod(start, length)
        part = _permutation(seed, epoch, length, groups)[offset : offset + missing]
        parts.append(part)
        start += len(part)
        missing -= len(part)
    return np.concatenate(parts).reshape(count, batch_size)


def shard(ids: np.ndarray, *, index: int, count: int) -> np.ndarray:
    """The slice of a global batch that process `index` of `count` reads. Raises ValueError if it does not divide."""
    if len(ids) % count:
        raise ValueError(f"a batch of {len(ids)} does not divide over {count} processes; use a multiple of {count}")
    size = len(ids) // count
    return ids[index * size : (index + 1) * size]


@functools.lru_cache(maxsize=3)
def _permutation(seed: int, epoch: int, length: int, groups: Groups | None) -> np.ndarray:
    draw = np.random.Generator(np.random.Philox([seed, epoch]))
    found = (draw.permutation(length) if groups is None else _grouped(draw, groups)).astype(np.int32)
    found.setflags(write=False)
    return found


def _grouped(draw: np.random.Generator, groups: Groups) -> np.ndarray:
    """All examples: groups in random order, and then each pool of what follows each other in random order."""
    members = np.split(np.arange(groups.sizes.sum()), np.cumsum(groups.sizes)[:-1])
    ids = np.concatenate([members[group] for group in draw.permutation(len(members))])
    return ids[np.lexsort((draw.random(len(ids)), np.arange(len(ids)) // groups.pool))]
