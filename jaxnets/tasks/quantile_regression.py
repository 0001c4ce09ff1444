"""Quantile regression: of each real target several quantiles, and so intervals (Koenker and Bassett, 1978).

Symbols: t the target, v the value given for the quantile of level τ. The pinball loss is least at the true quantile:

    max(τ·(t - v), (τ - 1)·(t - v))

Quantiles that cross are sorted wherever they are read, which never makes the loss larger (Chernozhukov et al., 2010).
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from jaxnets.tasks.mean import mean_metric
from jaxnets.types import Array, Batch, PyTree, Task, experiment_dataclass

_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


@experiment_dataclass
class QuantileRegression:
    """Config of `quantile_regression`."""

    quantiles: tuple[float, ...] = _LEVELS  # levels, rising; the first and the last are the ends of the interval


def quantile_regression(
    target_mean: tuple[float, ...], target_std: tuple[float, ...], *, quantiles: tuple[float, ...] = _LEVELS
) -> Task:
    """Targets (b k) in the user's unit; outputs (b k·q) in standard deviations, the quantiles of a target side by side.

    Metrics in the user's unit, averaged over targets: pinball (mean over levels), crps (twice the integral of the
    pinball loss over levels, see `level_widths`), mae (of the level nearest to 0.5), and coverage, the share of targets
    between the lowest and the highest quantile. `predict` gives value (b k) and one column (b k) a level, as in q0.05.
    """
    mean, std = (np.asarray(each, np.float32)[None] for each in (target_mean, target_std))
    levels, widths = np.asarray(quantiles, np.float32), level_widths(quantiles)
    middle = int(np.abs(levels - 0.5).argmin())

    def prepare(batch: Batch, /, *, train: bool, key: Array | None) -> tuple[PyTree, PyTree, PyTree]:
        targets = batch["targets"].astype(jnp.float32).reshape(batch["targets"].shape[0], -1)
        return batch["inputs"], (targets - mean) / std, batch["weight"]

    def apart(outputs: Array) -> Array:
        return outputs.reshape(outputs.shape[0], -1, len(levels))  # b k q

    def ordered(outputs: Array) -> Array:
        return jnp.sort(apart(outputs), axis=-1)

    def loss(outputs: PyTree, targets: PyTree, weight: PyTree, /) -> tuple[Array, Array]:
        return pinball(apart(outputs), targets, levels).mean(axis=(1, 2)), weight

    def within(outputs: PyTree, targets: PyTree) -> Array:
        found = ordered(outputs)
        return ((found[..., 0] <= targets) & (targets <= found[..., -1])).astype(jnp.float32).mean(axis=-1)

    def absolute(outputs: PyTree, targets: PyTree) -> Array:
        return (jnp.abs(ordered(outputs)[..., middle] - targets) * std).mean(axis=-1)

    def measured(shares: np.ndarray) -> Callable[[PyTree, PyTree], Array]:
        def value(outputs: PyTree, targets: PyTree) -> Array:
            each = pinball(ordered(outputs), targets, levels) * shares[None, None]
            return (each.sum(axis=-1) * std).mean(axis=-1)

        return value

    def predict(outputs: PyTree, /) -> dict[str, Array]:
        found = ordered(outputs) * std[..., None] + mean[..., None]
        named = {f"q{level:g}": found[..., index] for index, level in enumerate(quantiles)}
        return {"value": found[..., middle]} | named

    metrics = {
        "pinball": mean_metric(measured(np.full_like(levels, 1 / len(levels)))),
        "crps": mean_metric(measured(2 * widths)),
        "mae": mean_metric(absolute),
        "coverage": mean_metric(within, larger_is_better=True),
    }
    return Task(prepare, loss, metrics, predict)


def pinball(quantiles: Array, targets: Array, levels: np.ndarray) -> Array:
    """Losses (b k q) of quantiles (b k q) of these levels (q,) for targets (b k).

    >>> pinball(jnp.array([[[1.0, 1.0]]]), jnp.array([[3.0]]), np.array([0.25, 0.75])).tolist()
    [[[0.5, 1.5]]]
    """
    error = targets[..., None] - quantiles
    return jnp.maximum(levels[None, None] * error, (levels[None, None] - 1.0) * error)


def level_widths(levels: tuple[float, ...]) -> np.ndarray:
    """The part of 0 to 1 that is nearest to each level; with it the crps is that of a distribution which has this much
    probability at each quantile: exact, for n equal parts, at the levels (i - 1/2) / n.

    >>> level_widths((0.25, 0.5, 0.75)).tolist()
    [0.375, 0.25, 0.375]
    """
    between = (np.asarray(levels)[1:] + np.asarray(levels)[:-1]) / 2
    return np.diff(np.concatenate([[0.0], between, [1.0]])).astype(np.float32)
