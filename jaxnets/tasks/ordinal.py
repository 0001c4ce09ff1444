"""Ordinal classification: classes in order, told by thresholds that a latent value passes (McCullagh, 1980).

Of c classes a model gives o_0 … o_{c-2}. The logit that the class is above k is l_k = o_0 - Σ_{1≤j≤k} softplus(o_j),
which falls with k, so that no threshold contradicts another. Departure from the paper: the distances between thresholds
are outputs like the rest, and so may depend on the example. Since 1 - exp(-softplus(o)) = σ(o),

    log p(k) = log σ(l_{k-1}) + log σ(-l_k) + log σ(o_k)

where a term with an index that is not there is left out (the third needs k from 1 to c - 2).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.tasks.counts import balanced_accuracy, count_metric
from jaxnets.tasks.mean import mean_metric
from jaxnets.types import Array, Batch, Metric, PyTree, Task, experiment_dataclass


@experiment_dataclass
class Ordinal:
    """Config of `ordinal`. The order is that of the classes of the data; of a table, `data.columns.classes` says it."""


def ordinal(num_classes: int) -> Task:
    """One of `num_classes` in order: targets are integers (b,) or probabilities (b c); outputs are (b c-1).

    The class that is predicted is the median: as many thresholds as are more likely passed than not. Metrics: accuracy,
    nll, balanced_accuracy, mae (in classes), kappa (quadratically weighted; Cohen, 1968).

    >>> task = ordinal(3)
    >>> losses, _ = task.loss(jnp.array([[0.0, 50.0]]), jnp.array([1]), jnp.ones(1))
    >>> round(float(jnp.exp(-losses[0])), 4)
    0.5
    """

    def prepare(batch: Batch, /, *, train: bool, key: Array | None) -> tuple[Any, Any, Any]:
        return batch["inputs"], batch["targets"], batch["weight"]

    def nll(outputs: Any, targets: Any) -> Array:
        shares = jax.nn.one_hot(targets, num_classes) if targets.ndim == 1 else targets
        return -(shares * log_probabilities(outputs)).sum(axis=-1)

    def right(outputs: Any, targets: Any) -> Array:
        return (_median(outputs) == _number(targets)).astype(jnp.float32)

    def steps(outputs: Any, targets: Any) -> Array:
        return jnp.abs(_median(outputs) - _number(targets)).astype(jnp.float32)

    metrics = {
        "accuracy": mean_metric(right, larger_is_better=True),
        "nll": mean_metric(nll),
        "balanced_accuracy": count_metric(
            lambda outputs, targets: (_number(targets), _median(outputs)), balanced_accuracy, num_classes=num_classes
        ),
        "mae": mean_metric(steps),
        "kappa": Metric(_squares, _kappa, larger_is_better=True),
    }
    return Task(prepare, lambda outputs, targets, weight, /: (nll(outputs, targets), weight), metrics, _predict)


def log_probabilities(outputs: Array) -> Array:
    """(b c) of outputs (b c-1), exact where a probability is too small for float32.

    >>> jnp.exp(log_probabilities(jnp.zeros((1, 1)))).tolist()
    [[0.5, 0.5]]
    """
    logits = _above(outputs)
    none = jnp.zeros_like(outputs[:, :1])
    passed = jnp.concatenate([none, jax.nn.log_sigmoid(logits)], axis=-1)
    stays = jnp.concatenate([jax.nn.log_sigmoid(-logits), none], axis=-1)
    between = jnp.concatenate([none, jax.nn.log_sigmoid(outputs[:, 1:]), none], axis=-1)
    return passed + stays + between


def _above(outputs: Array) -> Array:
    """Logits (b c-1) that the class is above 0, 1 …"""
    return outputs[:, :1] - jnp.cumsum(jax.nn.softplus(outputs).at[:, 0].set(0.0), axis=-1)


def _median(outputs: Array) -> Array:
    return (_above(outputs) > 0).sum(axis=-1)


def _number(targets: Array) -> Array:
    return targets if targets.ndim == 1 else targets.argmax(axis=-1)


def _predict(outputs: Any, /) -> dict[str, Array]:
    return {"probabilities": jnp.exp(log_probabilities(outputs)), "class": _median(outputs)}


def _squares(outputs: PyTree, targets: PyTree, weight: PyTree, /) -> dict[str, Array]:
    found, true = (x.astype(jnp.float32) for x in (_median(outputs), _number(targets)))
    values = {"apart": jnp.square(found - true), "found": found, "true": true}
    values |= {"found_squares": jnp.square(found), "true_squares": jnp.square(true), "weight": jnp.ones_like(found)}
    return {name: (weight * value).sum() for name, value in values.items()}


def _kappa(sums: PyTree, /) -> float:
    """1 - Σw·(t - f)² / what it would be if t and f were independent."""
    s = {name: float(np.asarray(value)) for name, value in sums.items()}
    if not s["weight"]:
        return float("nan")
    chance = s["true_squares"] + s["found_squares"] - 2 * s["true"] * s["found"] / s["weight"]
    return 1.0 - s["apart"] / chance if chance else float("nan")
