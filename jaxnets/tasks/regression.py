"""Regression: one or many real targets, standardised inside, read in the user's unit."""

from __future__ import annotations

from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
import optax

from jaxnets.types import Array, Batch, Metric, PyTree, Task, experiment_dataclass


@experiment_dataclass
class Regression:
    """Config of `regression`."""

    loss: Literal["squared", "absolute", "huber"] = "squared"


def regression(
    target_mean: tuple[float, ...],
    target_std: tuple[float, ...],
    *,
    loss: Literal["squared", "absolute", "huber"] = "squared",
) -> Task:
    """Targets (b k) in the user's unit; outputs (b k) in standard deviations; the loss is the mean over targets.

    Metrics in the user's unit, averaged over the k targets: rmse, mae, and r2 = 1 - Σw·e² / Σw·(t - mean)².
    """
    kind = loss
    mean, std = np.asarray(target_mean, np.float32)[None], np.asarray(target_std, np.float32)[None]

    def prepare(batch: Batch, /, *, train: bool, key: Array | None) -> tuple[Any, Any, Any]:
        targets = batch["targets"].astype(jnp.float32).reshape(batch["targets"].shape[0], -1)
        return batch["inputs"], (targets - mean) / std, batch["weight"]

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

    def metric(finish: Any, *, larger_is_better: bool = False) -> Metric:
        return Metric(_moments, lambda sums: float(finish(sums)), larger_is_better)

    def predict(outputs: Any, /) -> dict[str, Array]:
        return {"value": outputs * std + mean}

    scale = np.asarray(target_std, np.float64)
    metrics = {
        "rmse": metric(lambda s: (np.sqrt(np.asarray(s["squares"]) / s["weight"]) * scale).mean()),
        "mae": metric(lambda s: (np.asarray(s["absolutes"]) / s["weight"] * scale).mean()),
        "r2": metric(_r2, larger_is_better=True),
    }
    return Task(prepare, losses, metrics, predict)


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
