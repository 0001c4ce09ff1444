"""Where each leaf of a train state lives, from its path and shape alone: shapes first, then shardings, then data.

fsdp divides a leaf of params, optimizer state or average along its largest axis that divides; the axis that counts
stacked layers is left whole, since a layer is gathered when its turn comes. tensor divides what a model's rules name,
and the optimizer state that mirrors it. Counters, keys and batch statistics are on every device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxnets.axes import Divided
from jaxnets.optim import is_stacked, path_of
from jaxnets.types import PyTree, TrainState

Path = tuple[str, ...]


def spec_of(
    path: str, shape: tuple[int, ...], *, fsdp: int, tensor: int = 1, rules: Sequence[Divided] = ()
) -> PartitionSpec:
    """How one leaf is divided.

    >>> rules = (Divided("mlp/in/kernel", -1, "mlp_width"),)
    >>> tuple(spec_of("blocks/layer/mlp/in/kernel", (12, 768, 3072), fsdp=4, tensor=2, rules=rules))
    (None, 'fsdp', 'tensor')
    >>> tuple(spec_of("head/kernel", (512, 10), fsdp=4)), tuple(spec_of("head/bias", (10,), fsdp=4))
    (('fsdp', None), (None,))
    """
    axes: list[str | None] = [None] * len(shape)
    if tensor > 1:
        for rule in rules:
            if f"/{path}".endswith(f"/{rule.path}") and len(shape) >= -rule.axis:
                axes[rule.axis] = "tensor"
                break
    first = 1 if is_stacked(tuple(path.split("/"))) else 0
    free = [i for i in range(first, len(shape)) if axes[i] is None and shape[i] and shape[i] % fsdp == 0]
    if fsdp > 1 and free:
        axes[max(free, key=lambda i: shape[i])] = "fsdp"
    return PartitionSpec(*axes)


def state_shardings(mesh: Mesh, rules: Sequence[Divided], state: TrainState) -> TrainState:
    """The sharding of each leaf of a train state, given as arrays or shapes."""
    fsdp, tensor = mesh.shape["fsdp"], mesh.shape["tensor"]
    whole = NamedSharding(mesh, PartitionSpec())
    params: dict[Path, tuple[tuple[int, ...], PartitionSpec]] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path((state.params, state.frozen)):
        name = path_of(path[1:])
        spec = spec_of(name, leaf.shape, fsdp=fsdp, tensor=tensor, rules=rules)
        params[tuple(name.split("/"))] = (leaf.shape, spec)

    def mirrored(path: Any, leaf: Any) -> NamedSharding:
        """As the param of the same name and shape; what has another shape (a factor, a counter) by fsdp alone."""
        keys = tuple(path_of(path).split("/"))
        for start in range(len(keys)):
            shape, spec = params.get(keys[start:], (None, None))
            if spec is not None and shape == leaf.shape:
                return NamedSharding(mesh, spec)
        return NamedSharding(mesh, spec_of("/".join(keys), leaf.shape, fsdp=fsdp))

    def divided(tree: PyTree) -> PyTree:
        return jax.tree_util.tree_map_with_path(mirrored, tree)

    def everywhere(tree: PyTree) -> PyTree:
        return jax.tree.map(lambda _: whole, tree)

    return TrainState(
        step=whole,  # pyright: ignore[reportArgumentType]
        key=whole,  # pyright: ignore[reportArgumentType]
        params=divided(state.params),
        frozen=divided(state.frozen),
        state=everywhere(state.state),
        opt_state=divided(state.opt_state),
        average=divided(state.average),
    )


def bytes_on_one_device(shapes: PyTree) -> int:
    """Of a tree of arrays or shapes that carry their sharding; without one a leaf is whole."""
    total = 0
    for leaf in jax.tree.leaves(shapes):
        sharding = getattr(leaf, "sharding", None)
        shape = leaf.shape if sharding is None else sharding.shard_shape(leaf.shape)
        total += math.prod(shape) * leaf.dtype.itemsize
    return total
