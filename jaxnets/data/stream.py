"""Batches by number, made by threads before they are asked for; the same whoever makes them, and whenever.

Decoding releases the interpreter's lock, so threads are enough, start at once and leave nothing behind. There is no
state beyond a window of batches: whatever number is asked for is made, and those that follow it are begun.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxnets.data.order import orders, shard
from jaxnets.data.pipeline import evaluation_ids, gather
from jaxnets.data.reader import part_of, with_part
from jaxnets.data.schema import Split

_CHUNK = 16  # examples a thread takes at once: enough to forget the hand-over, few enough to share a batch evenly
_AHEAD = 2  # batches that are begun before they are asked for


class Wanted(NamedTuple):
    """A batch that is to be made: its examples, their weights, and what random numbers are drawn from (see Reader)."""

    ids: np.ndarray
    weight: np.ndarray
    draws: np.ndarray | None = None


def workers_of(wanted: int | None) -> int:
    """The threads that `data.workers` asks for: as given, or one for each core that this process may use."""
    if wanted is not None:
        return wanted
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Stream:
    """`stream(numbers) -> batches` of a split, on the host. Close it, or use it in a `with`: it may hold threads.

    wanted:  batch number -> what the batch is; pure
    workers: threads that read a streamed split; 0 = it is read when it is asked for. Not used for arrays in memory.
    end:     the first number that will never be asked for, None = there is none
    """

    def __init__(
        self,
        split: Split,
        wanted: Callable[[int], Wanted],
        *,
        workers: int,
        end: int | None = None,
        ahead: int = _AHEAD,
    ) -> None:
        self._split, self._wanted, self._end, self._ahead = split, wanted, end, ahead
        threaded = split.reader is not None and workers > 0
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="jaxnets-data") if threaded else None
        self._begun: dict[int, tuple[dict[str, Any], list[Future[None]]]] = {}

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the threads; what was begun and not asked for is dropped."""
        self._begun.clear()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def __call__(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
        """The batches of these numbers. Raises DataError if one of their rows is bad and is not to be skipped."""
        if self._pool is None:
            return [fetch(self._split, self._wanted(number)) for number in numbers]
        last = max(numbers)
        ahead = range(last + 1, last + 1 + max(self._ahead, len(numbers)))
        window = [*dict.fromkeys(numbers), *(n for n in ahead if self._end is None or n < self._end)]
        for number in self._begun.keys() - set(window):
            for future in self._begun.pop(number)[1]:
                future.cancel()
        for number in window:
            if number not in self._begun:
                self._begun[number] = self._begin(self._pool, number)
        return [self._finish(number) for number in numbers]

    def _begin(self, pool: ThreadPoolExecutor, number: int) -> tuple[dict[str, Any], list[Future[None]]]:
        wanted = self._wanted(number)
        batch = _blank(self._split, wanted)
        return batch, [pool.submit(_fill, self._split, batch, wanted, part) for part in _chunks(wanted)]

    def _finish(self, number: int) -> dict[str, Any]:
        batch, futures = self._begun[number]
        for future in futures:
            future.result()  # in order, so that of several bad rows the first is named
        return batch


def fetch(split: Split, wanted: Wanted) -> dict[str, Any]:
    """One batch, made here and now: gathered from arrays, or read."""
    if split.reader is None:
        return gather(split.arrays, wanted.ids, window=split.window, stride=split.stride) | {"weight": wanted.weight}
    batch = _blank(split, wanted)
    for part in _chunks(wanted):
        _fill(split, batch, wanted, part)
    return batch


def batch_shapes(split: Split, batch_size: int) -> dict[str, Any]:
    """Shapes and dtypes of a batch of a split; nothing is read."""
    ids = np.zeros(batch_size, np.int32)
    window = split.window if split.reader is None else None
    batch = gather(split.arrays, ids, window=window, stride=split.stride)
    shapes: dict[str, Any] = jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype), batch)
    for name, leaf in ({} if split.reader is None else split.reader.leaves).items():
        shapes = with_part(shapes, name, jax.ShapeDtypeStruct((batch_size, *leaf.shape), leaf.dtype))
    return shapes


def _blank(split: Split, wanted: Wanted) -> dict[str, Any]:
    """The batch before its leaves are read; examples of weight 0 stay as they are here."""
    assert split.reader is not None
    batch = gather(split.arrays, wanted.ids, window=None) | {"weight": wanted.weight.copy()}
    for name, leaf in split.reader.leaves.items():
        batch = with_part(batch, name, np.zeros((len(wanted.ids), *leaf.shape), leaf.dtype))
    return batch


def _chunks(wanted: Wanted) -> list[slice]:
    real = np.flatnonzero(wanted.weight)
    stop = int(real[-1]) + 1 if real.size else 0
    return [slice(start, min(start + _CHUNK, stop)) for start in range(0, stop, _CHUNK)]


def _fill(split: Split, batch: dict[str, Any], wanted: Wanted, part: slice) -> None:
    assert split.reader is not None
    out = {name: part_of(batch, name)[part] for name in (*split.reader.leaves, "weight")}
    split.reader.fill(split.row(wanted.ids[part]), out, None if wanted.draws is None else wanted.draws[part])


def training_stream(
    split: Split,
    *,
    seed: int,
    batch_size: int,
    workers: int,
    index: int = 0,
    count: int = 1,
    end: int | None = None,
    same: bool = False,
) -> Stream:
    """The training batches of a split by their global number; of each, the slice of process `index` of `count`.

    batch_size: over all processes
    end:        the first number that will never be asked for, None = there is none
    same:       every number gives batch 0, to look whether a model can learn one batch by heart
    """

    def wanted(number: int) -> Wanted:
        number = 0 if same else number
        ids = orders(seed, number, 1, batch_size=batch_size, length=split.length, groups=split.groups)[0]
        places = number * batch_size + np.arange(batch_size, dtype=np.uint64)
        own = shard(ids, index=index, count=count)
        places = shard(places, index=index, count=count)
        draws = np.stack([np.full_like(places, seed), places], axis=1)
        return Wanted(own, np.ones(len(own), np.float32), draws)

    return Stream(split, wanted, workers=workers, end=end)


def evaluation_batches(
    split: Split, batch_size: int, *, workers: int, index: int = 0, count: int = 1
) -> Iterator[dict[str, Any]]:
    """Batches that cover each example once, the last padded at weight 0; of each, the slice of process `index`."""
    plan = list(evaluation_ids(split.length, batch_size))

    def wanted(number: int) -> Wanted:
        ids, weight = (shard(part, index=index, count=count) for part in plan[number])
        return Wanted(ids, weight)

    with Stream(split, wanted, workers=workers, end=len(plan)) as stream:
        for number in range(len(plan)):
            yield stream([number])[0]
