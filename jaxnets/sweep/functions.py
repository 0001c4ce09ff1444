"""What trials of one structure share: functions that take a trial's numbers as inputs, for one trial or for many lanes.

*queue* is the very step that `train` compiles, one trial after the other, of short trials several in one call;
*lanes* is that step under `jax.vmap`, each lane with its own numbers, seed and place in the data.
"""

from __future__ import annotations

import functools
from collections.abc import Collection
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets import data, warm_start
from jaxnets.admission import Admitted
from jaxnets.build import Parts, build, experiment_step
from jaxnets.config import Experiment
from jaxnets.step import evaluation_params, init_state, make_eval_step
from jaxnets.types import Metric, PyTree, Task, TrainState

LONGEST = 1024  # steps a call, at most: the rest of a long stretch is another call of the same program
_FEED_BYTES = 2**26  # of the rows of one call


class Slots(NamedTuple):
    """All that trials are while they train; in lanes each leaf has them first.

    best: (params, state) as evaluation takes them, of the best evaluation so far
    """

    train: TrainState
    best: tuple[PyTree, PyTree]


class Functions:
    """The pure functions of a structure, for `lanes` trials a call, or for one (`lanes` = 0).

    Numbers are an `Experiment` of tracers, `fixed` the arrays of the data, if they are on the device, and the teacher.

    together: whether the trials of a call are vmapped; else they are trained one after the other
    apart:    the latter, of several trials a call, each of which takes its own number of steps
    figures:  what is measured of a trial; None = all that the task has
    sums:     whether the steps' own sums are given as well, for a log
    length:   steps a call, at most
    shared:   lanes see the same batches, since these are read or are on the host; all must be at the same step
    """

    def __init__(
        self,
        admitted: Admitted,
        *,
        lanes: int,
        together: bool = True,
        figures: Collection[str] | None = None,
        sums: bool = False,
        length: int = LONGEST,
    ) -> None:
        self.admitted, self.lanes, self.together, self.figures = admitted, lanes, together and lanes > 0, figures
        self.apart, self.sums = lanes > 0 and not together, sums or not self.lanes
        self.experiment, self.schema, self.train = admitted.experiment, admitted.schema, admitted.train
        self.batch_size = self.experiment.data.batch_size
        self.on_device = data.fits_on_device(self.experiment.data, self.train)
        self.shared = not self.on_device and self.together
        self.length = max(1, min(length, admitted.total, _FEED_BYTES // self._row_bytes()))
        self.weights = None if self.experiment.init_from is None else warm_start.read(self.experiment.init_from)

    def measured(self, task: Task) -> dict[str, Metric]:
        """The task's metrics that are measured."""
        return {name: metric for name, metric in task.metrics.items() if self.figures is None or name in self.figures}

    def _row_bytes(self) -> int:
        if self.on_device:
            return 4 * self.batch_size * max(self.lanes, 1)
        leaves = jax.tree.leaves(self.admitted.batch)
        return max(1, sum(int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in leaves))

    def _first(self, numbers: Experiment) -> Slots:
        parts = build(numbers, self.schema)
        train = init_state(*parts, key=jax.random.key(numbers.seed), batch=self.admitted.batch)
        if self.weights is not None:
            train = warm_start.fit(train, self.weights, parts.optimizer).state
        return Slots(train, jax.tree.map(jnp.copy, (evaluation_params(parts.optimizer, train), train.state)))

    def _step(self, train: TrainState, numbers: Experiment, fixed: PyTree, row: PyTree) -> Any:
        arrays, teacher = fixed
        batch = data.gather(arrays, row, window=self.train.window, stride=self.train.stride) if self.on_device else row
        train, sums = experiment_step(train, batch, numbers, schema=self.schema, teacher=teacher)
        if self.sums:
            return train, {"finite": sums["health"]["finite"], "sums": sums}
        return train, {"finite": jnp.isfinite(sums["metrics"]["loss"]["total"])}

    def _block(self, train: TrainState, numbers: Experiment, fixed: PyTree, feed: PyTree, count: Any) -> Any:
        """`count` steps of a feed: the state after them, and which of them were finite.

        Lanes look at the loss of each step and at the params after the last, in place of all gradients of each step,
        which takes up to a sixth of the time: a gradient that is not finite shows in the loss of the step after it.

        A trial alone gives all sums as well, though nobody reads them: without them XLA fuses the step in another way
        than that of `train`, which moves last bits (of schedule-free AdamW).
        """
        if self.apart:  # so that a lane's params stay in the cache
            rows = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 1, 0), feed)

            def one(lane: Any) -> Any:
                train, numbers, rows, count = lane
                return self._steps(self._step, train, numbers, fixed, rows, count)

            train, told = jax.lax.map(one, (train, numbers, rows, count))
            return train, told | {"finite": told["finite"].T}
        each = jax.vmap(self._step, in_axes=(0, 0, None, None if self.shared else 0)) if self.lanes else self._step
        return self._steps(each, train, numbers, fixed, feed, count)

    def _steps(self, step: Any, train: TrainState, numbers: Experiment, fixed: PyTree, feed: PyTree, count: Any) -> Any:
        told = self._told(step, train, numbers, fixed, jax.tree.map(lambda leaf: leaf[0], feed))

        def body(index: Any, carry: Any) -> Any:
            train, rows = carry
            train, told = step(train, numbers, fixed, jax.tree.map(lambda leaf: leaf[index], feed))
            return train, jax.tree.map(lambda row, value: row.at[index].set(value), rows, told)

        rows = jax.tree.map(lambda leaf: jnp.zeros((self.length, *leaf.shape), leaf.dtype), told)
        train, rows = jax.lax.fori_loop(0, count, body, (train, rows))
        if not self.sums:
            rows["finite"] = rows["finite"].at[count - 1].min(_all_finite(train.params, axes=train.step.ndim))
        return train, rows

    def _told(self, step: Any, train: TrainState, *rest: Any) -> PyTree:
        """The shapes of what a step tells; where they are known without tracing it, it is traced once less."""
        if self.sums:
            return jax.eval_shape(step, train, *rest)[1]
        return {"finite": jax.ShapeDtypeStruct(train.step.shape, bool)}

    def _seen(self, train: TrainState, numbers: Experiment) -> tuple[PyTree, PyTree]:
        return evaluation_params(build(numbers, self.schema).optimizer, train), train.state

    def _scored(self, view: tuple[PyTree, PyTree], numbers: Experiment, batch: PyTree) -> PyTree:
        """The metric sums of one batch, of all lanes."""
        return self._mapped(lambda view, numbers: self._scored_one(view, numbers, batch))(view, numbers)

    def _scored_one(self, view: tuple[PyTree, PyTree], numbers: Experiment, batch: PyTree) -> PyTree:
        parts: Parts = build(numbers, self.schema)
        measured = self.measured(parts.task)
        return make_eval_step(parts.model, parts.task._replace(metrics=measured))(*view, batch)["metrics"]

    def _measured(self, train: TrainState, numbers: Experiment, batch: PyTree) -> PyTree:
        """As `train` measures: in one program from the train state, so that last bits are the same."""
        return self._scored(self._seen(train, numbers), numbers, batch)

    def _scored_all(self, view: tuple[PyTree, PyTree], numbers: Experiment, batches: PyTree, count: Any) -> PyTree:
        """The metric sums (lanes, batches, …) of the first `count` of these batches."""
        most = len(jax.tree.leaves(batches)[0])

        def batch(index: Any) -> PyTree:
            return jax.tree.map(lambda leaf: leaf[index], batches)

        def lane(view: tuple[PyTree, PyTree], numbers: Experiment, count: Any) -> PyTree:
            def body(index: Any, rows: PyTree) -> PyTree:
                found = self._scored_one(view, numbers, batch(index))
                return jax.tree.map(lambda row, new: row.at[index].set(new), rows, found)

            shapes = jax.eval_shape(self._scored_one, view, numbers, batch(0))
            rows = jax.tree.map(lambda s: jnp.zeros((most, *s.shape), s.dtype), shapes)
            return jax.lax.fori_loop(0, count, body, rows)

        if self.apart:
            return jax.lax.map(lambda each: lane(*each), (view, numbers, count))
        return jax.vmap(lane, in_axes=(0, 0, None))(view, numbers, count)

    def _mapped(self, function: Any) -> Any:
        if not self.lanes:
            return function
        return jax.vmap(function) if self.together else lambda *lanes: jax.lax.map(lambda lane: function(*lane), lanes)


def _all_finite(tree: PyTree, *, axes: int) -> Any:
    """Whether all numbers are finite, over all axes but the first `axes`."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    found = [jnp.isfinite(leaf).all(axis=tuple(range(axes, leaf.ndim))) for leaf in leaves]
    return functools.reduce(jnp.logical_and, found)


def kept(old: PyTree, new: PyTree, taken: Any) -> PyTree:
    """`new` where it is `taken`, () or (lanes,), else `old`."""

    def one(old: Any, new: Any) -> Any:
        return jnp.where(taken.reshape(taken.shape + (1,) * (old.ndim - taken.ndim)), new, old)

    return jax.tree.map(one, old, new)
