"""The batches of a run's stream, by their numbers: example ids where the data lies on the device, rows elsewhere."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import numpy as np

from jaxnets import data
from jaxnets.admission import Admitted
from jaxnets.parallel import Layout
from jaxnets.types import PyTree


def own_slice(layout: Layout, batch_size: int) -> dict[str, int]:
    """Which of how many equal slices of a batch this process reads; some may read the same one."""
    own = layout.own_rows(batch_size)
    size = own.stop - own.start
    return {"index": own.start // size, "count": batch_size // size}


class Feed:
    """What the compiled steps take of the training data; `stream` is to be closed.

    arrays: what of it lies on the device
    """

    def __init__(self, admitted: Admitted) -> None:
        experiment = admitted.experiment
        self._train, self._layout, self._size = admitted.train, admitted.layout, experiment.data.batch_size
        self._seed, self._same = int(experiment.seed), experiment.loop.overfit_batch
        self._own = own_slice(admitted.layout, self._size)
        self._on_device = data.fits_on_device(experiment.data, self._train)
        self._gather = partial(data.gather, window=self._train.window, stride=self._train.stride)
        self.arrays = dict(self._train.arrays) if self._on_device else {}
        self.stream = data.training_stream(
            self._train,
            seed=self._seed,
            batch_size=self._size,
            workers=data.workers_of(experiment.data.workers),
            same=self._same,
            **self._own,
        )

    def ids(self, first: int, count: int) -> np.ndarray:
        """The example ids (count, batch) of batches `first` and on."""
        how = {"batch_size": self._size, "length": self._train.length, "groups": self._train.groups}
        if self._same:
            return np.repeat(data.orders(self._seed, 0, 1, **how), count, axis=0)
        return data.orders(self._seed, first, count, **how)

    def shapes(self, length: int) -> PyTree:
        """Of what `placed` gives for `length` steps at once."""
        return _whole(self._rows([0], length), self._size)

    def placed(self, numbers: list[int], length: int) -> PyTree:
        """These batches on the devices, on a first axis that is filled up to `length`."""
        return self._layout.place_own_feed(self._rows(numbers, length), self._size)

    def batch_of(self, constants: PyTree, rows: PyTree, index: Any) -> PyTree:
        """Batch `index` of what `placed` gave, inside the step; `constants[1]` are the placed `arrays`."""
        row = jax.tree.map(lambda leaf: leaf[index], rows)
        return self._gather(constants[1], row) if self._on_device else row

    def _rows(self, numbers: list[int], length: int) -> PyTree:
        if numbers[-1] - numbers[0] == len(numbers) - 1:
            ids = self.ids(numbers[0], len(numbers))
        else:  # some were passed over
            ids = np.concatenate([self.ids(number, 1) for number in numbers])
        ids = np.concatenate([ids, np.broadcast_to(ids[:1], (length - len(ids), ids.shape[1]))])
        ids = data.shard(ids.T, **self._own).T
        if self._on_device:
            return ids
        if self._train.reader is not None:
            return _padded(self.stream(numbers), length)
        return jax.tree.map(np.asarray, _stacked(self._gather, self._train.arrays, ids))


def _whole(rows: PyTree, batch_size: int) -> PyTree:
    """Shapes of the rows (steps, batch, ...) of all processes, from this one's."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((leaf.shape[0], batch_size, *leaf.shape[2:]), leaf.dtype), rows
    )


def _padded(batches: list[PyTree], length: int) -> PyTree:
    """Batches on a new first axis, the first of them again up to `length`; a single one is not copied."""
    if len(batches) == length == 1:
        return jax.tree.map(lambda leaf: leaf[None], batches[0])
    return jax.tree.map(lambda *leaves: np.stack(leaves), *batches, *batches[:1] * (length - len(batches)))


def _stacked(gather: Any, arrays: Any, ids: np.ndarray) -> PyTree:
    flat = gather(arrays, ids.reshape(-1))
    return jax.tree.map(lambda leaf: leaf.reshape(*ids.shape, *leaf.shape[1:]), flat)
