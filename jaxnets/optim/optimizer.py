"""The optimizer of a config: its algorithm between clipping and groups, and what is tested after it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxnets import schedules
from jaxnets.optim.algorithms import algorithm
from jaxnets.optim.configs import Optim, ScheduleFreeAdamW
from jaxnets.optim.groups import by_path, is_frozen, scale_groups
from jaxnets.optim.loss_scale import with_loss_scale
from jaxnets.optim.sam import ascend
from jaxnets.types import Array, Optimizer, PyTree


def learning_rate(config: Optim, *, total_steps: int) -> Callable[[Any], Array]:
    """`step -> learning rate`."""
    return lambda step: config.lr * schedules.multiplier(config.schedule, step, total_steps=total_steps)


def from_optax(transformation: optax.GradientTransformation) -> Optimizer:
    """Any optax transformation as an `Optimizer`.

    >>> adam = from_optax(optax.adam(1e-3))
    >>> updates, state = adam.update({"w": jnp.ones(2)}, adam.init({"w": jnp.ones(2)}), {"w": jnp.ones(2)})
    """

    def update(gradients: PyTree, opt_state: PyTree, params: PyTree, /) -> tuple[PyTree, PyTree]:
        return transformation.update(gradients, opt_state, params)

    return Optimizer(transformation.init, update, lambda params, opt_state, average, /: params)


def optimizer(config: Optim, *, total_steps: int) -> Optimizer:
    """The optimizer of a config; every number of it may be traced."""
    rate = learning_rate(config, total_steps=total_steps)
    chain = []
    if config.clip_norm is not None:
        chain.append(optax.clip_by_global_norm(config.clip_norm))
    chain.append(algorithm(config, rate))
    if not isinstance(config, ScheduleFreeAdamW):
        chain += scale_groups(config.groups)
    transformation = optax.chain(*chain)

    def update(gradients: PyTree, opt_state: PyTree, params: PyTree, /) -> tuple[PyTree, PyTree]:
        return transformation.update(gradients, opt_state, params)

    def evaluation_params(params: PyTree, opt_state: PyTree, average: PyTree, /) -> PyTree:
        if config.ema_decay is not None:
            return average
        if isinstance(config, ScheduleFreeAdamW):
            return optax.contrib.schedule_free_eval_params(_schedule_free_state(opt_state), params)
        return params

    frozen = any(group.frozen for group in config.groups)
    plain = Optimizer(
        transformation.init,
        update,
        evaluation_params,
        trainable=(lambda params: by_path(params, lambda path: not is_frozen(config.groups, path))) if frozen else None,
        average=None if config.ema_decay is None else lambda old, new, step: _ema(old, new, step, config.ema_decay),
        perturb=None if config.sam_rho is None else partial(ascend, rho=config.sam_rho),
    )
    return plain if config.loss_scale is None else with_loss_scale(plain, config.loss_scale)


def _ema(average: PyTree, params: PyTree, step: Any, decay: Any) -> PyTree:
    """average + (1 - d)(params - average), with d = min(decay, (1 + step) / (10 + step)) so that it starts quickly."""
    now = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda old, new: old + (1.0 - now).astype(old.dtype) * (new - old), average, params)


def _schedule_free_state(opt_state: PyTree) -> Any:
    kind = optax.contrib.ScheduleFreeState
    found = [
        leaf
        for leaf in jax.tree.leaves(opt_state, is_leaf=lambda leaf: isinstance(leaf, kind))
        if isinstance(leaf, kind)
    ]
    return found[0]
