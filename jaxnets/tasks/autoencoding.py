"""Autoencoding: an example is told again from a few numbers, which so become its embedding.

With noise the inputs are disturbed while training and the undisturbed ones are told (Vincent et al., 2008).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.tasks.mean import mean_metric
from jaxnets.types import Array, Batch, Metric, PyTree, Task, experiment_dataclass, number


@experiment_dataclass
class Autoencoding:
    """Config of `autoencoding`."""

    noise: float | None = number(None)  # deviation of what is added to the inputs in training; they have about 1


def _flat(inputs: Any) -> Array:
    return inputs.reshape(inputs.shape[0], -1).astype(jnp.float32)


def autoencoding(*, noise: Any = None, flat: Callable[[Any], Array] = _flat) -> Task:
    """Outputs are {"embedding": (b d), "reconstruction": (b n)}; targets are `flat(inputs)` (b n), as a model has them.

    Metrics in the scale of preprocessed inputs: mse, mae, and r2, the share of the variance over examples that is told
    again: 1 - Σe² / Σ(x - mean)², summed over all n values. An evaluation keeps the embeddings.
    """

    def prepare(batch: Batch, /, *, train: bool, key: Array | None) -> tuple[Any, Any, Any]:
        inputs = batch["inputs"]
        seen = inputs if noise is None or not train or key is None else _disturbed(key, inputs, noise)
        return seen, flat(inputs), batch["weight"]

    def squares(outputs: Any, targets: Any) -> Array:
        return jnp.square(outputs["reconstruction"] - targets).mean(axis=-1)

    def loss(outputs: Any, targets: Any, weight: Any, /) -> tuple[Array, Array]:
        return squares(outputs, targets), weight

    def kept(outputs: Any, targets: Any, weight: Any, /) -> dict[str, Array]:
        return {"embedding": outputs["embedding"]}

    metrics = {
        "mse": mean_metric(squares),
        "mae": mean_metric(lambda outputs, targets: jnp.abs(outputs["reconstruction"] - targets).mean(axis=-1)),
        "r2": Metric(_moments, _r2, larger_is_better=True),
    }
    return Task(prepare, loss, metrics, lambda outputs, /: dict(outputs), kept)


def _disturbed(key: Array, inputs: PyTree, noise: Any) -> PyTree:
    """Inputs with Gaussian noise on all that is a number; category codes stay as they are."""
    leaves, structure = jax.tree.flatten(inputs)
    keys = jax.random.split(key, len(leaves))
    moved = [
        leaf + noise * jax.random.normal(own, leaf.shape, leaf.dtype) if leaf.dtype.kind == "f" else leaf
        for own, leaf in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, moved)


def _moments(outputs: PyTree, targets: PyTree, weight: PyTree, /) -> dict[str, Array]:
    """Preprocessed values are near 0 and 1, so that no digits cancel."""
    w = weight[:, None]
    return {
        "weight": weight.sum(),
        "errors": (w * jnp.square(outputs["reconstruction"] - targets)).sum(),
        "targets": (w * targets).sum(axis=0),
        "squares": (w * jnp.square(targets)).sum(),
    }


def _r2(sums: PyTree, /) -> float:
    spread = sums["squares"] - np.square(np.asarray(sums["targets"])).sum() / (sums["weight"] or 1.0)
    return float(1.0 - sums["errors"] / spread) if spread > 0 else float("nan")
