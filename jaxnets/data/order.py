"""The order of data as a pure function of a seed and a batch number: nothing to save, nothing to lose."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

CYCLE = 4096  # examples of a mixture in which each source has its share exactly


@dataclass(frozen=True, eq=False)
class Groups:
    """Examples that lie together and are read together, so that they are shuffled among near ones, not among all.

    sizes: (g,) examples of each, which are numbered one after the other
    pool:  examples that are shuffled among each other, once the groups have been
    """

    sizes: np.ndarray
    pool: int


@dataclass(frozen=True, eq=False)
class Mixture:
    """Examples of several sources, of which each gives a fixed share of the stream, whatever its size.

    sizes:  examples of each, which are numbered one source after the other
    shares: above 0; what counts is their ratio
    groups: of each source, where its examples lie together
    """

    sizes: tuple[int, ...]
    shares: tuple[float, ...]
    groups: tuple[Groups | None, ...]

    @functools.cached_property
    def quotas(self) -> np.ndarray:
        """(sources,) how many examples of a cycle of the stream each gives, by largest remainders, but at least one."""
        exact = np.asarray(self.shares) / np.sum(self.shares) * (CYCLE - len(self.shares))
        found = 1 + np.floor(exact).astype(np.int64)
        found[np.argsort(-(exact - np.floor(exact)), kind="stable")[: CYCLE - found.sum()]] += 1
        return found


def order(
    seed: int, number: int, *, batch_size: int, length: int, groups: Groups | Mixture | None = None
) -> np.ndarray:
    """The example ids (batch_size,) of global batch `number`; the same for any number of processes.

    The stream is one permutation of `length` examples after the other, each drawn from (seed, epoch); a batch may span
    the end of an epoch, nothing is dropped.

    >>> sorted(int(i) for n in range(2) for i in order(0, n, batch_size=3, length=6))
    [0, 1, 2, 3, 4, 5]
    """
    return orders(seed, number, 1, batch_size=batch_size, length=length, groups=groups)[0]


def orders(
    seed: int, first: int, count: int, *, batch_size: int, length: int, groups: Groups | Mixture | None = None
) -> np.ndarray:
    """The ids (count, batch_size) of batches `first` and on, as `order` gives them one by one."""
    start, size = first * batch_size, count * batch_size
    if isinstance(groups, Mixture):
        found = _mixed(seed, start, size, groups)
    else:
        found = _stretch(seed, (), start, size, length, groups)
    return found.reshape(count, batch_size)


def _stretch(
    seed: int, stream: tuple[int, ...], start: int, missing: int, length: int, groups: Groups | None
) -> np.ndarray:
    """(missing,) examples of a stream of permutations, from place `start` on; `stream` says which of a mixture's."""
    parts = []
    while missing:
        epoch, offset = divmod(start, length)
        part = _permutation((seed, epoch, *stream), length, groups)[offset : offset + missing]
        parts.append(part)
        start += len(part)
        missing -= len(part)
    return np.concatenate(parts)


def _mixed(seed: int, start: int, size: int, mixture: Mixture) -> np.ndarray:
    """(size,) examples from place `start` of the stream on: each source's own stream, in the turns of `_cycle`.

    A cycle holds a fixed number of each source, so that how often it had its turn before is known without counting.
    """
    first, last = start // CYCLE, (start + size - 1) // CYCLE
    turns = np.concatenate([_cycle(seed, number, mixture) for number in range(first, last + 1)])
    begin = start - first * CYCLE
    window = turns[begin : begin + size]
    found = np.empty(size, np.int32)
    firsts = np.cumsum([0, *mixture.sizes])
    for source, (length, groups) in enumerate(zip(mixture.sizes, mixture.groups, strict=True)):
        mine = window == source
        before = first * int(mixture.quotas[source]) + int((turns[:begin] == source).sum())
        if mine.any():
            own = _stretch(seed, (source, 1), before, int(mine.sum()), length, groups)
            found[mine] = own + firsts[source]
    return found


def _cycle(seed: int, number: int, mixture: Mixture) -> np.ndarray:
    """(CYCLE,) whose turn it is."""
    draw = np.random.Generator(np.random.Philox([seed, number, 0, 2]))
    return draw.permutation(np.repeat(np.arange(len(mixture.quotas)), mixture.quotas))


def shard(ids: np.ndarray, *, index: int, count: int) -> np.ndarray:
    """The slice of a global batch that process `index` of `count` reads. Raises ValueError if it does not divide."""
    if len(ids) % count:
        raise ValueError(f"a batch of {len(ids)} does not divide over {count} processes; use a multiple of {count}")
    size = len(ids) // count
    return ids[index * size : (index + 1) * size]


@functools.lru_cache(maxsize=8)
def _permutation(seeds: tuple[int, ...], length: int, groups: Groups | None) -> np.ndarray:
    draw = np.random.Generator(np.random.Philox(seeds))
    found = (draw.permutation(length) if groups is None else _grouped(draw, groups)).astype(np.int32)
    found.setflags(write=False)
    return found


def _grouped(draw: np.random.Generator, groups: Groups) -> np.ndarray:
    """All examples: groups in random order, and then each pool of what follows each other in random order."""
    members = np.split(np.arange(groups.sizes.sum()), np.cumsum(groups.sizes)[:-1])
    ids = np.concatenate([members[group] for group in draw.permutation(len(members))])
    return ids[np.lexsort((draw.random(len(ids)), np.arange(len(ids)) // groups.pool))]
