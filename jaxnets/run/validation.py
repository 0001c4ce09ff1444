"""The valid split, measured while a run trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax

from jaxnets import data, metrics
from jaxnets.admission import Admitted
from jaxnets.build import Parts, build
from jaxnets.config import Experiment
from jaxnets.run.feed import own_slice
from jaxnets.step import evaluation_params, make_eval_step, results
from jaxnets.types import PyTree, TrainState


class Validation:
    """One program, compiled before the first step so that no later moment compiles anything.

    numbers: the experiment, on the devices
    """

    def __init__(self, admitted: Admitted, numbers: Experiment, train_state: TrainState) -> None:
        self._admitted, self._numbers = admitted, numbers
        valid, layout = admitted.dataset.splits["valid"], admitted.layout
        size = min(max(admitted.experiment.data.batch_size, 1), valid.length)
        self._size = -(-size // layout.batch_devices) * layout.batch_devices

        def measured(train_state: TrainState, numbers: Experiment, batch: PyTree) -> PyTree:
            parts: Parts = build(numbers, admitted.schema)
            params = evaluation_params(parts.optimizer, train_state)
            return make_eval_step(parts.model, parts.task)(params, train_state.state, batch)["metrics"]

        batch = next(self._batches())
        with layout.naming():
            lowered = jax.jit(measured, out_shardings=layout.replicated).lower(train_state, numbers, batch)
        self._measured = lowered.compile()

    def __call__(self, train_state: TrainState, interrupted: Callable[[], bool]) -> dict[str, float]:
        """The figures of the split; {} if it was interrupted."""
        task = self._admitted.parts.task
        sums: Any = None
        for batch in self._batches():
            if interrupted():
                return {}
            found = jax.device_get(self._measured(train_state, self._numbers, batch))
            sums = metrics.gather(task.metrics, sums, found)
        return results(task, sums)

    def _batches(self) -> Iterator[PyTree]:
        valid, layout = self._admitted.dataset.splits["valid"], self._admitted.layout
        workers = data.workers_of(self._admitted.experiment.data.workers)
        for batch in data.evaluation_batches(valid, self._size, workers=workers, **own_slice(layout, self._size)):
            yield layout.place_own_batch(batch, self._size)
