"""A rehearsal: what a run would be, from its data to its compiled step, without training and without a run folder."""

from __future__ import annotations

import collections
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets import config, data, optim, parallel
from jaxnets.build import build, check_model, check_schema, experiment_step, total_steps
from jaxnets.columns import sparkline
from jaxnets.config import Experiment
from jaxnets.step import merge_params
from jaxnets.types import PyTree

_COLUMNS = 60


class Memory(NamedTuple):
    """Bytes on one device: what the train state holds, and what one step takes beside it."""

    params: int
    optimizer: int
    rest: int
    step: int


def rehearse(experiment: Experiment) -> str:
    """The text of `jaxnets train --dry-run`: counts, one batch, shapes of the params, memory, the schedule.

    Compiles the step once and runs nothing. Raises what a run would raise before its first step.
    """
    config.check(experiment)
    dataset = data.load(experiment.data)
    data.check(dataset, batch_size=experiment.data.batch_size)
    check_schema(experiment, dataset.schema)
    train = dataset.splits["train"]
    ids = data.order(int(experiment.seed), 0, batch_size=experiment.data.batch_size, length=train.length)
    batch = data.gather(train.arrays, ids, window=train.window, stride=train.stride)
    state = check_model(build(experiment, dataset.schema), dataset.schema, experiment, _shapes(batch))
    optim.check_groups(experiment.optim, merge_params(state.params, state.frozen))
    total = total_steps(experiment, dataset.schema)
    epochs = total * experiment.data.batch_size / train.length
    sections = {
        "data": [f"{dataset.schema.source}: " + ", ".join(f"{n} {s}" for s, n in dict(dataset.schema.counts).items())],
        "first batch": _batch_lines(batch),
        "params": _param_lines(merge_params(state.params, state.frozen)),
        "memory a device": _memory_lines(memory(experiment, dataset.schema, state, _shapes(batch))),
        f"learning rate over {total} steps ({epochs:.1f} epochs)": _schedule_lines(experiment, total),
    }
    return "\n".join(line for title, lines in sections.items() for line in (title, *(f"  {one}" for one in lines)))


def memory(experiment: Experiment, schema: data.Schema, state: PyTree, batch: PyTree) -> Memory:
    """Measured by compiling the step for the devices at hand; `state` and `batch` are shapes."""
    layout = parallel.layout(experiment.plan)
    parallel.check_batch(layout, experiment.data.batch_size)
    numbers = jax.tree.map(jnp.asarray, experiment)
    feed = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape), leaf.dtype), batch)
    compiled = parallel.compile_step(
        lambda state, batch, numbers: experiment_step(state, batch, numbers, schema=schema),
        lambda numbers, feed, index: jax.tree.map(lambda leaf: leaf[index], feed),
        layout,
        constants=numbers,
        train_state=state,
        feed=feed,
        length=1,
    )
    params, opt_state = map(_bytes, ((state.params, state.frozen), state.opt_state))
    return Memory(params, opt_state, _bytes(state) - params - opt_state, compiled.temporary_bytes)


def _shapes(batch: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), batch)


def _bytes(tree: PyTree) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _batch_lines(batch: PyTree) -> list[str]:
    lines = []
    for name, leaf in batch.items():
        values = np.asarray(leaf)
        line = f"{name:8} {values.dtype} {values.shape}, {values.min():.4g} to {values.max():.4g}"
        if name == "targets" and values.dtype.kind == "i":
            counts = sorted(collections.Counter(values.tolist()).items())
            line += "; " + ", ".join(f"{label} × {count}" for label, count in counts[:20])
        lines.append(line)
    return lines


def _param_lines(params: PyTree) -> list[str]:
    leaves = jax.tree_util.tree_leaves_with_path(params)
    width = max(len(optim.path_of(path)) for path, _ in leaves)
    lines = [f"{optim.path_of(path):{width}}  {leaf.size:>12,}  {leaf.dtype} {leaf.shape}" for path, leaf in leaves]
    return [*lines, f"{'together':{width}}  {sum(leaf.size for _, leaf in leaves):>12,}"]


def _memory_lines(found: Memory) -> list[str]:
    named = {
        "params": found.params,
        "optimizer state": found.optimizer,
        "other state": found.rest,
        "one step beside them": found.step,
        "together": sum(found),
    }
    return [f"{word:20} {size / 2**20:10.2f} MiB" for word, size in named.items()]


def _schedule_lines(experiment: Experiment, total: int) -> list[str]:
    """A bar for each part of the run, as high as the learning rate."""
    steps = np.unique(np.linspace(0, total - 1, min(_COLUMNS, total)).astype(int))
    rate = optim.learning_rate(experiment.optim, total_steps=total)
    values = np.asarray(jax.vmap(rate)(jnp.asarray(steps)), np.float64)
    ends = f"{values[0]:.3g} at the first step, {values.max():.3g} at most, {values[-1]:.3g} at the last"
    return [sparkline(values.tolist(), width=_COLUMNS), ends]
