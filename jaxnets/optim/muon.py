"""Muon (Jordan, 2024): momentum made near-orthogonal for matrices, AdamW for all else."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxnets.optim.configs import Muon
from jaxnets.optim.groups import is_stacked, path_of
from jaxnets.types import Array, PyTree


def muon(config: Muon, rate: Any, decay: list[Any]) -> optax.GradientTransformation:
    """Orthogonalised momentum for matrices, Adam at `adam_lr` for the rest; `decay` in both."""
    share = jnp.asarray(config.adam_lr) / config.lr
    matrices = optax.chain(_orthogonal_momentum(config.beta), *decay, optax.scale_by_learning_rate(rate))
    rest = optax.chain(
        optax.scale_by_adam(0.9, 0.95), *decay, optax.scale_by_learning_rate(lambda step: rate(step) * share)
    )

    def labels(params: PyTree) -> PyTree:
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: "matrix" if _is_matrix(path, leaf) else "rest", params
        )

    return optax.partition({"matrix": matrices, "rest": rest}, labels)


def _is_matrix(path: Any, leaf: Any) -> bool:
    name = path_of(path)
    return name.endswith("kernel") and leaf.ndim == 2 + is_stacked(path) and "head" not in name.split("/")


def _orthogonal_momentum(beta: Any) -> optax.GradientTransformation:
    """Nesterov momentum, made near-orthogonal by five Newton–Schulz steps, scaled by √max(1, out / in)."""

    def orthogonal(matrix: Array) -> Array:
        a, b, c = 3.4445, -4.7750, 2.0315
        x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
        x = x / (jnp.linalg.norm(x) + 1e-7)
        for _ in range(5):
            gram = x @ x.T
            x = a * x + (b * gram + c * gram @ gram) @ x
        x = x.T if matrix.shape[0] > matrix.shape[1] else x
        return x * max(1.0, matrix.shape[1] / matrix.shape[0]) ** 0.5

    def update(updates: PyTree, state: PyTree, params: PyTree = None) -> tuple[PyTree, PyTree]:
        moment = jax.tree.map(lambda m, g: beta * m + (1 - beta) * g, state, updates)
        ahead = jax.tree.map(lambda m, g: beta * m + (1 - beta) * g, moment, updates)
        updates = jax.tree.map(lambda leaf: jax.vmap(orthogonal)(leaf) if leaf.ndim == 3 else orthogonal(leaf), ahead)
        return updates, moment

    return optax.GradientTransformation(lambda params: jax.tree.map(jnp.zeros_like, params), update)
