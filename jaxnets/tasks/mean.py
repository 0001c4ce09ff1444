"""The commonest metric: a weighted mean over all that was seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from jaxnets.types import Metric, PyTree


def mean_metric(
    value: Callable[[PyTree, PyTree], Any],
    *,
    finish: Callable[[float], float] = lambda mean: mean,
    larger_is_better: bool = False,
) -> Metric:
    """`finish(Σ w·value / Σ w)`; `value(outputs, targets)` has the shape of the weight.

    >>> error = mean_metric(lambda outputs, targets: jnp.abs(outputs - targets))
    >>> sums = error.update(jnp.array([1.0, 5.0]), jnp.array([0.0, 0.0]), jnp.array([1.0, 0.0]))
    >>> error.result(sums)
    1.0
    """

    def update(outputs: PyTree, targets: PyTree, weight: PyTree, /) -> dict[str, Any]:
        return {"total": jnp.sum(value(outputs, targets) * weight), "weight": jnp.sum(weight)}

    def result(sums: PyTree, /) -> float:
        weight = float(sums["weight"])
        return finish(float(sums["total"]) / weight) if weight else float("nan")

    return Metric(update, result, larger_is_better)
