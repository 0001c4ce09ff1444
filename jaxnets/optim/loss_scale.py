"""Dynamic loss scaling (Micikevicius et al., 2018), for gradients that would vanish in float16.

The loss is multiplied by a scale before its gradient is taken, and the gradient divided by it after. A gradient that is
not finite is left out, whole, and halves the scale; a long row of good ones doubles it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxnets.types import Array, Optimizer, PyTree

FIRST = 2.0**15
_MOST = 2.0**24
_ROW = 2000  # good steps before the scale is doubled


class Scaled(NamedTuple):
    """State of an optimizer with a loss scale."""

    scale: Array
    good: Array  # steps since the scale last moved
    inner: PyTree


def with_loss_scale(optimizer: Optimizer, first: Any) -> Optimizer:
    """The optimizer with a loss scale that begins at `first`.

    A gradient that is not finite moves nothing but the scale, which is 1 at least.

    >>> from jaxnets.optim import from_optax
    >>> import optax
    >>> scaled = with_loss_scale(from_optax(optax.sgd(1.0)), 8.0)
    >>> updates, state = scaled.update({"w": jnp.array([jnp.inf])}, scaled.init({"w": jnp.ones(1)}), {"w": jnp.ones(1)})
    >>> float(updates["w"][0]), float(state.scale)
    (0.0, 4.0)
    """

    def init(params: PyTree, /) -> Scaled:
        return Scaled(jnp.asarray(first, jnp.float32), jnp.zeros((), jnp.int32), optimizer.init(params))

    def update(gradients: PyTree, opt_state: Scaled, params: PyTree, /) -> tuple[PyTree, Scaled]:
        finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients)]).all()
        safe = jax.tree.map(lambda leaf: jnp.where(finite, leaf, jnp.zeros_like(leaf)), gradients)
        updates, inner = optimizer.update(safe, opt_state.inner, params)
        updates = jax.tree.map(lambda leaf: jnp.where(finite, leaf, jnp.zeros_like(leaf)), updates)
        inner = jax.tree.map(lambda new, old: jnp.where(finite, new, old), inner, opt_state.inner)
        return updates, _moved(opt_state, finite)._replace(inner=inner)

    def evaluation_params(params: PyTree, opt_state: Scaled, average: PyTree, /) -> PyTree:
        return optimizer.evaluation_params(params, opt_state.inner, average)

    return optimizer._replace(
        init=init, update=update, evaluation_params=evaluation_params, loss_scale=lambda opt_state: opt_state.scale
    )


def _moved(state: Scaled, finite: Array) -> Scaled:
    good = jnp.where(finite, state.good + 1, 0)
    grows = good >= _ROW
    scale = jnp.where(finite, jnp.where(grows, 2 * state.scale, state.scale), state.scale / 2)
    return state._replace(scale=jnp.clip(scale, 1.0, _MOST), good=jnp.where(grows, 0, good))
