"""What must hold before an experiment may compile: its data loaded and checked, its parts shaped on the first batch.

Every command that trains, rehearses or measures begins here, so that a mistake is told once and in the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxnets import config, data, inspection, optim, teacher
from jaxnets.build import Parts, build, check_model, check_schema, total_steps
from jaxnets.config import Experiment
from jaxnets.data import Dataset, Schema, Split
from jaxnets.errors import DataError
from jaxnets.parallel import Layout
from jaxnets.placement import layout_of
from jaxnets.step import merge_params
from jaxnets.tasks import Teacher
from jaxnets.types import Batch, PyTree, TrainState


class Admitted(NamedTuple):
    """An experiment on its data; nothing is compiled yet.

    batch:   shapes of one batch of the train split, as the source holds it
    shapes:  of the train state
    total:   optimizer steps of the whole run
    teacher: whom the step listens to, or None
    """

    experiment: Experiment
    dataset: Dataset
    parts: Parts
    batch: PyTree
    shapes: TrainState
    layout: Layout
    total: int
    teacher: Teacher | None = None

    @property
    def schema(self) -> Schema:
        return self.dataset.schema

    @property
    def last(self) -> int:
        """The step that training ends at: the last of the run, or before it where `loop.limit_steps` says so."""
        return min(self.total, self.experiment.loop.limit_steps or self.total)

    @property
    def train(self) -> Split:
        return self.dataset.splits["train"]

    @property
    def params(self) -> PyTree:
        """Shapes of all params, those that do not train among them."""
        return merge_params(self.shapes.params, self.shapes.frozen)

    @property
    def parameters(self) -> int:
        """How many numbers the params are."""
        return sum(leaf.size for leaf in jax.tree.leaves((self.shapes.params, self.shapes.frozen)))


def admit_data(experiment: Experiment, *, say: Callable[[str], None] | None = None) -> Dataset:
    """The data of an experiment; raises ConfigError or DataError if it is bad or does not fit model and task.

    say: is told what the checks find that does not stop
    """
    config.check(experiment)
    dataset = data.load(experiment.data)
    inspection.check(dataset, batch_size=experiment.data.batch_size)
    check_schema(experiment, dataset.schema)
    _check_transform(experiment, dataset)
    inspection.admit(dataset, experiment.data, say=say)
    return dataset


def _check_transform(experiment: Experiment, dataset: Dataset) -> None:
    """Raises DataError at a target that has no logarithm."""
    if getattr(experiment.task, "transform", None) != "log":
        return
    for split in dataset.splits.values():
        targets = np.atleast_1d(np.asarray(split.arrays.get("targets", 1.0)))
        bad = np.flatnonzero(~(targets.reshape(len(targets), -1) > 0).all(axis=1))
        if bad.size:
            raise DataError(
                f"{split.where(int(bad[0]))}: target {targets[bad[0]].tolist()} has no logarithm, and task.transform "
                f"is log ({len(bad)} rows are like it); set it to none, or leave such rows out"
            )


def admit(experiment: Experiment, dataset: Dataset | None = None, *, devices: Sequence[Any] | None = None) -> Admitted:
    """The experiment with everything checked that can be checked without compiling, for `devices` or those at hand.

    Raises what `admit_data` raises, ConfigError if model, optimizer groups, plan or teacher do not fit, and
    CheckpointError if the teacher is damaged.
    """
    dataset = admit_data(experiment) if dataset is None else dataset
    parts = build(experiment, dataset.schema)
    batch = data.batch_shapes(dataset.splits["train"], experiment.data.batch_size)
    shapes = check_model(parts, dataset.schema, experiment, batch)
    optim.check_groups(experiment.optim, merge_params(shapes.params, shapes.frozen))
    layout = layout_of(experiment, dataset.schema, devices=devices)
    taught_by = teacher.load(experiment, dataset.schema)
    total = total_steps(experiment, dataset.schema)
    return Admitted(experiment, dataset, parts, batch, shapes, layout, total, taught_by)


def batch_at(experiment: Experiment, train: Split, number: int) -> Batch:
    """Batch `number` of the stream of training batches, on the host."""
    size, seed = experiment.data.batch_size, int(experiment.seed)
    workers = data.workers_of(experiment.data.workers)
    with data.training_stream(train, seed=seed, batch_size=size, workers=workers, end=number + 1) as stream:
        return stream([number])[0]
