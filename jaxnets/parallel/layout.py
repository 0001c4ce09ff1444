"""A plan on real devices, or on those of a topology that nobody has yet: where arrays live, and how they get there.

Everything outside sees whole, global arrays. In mode pmap only a feed has the axis of devices beside that of its batch,
from `place_feed` to the compiled step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxnets.axes import Axis, Divided, placed_by, traced_for
from jaxnets.errors import ConfigError
from jaxnets.parallel.plan import AXES, Plan, sizes
from jaxnets.parallel.sharding import state_shardings
from jaxnets.types import PyTree, TrainState

_BATCH = ("data", "fsdp")  # the axes of the mesh over which every batch is divided


@dataclass(frozen=True)
class Layout:
    """A mesh, and on it the sharding of everything that a step takes and gives.

    rules:  how tensor parallelism divides the params of this model
    mode:   "jit" or "pmap"
    awaits: each call must be awaited: virtual CPU devices abort otherwise (jax < 0.12, collectives in flight)
    """

    mesh: Mesh
    rules: tuple[Divided, ...] = ()
    mode: str = "jit"
    awaits: bool = False

    @property
    def devices(self) -> int:
        """How many there are in all."""
        return self.mesh.size

    @property
    def batch_devices(self) -> int:
        """Over how many of them a batch is divided."""
        return self.mesh.shape["data"] * self.mesh.shape["fsdp"]

    @property
    def axis(self) -> str | None:
        """The device axis that batch norm and sums must know of: only in mode pmap."""
        return "replicas" if self.mode == "pmap" else None

    @property
    def replicated(self) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec())

    @property
    def batch(self) -> NamedSharding:
        """Of arrays (batch, ...)."""
        return NamedSharding(self.mesh, PartitionSpec(_BATCH))

    @property
    def feed(self) -> NamedSharding:
        """Of arrays (steps, batch, ...); in mode pmap (steps, replicas, batch / replicas, ...)."""
        return NamedSharding(self.mesh, PartitionSpec(None, _BATCH))

    def state(self, shapes: TrainState) -> TrainState:
        """The sharding of each leaf of a train state."""
        return state_shardings(self.mesh, self.rules, shapes)

    def shapes(self, shapes: TrainState) -> TrainState:
        """A train state's shapes, each with its sharding: what restoring and compiling need."""
        return jax.tree.map(shape_of, shapes, self.state(shapes))

    def feed_shapes(self, rows: PyTree) -> PyTree:
        """What `place_feed` makes of rows (steps, batch, ...), as shapes."""
        return jax.tree.map(lambda leaf: shape_of(leaf, self.feed, self._feed_shape(leaf.shape)), rows)

    def place_state(self, state: TrainState) -> TrainState:
        """A train state in its shardings, from arrays of the host or of devices; never an alias of them."""
        return jax.tree.map(place, state, self.state(state))

    def place_feed(self, rows: PyTree) -> PyTree:
        """Rows (steps, batch, ...) of the host, each device's share on it."""
        return jax.tree.map(
            lambda leaf: _to_devices(np.reshape(leaf, self._feed_shape(np.shape(leaf))), self.feed), rows
        )

    def place_batch(self, batch: PyTree) -> PyTree:
        """Arrays (batch, ...) of the host, each device's share on it."""
        return jax.tree.map(lambda leaf: _to_devices(leaf, self.batch), batch)

    def place_whole(self, tree: PyTree) -> PyTree:
        """All of a tree on every device: numbers, a data set that fits, a teacher."""
        return jax.tree.map(lambda leaf: _to_devices(leaf, self.replicated), tree)

    def copy(self, tree: PyTree) -> PyTree:
        """The same arrays again in the same shardings, so that one of the two may be donated."""
        kept = jax.tree.map(lambda leaf: leaf.sharding, tree)
        return jax.jit(lambda tree: jax.tree.map(jnp.copy, tree), out_shardings=kept)(tree)

    def own_rows(self, batch_size: int) -> slice:
        """Which examples of a global batch lie on the devices of this process: they stand side by side."""
        places = self.batch.addressable_devices_indices_map((batch_size,)).values()
        bounds = [place[0].indices(batch_size) for place in places if place is not None]
        return slice(min(start for start, _, _ in bounds), max(stop for _, stop, _ in bounds))

    def place_own_feed(self, rows: PyTree, batch_size: int) -> PyTree:
        """As `place_feed`, from this process's rows (steps, own examples, ...) of batches of `batch_size`."""

        if jax.process_count() == 1:
            return self.place_feed(rows)

        def one(leaf: Any) -> jax.Array:
            shape = self._feed_shape((leaf.shape[0], batch_size, *leaf.shape[2:]))
            if self.mode == "pmap":
                leaf = leaf.reshape(leaf.shape[0], -1, *shape[2:])
            return jax.make_array_from_process_local_data(self.feed, leaf, shape)

        return jax.tree.map(one, rows)

    def place_own_batch(self, batch: PyTree, batch_size: int) -> PyTree:
        """As `place_batch`, from this process's rows (own examples, ...) of a batch of `batch_size`."""
        if jax.process_count() == 1:
            return self.place_batch(batch)
        return jax.tree.map(
            lambda leaf: jax.make_array_from_process_local_data(self.batch, leaf, (batch_size, *leaf.shape[1:])), batch
        )

    def to_host(self, tree: PyTree) -> PyTree:
        """A tree of arrays as every process can read them, whole: as they are, or gathered leaf by leaf."""
        if jax.process_count() == 1:
            return tree
        whole = jax.jit(lambda leaf: leaf, out_shardings=self.replicated)
        return jax.tree.map(lambda leaf: np.asarray(whole(leaf)), tree)

    @contextlib.contextmanager
    def naming(self) -> Iterator[None]:
        """While something is traced within: it is for these devices, and the axes that models name lie on them."""
        placed = contextlib.nullcontext() if self.mode == "pmap" or self.devices == 1 else placed_by(self._constrained)
        with traced_for(self.mesh.devices.flat[0].platform), placed:
            yield

    def _constrained(self, x: Any, axes: tuple[Axis, ...]) -> Any:
        if self.mesh.shape["tensor"] == 1:
            axes = tuple(axis if axis == "batch" else None for axis in axes)
        places = [_BATCH if axis == "batch" else axis and "tensor" for axis in axes]
        return jax.lax.with_sharding_constraint(x, NamedSharding(self.mesh, PartitionSpec(*places)))

    def _feed_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if self.mode != "pmap":
            return shape
        return (shape[0], self.devices, shape[1] // self.devices, *shape[2:])


def layout(plan: Plan, *, rules: Sequence[Divided] = (), devices: Sequence[Any] | None = None) -> Layout:
    """A plan on `devices`, of a topology or real; default: all there are, which starts the backend.

    Raises ConfigError if the axes do not fit their number.
    """
    found = list(jax.devices() if devices is None else devices)
    shape = sizes(plan, len(found))
    count = int(np.prod(shape))
    if len({device.process_index for device in found}) > 1 and count < len(found):
        raise ConfigError(
            f"the plan uses {count} of {len(found)} devices, but each process must have a part; use all of them: "
            "--plan.data -1"
        )
    mesh = Mesh(np.array(found[:count]).reshape(shape), AXES, axis_types=(AxisType.Auto,) * len(AXES))
    return Layout(mesh, tuple(rules), plan.mode, awaits=count > 1 and found[0].platform == "cpu")


def shape_of(leaf: Any, sharding: Any, shape: tuple[int, ...] | None = None) -> jax.ShapeDtypeStruct:
    """An array's shape and dtype with another sharding; a number that follows others' dtypes goes on to do so."""
    weak = bool(getattr(leaf, "weak_type", False))
    return jax.ShapeDtypeStruct(leaf.shape if shape is None else shape, leaf.dtype, sharding=sharding, weak_type=weak)


def place(leaf: Any, sharding: NamedSharding) -> jax.Array:
    """An array in a sharding, never an alias of `leaf`: what is donated later must not delete or change the source."""
    if isinstance(leaf, jax.Array):
        return jax.device_put(leaf, sharding, may_alias=False)
    return jax.make_array_from_callback(
        np.shape(leaf), sharding, lambda index: np.array(np.asarray(leaf)[index], copy=True)
    )


def _to_devices(leaf: Any, sharding: NamedSharding) -> jax.Array:
    if jax.process_count() == 1:
        return jax.device_put(leaf, sharding)
    return jax.make_array_from_callback(np.shape(leaf), sharding, lambda index: np.asarray(leaf)[index])
