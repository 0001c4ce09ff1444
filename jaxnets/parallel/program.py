"""The step compiled for a layout, in one of two dispatch forms.

*bare* is one step a call, *block* up to `length` steps a call, in a loop on the device whose trip count is an input, so
that one program serves every cadence and every tail. Lowering needs shapes alone, so that a program can be compiled for
devices that are not there.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from jaxnets.flops import flops
from jaxnets.parallel.layout import Layout, shape_of
from jaxnets.types import PyTree, TrainState

Step = Callable[[TrainState, PyTree, PyTree], tuple[TrainState, PyTree]]
BatchOf = Callable[[PyTree, PyTree, Any], PyTree]


class Compiled(NamedTuple):
    """A step compiled for a layout: `call(train_state, feed, count)` runs `count <= length` steps of a placed feed."""

    call: Callable[[TrainState, PyTree, int], tuple[TrainState, PyTree]]
    length: int
    program: str  # sha256 of what was compiled: equal exactly if the step is the same function of its inputs
    temporary_bytes: int  # on one device, beside the train state, the constants and the feed
    flops: float  # of one step, over all devices (see jaxnets.flops)


def compile_step(
    step: Step,
    batch_of: BatchOf,
    layout: Layout,
    *,
    constants: PyTree,
    train_state: PyTree,
    feed: PyTree,
    length: int,
) -> Compiled:
    """Compiles `step(train_state, batch, constants)`; `batch_of(constants, feed, i)` gives step i's batch.

    `constants` stay on the devices: the experiment's numbers and, if it fits, the data set. The train state is donated;
    of it and of `feed`, rows (steps, batch, ...) that are not placed, only the shapes are used.
    """
    arguments = {"train_state": train_state, "feed": feed, "length": length}
    lowered, step_flops = lower_and_count(step, batch_of, layout, constants=constants, **arguments)
    compiled = lowered.compile()

    @functools.cache
    def on_device(count: int) -> Any:
        return layout.place_whole(np.int32(count))

    @functools.cache
    def placed() -> PyTree:
        return layout.place_whole(constants)

    def call(train_state: TrainState, feed: PyTree, count: int) -> tuple[TrainState, PyTree]:
        result = compiled(train_state, placed(), feed, on_device(count))
        return jax.block_until_ready(result) if layout.awaits else result

    program = hashlib.sha256(lowered.as_text().encode()).hexdigest()
    memory = compiled.memory_analysis()
    return Compiled(call, length, program, int(memory.temp_size_in_bytes) if memory else 0, step_flops)


def lower_and_count(
    step: Step,
    batch_of: BatchOf,
    layout: Layout,
    *,
    constants: PyTree,
    train_state: PyTree,
    feed: PyTree,
    length: int,
) -> tuple[Any, float]:
    """(the `jax.stages.Lowered` that `compile_step` compiles, the FLOPs of one step over all devices), from one trace.

    Arrays and shapes will do, of any devices.
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

    whole = layout.replicated
    state, rows = layout.shapes(train_state), layout.feed_shapes(feed)
    fixed = jax.tree.map(lambda leaf: shape_of(leaf, whole), constants)
    count = jax.ShapeDtypeStruct((), jnp.int32, sharding=whole)
    given = (state, fixed, rows, count)
    with layout.naming():
        if layout.mode == "pmap":
            replicas = _replicas(block, layout)
            return replicas.lower(*given), flops(jax.make_jaxpr(replicas)(*given))
        out = (jax.tree.map(lambda leaf: leaf.sharding, state), whole)
        traced = jax.jit(block, donate_argnums=0, out_shardings=out).trace(*given)
        return traced.lower(), flops(traced.jaxpr)


def _replicas(block: Callable[..., Any], layout: Layout) -> Any:
    """`block` on each device's part of the feed; states and sums are the same on all, and so have no device axis.

    What `jax.pmap` makes is a jit of shard_map over these devices, and its compiled form takes whole arrays. Lowering
    it across processes takes each one's part instead, so there the two are called by their names.
    """
    if jax.process_count() == 1:
        devices = list(layout.mesh.devices.flat)
        arguments: dict[str, Any] = {"in_axes": (None, None, 1, None), "out_axes": None, "donate_argnums": 0}
        return jax.pmap(block, layout.axis, devices=devices, **arguments)
    mesh = jax.sharding.Mesh(layout.mesh.devices.reshape(-1), (layout.axis,))
    whole, divided = PartitionSpec(), PartitionSpec(None, layout.axis)

    def replica(train_state: TrainState, constants: PyTree, feed: PyTree, count: Any) -> tuple[TrainState, PyTree]:
        return block(train_state, constants, jax.tree.map(lambda leaf: leaf[:, 0], feed), count)

    mapped = jax.shard_map(
        replica, mesh=mesh, in_specs=(whole, whole, divided, whole), out_specs=whole, check_vma=False
    )
    return jax.jit(mapped, donate_argnums=0)
