"""What a layer's norm decides: NovoGrad's second moment and LAMB's trust ratio, each layer of a stack on its own."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnets.optim.groups import is_stacked
from jaxnets.types import Array, PyTree


class LayerNormState(NamedTuple):
    """Updates seen, and the moving average of each layer's squared norm, of a shape that broadcasts."""

    count: Array
    squares: PyTree


def scale_by_layer_norm(b2: Any, eps: Any) -> optax.GradientTransformation:
    """g / (√v + eps), v ← b2·v + (1 - b2)·‖g‖², from v = ‖g‖² at the first step; norms over one layer each."""

    def init(params: PyTree) -> LayerNormState:
        zeros = jax.tree_util.tree_map_with_path(lambda path, leaf: jnp.zeros_like(_square(path, leaf)), params)
        return LayerNormState(jnp.zeros((), jnp.int32), zeros)

    def update(updates: PyTree, state: PyTree, params: PyTree = None) -> tuple[PyTree, PyTree]:
        keep = jnp.where(state.count == 0, 0.0, b2)
        now = jax.tree_util.tree_map_with_path(_square, updates)
        squares = jax.tree.map(lambda old, new: keep * old + (1 - keep) * new, state.squares, now)
        scaled = jax.tree.map(lambda g, v: g / (jnp.sqrt(v) + eps), updates, squares)
        return scaled, LayerNormState(state.count + 1, squares)

    return optax.GradientTransformation(init, update)


def scale_by_trust_ratio() -> optax.GradientTransformation:
    """u · ‖p‖ / ‖u‖ over one layer each, or u where either norm is 0 (You et al., 2019)."""

    def update(updates: PyTree, state: PyTree, params: PyTree = None) -> tuple[PyTree, PyTree]:
        def scale(path: Any, u: Array, p: Array) -> Array:
            update, param = jnp.sqrt(_square(path, u)), jnp.sqrt(_square(path, p))
            zero = (update == 0) | (param == 0)
            return u * jnp.where(zero, 1.0, param / jnp.where(zero, 1.0, update)).astype(u.dtype)

        return jax.tree_util.tree_map_with_path(scale, updates, params), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def _square(path: Any, leaf: Array) -> Array:
    across = tuple(range(is_stacked(path), leaf.ndim))
    return jnp.square(leaf.astype(jnp.float32)).sum(axis=across, keepdims=True)
