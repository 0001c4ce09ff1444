"""Forecasting: the next steps of time series as values, or as quantiles of what may come.

Symbols: y a value in the user's unit, f its forecast, s the deviation of its series, w its weight (0 where y is not
given), m the mean absolute error of the value one season before, in the train part. Sums run over all of them.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
import optax

from jaxnets.tasks.mean import mean_metric
from jaxnets.types import Array, Batch, Metric, PyTree, Task, experiment_dataclass


@experiment_dataclass
class Forecasting:
    """Config of `forecasting`."""

    loss: Literal["squared", "absolute", "huber"] = "squared"  # of (f - y) / s, where no quantiles are asked for
    quantiles: tuple[float, ...] = ()  # of the values to come, as in 0.1,0.5,0.9; none = one forecast


def forecasting(
    spread: Any,
    naive: Any,
    *,
    loss: Literal["squared", "absolute", "huber"] = "squared",
    quantiles: tuple[Any, ...] = (),
) -> Task:
    """Targets (b h c), NaN where not given; outputs (b h c q) in the same unit, q quantiles or one forecast.

    spread, naive: (S c) s and m of each series, which `inputs["series"]` (b,) numbers; m of 0 counts nothing in mase
    Quantiles τ learn by the pinball loss max(τ·e, (τ-1)·e), e = y - f, Koenker and Bassett, 1978; the forecast is then
    the one nearest to the median. Metrics, in the user's unit: mae, rmse, mase = Σ w·|e|/m / Σ w (Hyndman and Koehler,
    2006); with quantiles crps, twice the mean pinball loss, and coverage, the share between the outermost two.

    Raises ValueError if the quantiles do not grow from above 0 to below 1.
    """
    if not all(a < b for a, b in itertools.pairwise((0.0, *quantiles, 1.0))):
        raise ValueError(f"quantiles {quantiles} are not allowed; let them grow from above 0 to below 1")
    levels = np.asarray(quantiles, np.float32)
    middle = int(np.abs(levels - 0.5).argmin()) if quantiles else 0

    def prepare(batch: Batch, /, *, train: bool, key: Array | None) -> tuple[Any, Any, Any]:
        number, values = batch["inputs"]["series"], batch["targets"]  # b, b h c
        given = jnp.isfinite(values)
        scales = (jnp.asarray(scale, jnp.float32)[number][:, None] for scale in (spread, naive))  # b 1 c
        parts = jnp.broadcast_arrays(jnp.where(given, values, 0.0), *scales)
        return (
            batch["inputs"],
            dict(zip(("value", "spread", "naive"), parts, strict=True)),
            (batch["weight"][:, None, None] * given),
        )

    def losses(outputs: Any, targets: Any, weight: Any, /) -> tuple[Array, Array]:
        if quantiles:
            return 2.0 * pinball(outputs, targets["value"], levels) / targets["spread"], weight
        error = (outputs[..., 0] - targets["value"]) / targets["spread"]  # b h c
        match loss:
            case "squared":
                return jnp.square(error), weight
            case "absolute":
                return jnp.abs(error), weight
        return optax.huber_loss(error), weight

    def absolute(outputs: Any, targets: Any) -> Array:
        return jnp.abs(outputs[..., middle] - targets["value"])

    def square(outputs: Any, targets: Any) -> Array:
        return jnp.square(outputs[..., middle] - targets["value"])

    def predict(outputs: Any, /) -> dict[str, Array]:
        found = {"forecast": outputs[..., middle]}
        return found | {"quantiles": jnp.sort(outputs, axis=-1)} if quantiles else found

    metrics = {
        "mae": mean_metric(absolute),
        "rmse": mean_metric(square, finish=math.sqrt),
        "mase": _scaled(absolute),
    }
    if quantiles:
        metrics["crps"] = mean_metric(lambda outputs, targets: 2.0 * pinball(outputs, targets["value"], levels))
        metrics["coverage"] = mean_metric(_inside)
    return Task(prepare, losses, metrics, predict)


def pinball(outputs: Any, values: Any, levels: Any) -> Array:
    """The mean pinball loss (b h c) of quantiles (b h c q) at levels (q,) of values (b h c).

    >>> float(pinball(jnp.zeros((1, 1, 1, 1)), jnp.full((1, 1, 1), 4.0), jnp.array([0.75]))[0, 0, 0])
    3.0
    """
    error = values[..., None] - outputs
    levels = jnp.asarray(levels)[None, None, None]
    return jnp.maximum(levels * error, (levels - 1.0) * error).mean(axis=-1)


def _inside(outputs: Any, targets: Any) -> Array:
    value = targets["value"]
    return ((value >= outputs.min(axis=-1)) & (value <= outputs.max(axis=-1))).astype(jnp.float32)


def _scaled(error: Any) -> Metric:
    """The mean of errors over those of the naive forecast, where that has any."""

    def update(outputs: PyTree, targets: PyTree, weight: PyTree, /) -> dict[str, Array]:
        naive = targets["naive"]
        weight = jnp.where(naive > 0, weight, 0.0)
        ratio = error(outputs, targets) / jnp.where(naive > 0, naive, 1.0)
        return {"total": (ratio * weight).sum(), "weight": weight.sum()}

    return mean_metric(error)._replace(update=update)
