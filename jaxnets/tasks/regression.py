"""Regression: one or many real targets, standardised inside, read in the user's unit."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax

from jaxnets.types import Array, Batch, Metric, PyTree, Task, experiment_dataclass


@experiment_dataclass
class Regression:
    """Config of `regression`."""

    loss: Literal["squared", "absolute", "huber"] = "squared"
    transform: Literal["log"] | None = None  # of targets above 0, before they are standardised


def regression(
    target_mean: tuple[float, ...],
    target_std: tuple[float, ...],
    *,
    loss: Literal["squared", "absolute", "huber"] = "squared",
    transform: Literal["log"] | None = None,
) -> Task:
    """Targets (b k) in the user's unit; outputs (b k) in standard deviations; the loss is the mean over targets.

    With `transform` "log" outputs and loss are those of log(target), so that errors count relative to the target.

    Metrics in the user's unit, averaged over the k targets: rmse, mae, and r2 = 1 - Σw·e² / Σw·(t - mean)².
    """
    kind = loss
    mean, std = np.asarray(target_mean, np.float32)[None], np.asarray(target_std, np.float32)[None]
    scale = _Scale(mean, std) if transform is None else _log_scale(target_mean, target_std)

    def prepare(batch: Batch, /, *, train: bool, key: Array | None) -> tuple[Any, Any, Any]:
        targets = batch["targets"].astype(jnp.float32).reshape(batch["targets"].shape[0], -1)
        targets = targets if transform is None else jnp.log(targets)
        return batch["inputs"], (targets - scale.mean) / scale.std, batch["weight"]

    def losses(outputs: Any, targets: Any, weight: Any, /) -> tuple[Array, Array]:
        error = outputs - targets  # b k
        match kind:
            case "squared":
                each = jnp.square(error)
            case "absolute":
                each = jnp.abs(error)
            case "huber":
                each = optax.huber_loss(outputs, targets)
        return each.mean(axis=-1), weight

    def value(outputs: Any) -> Array:
        own = outputs * scale.std + scale.mean
        return own if transform is None else jnp.exp(own)

    def moments(outputs: PyTree, targets: PyTree, weight: PyTree, /) -> dict[str, Array]:
        if transform is not None:
            outputs, targets = ((value(x) - mean) / std for x in (outputs, targets))
        return _moments(outputs, targets, weight)

    def metric(finish: Any, *, larger_is_better: bool = False) -> Metric:
        return Metric(moments, lambda sums: float(finish(sums)), larger_is_better)

    def predict(outputs: Any, /) -> dict[str, Array]:
        return {"value": value(outputs)}

    unit = np.asarray(target_std, np.float64)
    metrics = {
        "rmse": metric(lambda s: (np.sqrt(np.asarray(s["squares"]) / s["weight"]) * unit).mean()),
        "mae": metric(lambda s: (np.asarray(s["absolutes"]) / s["weight"] * unit).mean()),
        "r2": metric(_r2, larger_is_better=True),
    }
    return Task(prepare, losses, metrics, predict)


class _Scale(NamedTuple):
    """Mean and standard deviation of (transformed) targets, (1 k) each."""

    mean: Any
    std: Any


def _log_scale(target_mean: tuple[float, ...], target_std: tuple[float, ...]) -> _Scale:
    """Of log(target), as if targets were log-normal: σ² = log(1 + s²/m²) and μ = log m - σ²/2."""
    m, s = np.asarray(target_mean, np.float64)[None], np.asarray(target_std, np.float64)[None]
    variance = np.log1p((s / m) ** 2)
    return _Scale((np.log(m) - variance / 2).astype(np.float32), np.sqrt(variance).astype(np.float32))


def _moments(outputs: PyTree, targets: PyTree, weight: PyTree, /) -> dict[str, Array]:
    """Sums of standardised targets: near 0 and 1, so that no digits cancel."""
    w = weight[:, None]
    error = outputs - targets
    return {
        "weight": weight.sum(),
        "squares": (w * jnp.square(error)).sum(axis=0),
        "absolutes": (w * jnp.abs(error)).sum(axis=0),
        "targets": (w * targets).sum(axis=0),
        "target_squares": (w * jnp.square(targets)).sum(axis=0),
    }


def _r2(sums: PyTree) -> np.floating:
    spread = np.asarray(sums["target_squares"]) - np.square(np.asarray(sums["targets"])) / sums["weight"]
    return (1.0 - np.asarray(sums["squares"]) / np.where(spread > 0, spread, np.nan)).mean()
