"""Prodigy (Mishchenko and Defazio, 2023): optax's, with weight decay by group and params of its own to start from."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxnets.optim.configs import Prodigy
from jaxnets.schedules import OneCycle
from jaxnets.types import PyTree


def prodigy(config: Prodigy, rate: Any, decay: list[optax.GradientTransformation]) -> optax.GradientTransformation:
    """Adam's update at d·rate, where d is the estimate; decay × param is multiplied by the same step size."""
    inner = optax.contrib.prodigy(
        rate,
        betas=(config.b1, config.b2),
        eps=config.eps,
        estim_lr0=config.initial_estimate,
        safeguard_warmup=_warms_up(config),
    )
    pull = optax.chain(optax.identity(), *decay)

    def init(params: PyTree) -> PyTree:
        # The state keeps the first params: never the same buffers, since a train state is donated.
        return inner.init(jax.tree.map(jnp.copy, params)), pull.init(params)

    def update(updates: PyTree, state: PyTree, params: PyTree = None) -> tuple[PyTree, PyTree]:
        own, rest = state
        updates, new = inner.update(updates, own, params)
        if decay:
            count = own.count + 1
            size = own.estim_lr * rate(own.count) * jnp.sqrt(1 - config.b2**count) / (1 - config.b1**count)
            pulls, rest = pull.update(jax.tree.map(jnp.zeros_like, params), rest, params)
            updates = jax.tree.map(lambda u, p: u - size * p, updates, pulls)
        return updates, (new, rest)

    return optax.GradientTransformation(init, update)


def _warms_up(config: Prodigy) -> bool:
    return isinstance(config.schedule, OneCycle) or config.schedule.warmup_steps is not None
