"""The plan: which devices a step runs on, and the step compiled for them.

Models, tasks and steps never ask how many devices there are; only this file does. A step is compiled in one of two
dispatch forms: *bare* (one step a call) or *block* (up to `length` steps a call, in a loop on the device whose trip
count is an input, so that one program serves every cadence and every tail).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxnets.errors import ConfigError
from jaxnets.types import PyTree, TrainState, experiment_dataclass


@experiment_dataclass
class Plan:
    """Data parallel over `data` devices; the global batch is divided evenly among them."""

    data: int = -1  # devices; -1 = all there are


class Layout(NamedTuple):
    """A mesh and the two shardings that data parallelism needs."""

    mesh: Mesh
    replicated: NamedSharding
    batches: NamedSharding  # (steps, batch, ...): the batch axis is divided
    awaits: bool  # each call must be awaited: virtual CPU devices abort otherwise (jax < 0.12, collectives in flight)


def layout(plan: Plan) -> Layout:
    """The devices of a plan; starts the backend."""
    devices = jax.devices()
    count = len(devices) if plan.data == -1 else plan.data
    if count > len(devices):
        raise ConfigError(f"plan.data {count} is more than the {len(devices)} devices at hand; use -1 for all of them")
    mesh = Mesh(np.array(devices[:count]), ("data",), axis_types=(AxisType.Auto,))
    awaits = count > 1 and devices[0].platform == "cpu"
    spec = PartitionSpec(None, "data")
    return Layout(mesh, NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, spec), awaits)


def check_batch(layout: Layout, batch_size: int) -> None:
    """Refuses a batch that does not divide over the devices, naming the nearest sizes that do."""
    devices = layout.mesh.size
    if batch_size % devices:
        lower, upper = batch_size // devices * devices, -(-batch_size // devices) * devices
        near = f"{lower} or {upper}" if lower else f"{upper}"
        raise ConfigError(f"data.batch_size {batch_size} does not divide over {devices} devices; use {near}")


def replicate(layout: Layout, tree: PyTree) -> PyTree:
    """A copy of `tree` on every device; never an alias, since what is donated later must not delete the source."""
    return jax.tree.map(lambda leaf: jax.device_put(jnp.array(leaf, copy=True), layout.replicated), tree)


class Compiled(NamedTuple):
    """A step compiled for a layout: `call(train_state, feed, count)` runs `count <= length` steps of a feed."""

    call: Callable[[TrainState, PyTree, int], tuple[TrainState, PyTree]]
    length: int
    program: str  # sha256 of what was compiled: equal exactly if the step is the same function of its inputs
    temporary_bytes: int  # on one device, beside the train state, the constants and the feed
    flops: float  # of one step, over all devices, as XLA counts the lowered program; 0 where it does not


def compile_step(
    step: Callable[[TrainState, PyTree, PyTree], tuple[TrainState, PyTree]],
    batch_of: Callable[[PyTree, PyTree, Any], PyTree],
    layout: Layout,
    *,
    constants: PyTree,
    train_state: PyTree,
    feed: PyTree,
    length: int,
) -> Compiled:
    """Compiles `step(train_state, batch, constants)` for `feed`; `batch_of(constants, feed, i)` gives step i's batch.

    `constants` stay on the devices: the experiment's numbers and, if it fits, the data set. The train state is donated.
    """

    def block(train_state: TrainState, constants: PyTree, feed: PyTree, count: Any) -> tuple[TrainState, PyTree]:
        def one(state: TrainState, index: Any) -> tuple[TrainState, PyTree]:
            return step(state, batch_of(constants, feed, index), constants)

        if length == 1:
            train_state, sums = one(train_state, 0)
            return train_state, jax.tree.map(lambda leaf: leaf[None], sums)
        shapes = jax.eval_shape(one, train_state, 0)[1]
        rows = jax.tree.map(lambda leaf: jnp.zeros((length, *leaf.shape), leaf.dtype), shapes)

        def body(index: Any, carry: Any) -> Any:
            state, rows = carry
            state, sums = one(state, index)
            return state, jax.tree.map(lambda row, value: row.at[index].set(value), rows, sums)

        return jax.lax.fori_loop(0, count, body, (train_state, rows))

    lowered = jax.jit(block, donate_argnums=0, out_shardings=layout.replicated).lower(
        train_state, constants, feed, jax.ShapeDtypeStruct((), jnp.int32)
    )
    compiled = lowered.compile()

    @functools.cache
    def on_device(count: int) -> Any:
        return jax.device_put(np.int32(count), layout.replicated)

    def call(train_state: TrainState, feed: PyTree, count: int) -> tuple[TrainState, PyTree]:
        result = compiled(train_state, constants, feed, on_device(count))
        return jax.block_until_ready(result) if layout.awaits else result

    program = hashlib.sha256(lowered.as_text().encode()).hexdigest()
    memory = compiled.memory_analysis()
    return Compiled(call, length, program, int(memory.temp_size_in_bytes) if memory else 0, _flops(lowered))


def _flops(lowered: Any) -> float:
    """Of one step: a loop whose trip count is an input is counted as one trip."""
    cost = lowered.cost_analysis()
    return float((cost or {}).get("flops", 0.0))
