"""Sharpness-aware minimisation (Foret et al., 2020): the gradient is taken where the loss nearby is worst."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxnets.types import PyTree


def ascend(params: PyTree, gradients: PyTree, *, rho: Any) -> PyTree:
    """params + rho · g / ‖g‖, with one norm over all leaves; the scale of `gradients` does not matter.

    >>> ascend({"w": jnp.array([1.0, 1.0])}, {"w": jnp.array([0.0, 5.0])}, rho=0.5)["w"].tolist()
    [1.0, 1.5]
    """
    norm = optax.global_norm(gradients)
    share = rho / jnp.where(norm == 0, 1, norm)
    return jax.tree.map(lambda p, g: p + (share * g).astype(p.dtype), params, gradients)
