"""A rehearsal: what a run would be, from its data to its compiled step, without training and without a run folder."""

from __future__ import annotations

import collections
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets import data, optim, parallel
from jaxnets.admission import Admitted, admit, batch_at
from jaxnets.build import experiment_step
from jaxnets.columns import sparkline
from jaxnets.config import Experiment
from jaxnets.parallel import Compiled
from jaxnets.types import PyTree

_COLUMNS = 60


class Memory(NamedTuple):
    """Bytes on one device: what the train state holds, what one step takes beside it, and the weights of a teacher."""

    params: int
    optimizer: int
    rest: int
    step: int
    teacher: int = 0


def rehearse(experiment: Experiment) -> str:
    """The text of `jaxnets train --dry-run`: counts, one batch, shapes of the params, memory, the schedule.

    Compiles the step once and runs nothing. Raises what a run would raise before its first step.
    """
    admitted = admit(experiment)
    schema, total = admitted.schema, admitted.total
    epochs = total * experiment.data.batch_size / admitted.train.length
    sections = {
        "data": [f"{schema.source}: " + ", ".join(f"{n} {s}" for s, n in dict(schema.counts).items())],
        "first batch": _batch_lines(batch_at(experiment, admitted.train, 0)),
        "params": _param_lines(admitted.params),
        "memory a device": _memory_lines(memory(admitted)),
        f"learning rate over {total} steps ({epochs:.1f} epochs)": _schedule_lines(experiment, total),
    }
    return "\n".join(line for title, lines in sections.items() for line in (title, *(f"  {one}" for one in lines)))


def memory(admitted: Admitted) -> Memory:
    """Measured by compiling the step for the devices at hand."""
    state, step = admitted.layout.shapes(admitted.shapes), compiled(admitted)
    params, opt_state = map(parallel.bytes_on_one_device, ((state.params, state.frozen), state.opt_state))
    rest, teacher = parallel.bytes_on_one_device(state) - params - opt_state, bytes_of(admitted.teacher)
    return Memory(params, opt_state, rest, step.temporary_bytes, teacher)


def compiled(admitted: Admitted) -> Compiled:
    """One step of the experiment, compiled from shapes for the devices at hand."""
    return parallel.compile_step(**_program(admitted))


def lowered(admitted: Admitted) -> tuple[jax.stages.Lowered, float]:
    """(the program of one step, ready to compile for the devices of its layout, its FLOPs over all of them)."""
    return parallel.lower_and_count(**_program(admitted))


def _program(admitted: Admitted) -> dict[str, Any]:
    """What the room of plans makes one step of."""
    return {
        "step": lambda state, batch, constants: experiment_step(
            state, batch, constants[0], schema=admitted.schema, teacher=constants[1], axis=admitted.layout.axis
        ),
        "batch_of": lambda constants, feed, index: jax.tree.map(lambda leaf: leaf[index], feed),
        "layout": admitted.layout,
        "constants": (jax.tree.map(jnp.asarray, admitted.experiment), admitted.teacher),
        "train_state": admitted.shapes,
        "feed": jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape), leaf.dtype), admitted.batch),
        "length": 1,
    }


def data_bytes(admitted: Admitted) -> int:
    """On one device: the train split where it lives there, else two batches in flight."""
    if data.fits_on_device(admitted.experiment.data, admitted.train):
        return bytes_of(dict(admitted.train.arrays))
    return 2 * bytes_of(admitted.batch) // admitted.layout.batch_devices


def bytes_of(tree: PyTree) -> int:
    """Of all leaves of a tree of arrays or their shapes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _batch_lines(batch: PyTree) -> list[str]:
    lines = []
    parts = [value if isinstance(value, dict) else {name: value} for name, value in batch.items()]
    flat = {name: leaf for part in parts for name, leaf in part.items()}
    for name, leaf in flat.items():
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
        **({"teacher's weights": found.teacher} if found.teacher else {}),
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
