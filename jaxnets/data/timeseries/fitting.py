"""What is fitted to time series on their train part alone, and how it is applied inside a compiled step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.errors import DataError

if TYPE_CHECKING:
    from jaxnets.data.schema import Schema
    from jaxnets.data.timeseries.grid import Grid


class Fitted(NamedTuple):
    """means, stds, naive: (S c) of each series and target; future_means, future_stds: (f,) of all series.

    naive: mean absolute error of the value one season before; NaN where there is none, or it is always right
    """

    means: np.ndarray
    stds: np.ndarray
    naive: np.ndarray
    future_means: np.ndarray
    future_stds: np.ndarray


def fit(grid: Grid, ends: np.ndarray, names: tuple[str, ...], *, season: int, source: str) -> Fitted:
    """The moments of each series up to its train part's end (S,). DataError names a series that has no value there."""
    rows = [slice(start, stop) for start, stop in zip(grid.starts[:-1], ends, strict=True)]
    for name, row in zip(names, rows, strict=True):
        empty = ~(~np.isnan(grid.targets[row])).any(axis=0)
        if empty.any():
            raise DataError(
                f"{source}{f', series {name}' if name else ''}: target {int(np.flatnonzero(empty)[0])} has no value in "
                "the train part; leave the series out, or begin validation later"
            )
    means = np.stack([np.nanmean(grid.targets[row], axis=0) for row in rows])
    stds = np.stack([_deviation(grid.targets[row]) for row in rows])
    naive = np.stack([seasonal_error(grid.targets[row], season) for row in rows])
    known = np.concatenate([grid.future[row] for row in rows])
    if not known.shape[1]:
        return Fitted(means, stds, naive, np.zeros(0), np.zeros(0))
    if np.isnan(known).all(axis=0).any():
        raise DataError(f"{source}: a column of data.series.future has no value in the train part; leave it out")
    return Fitted(means, stds, naive, np.nanmean(known, axis=0), _deviation(known))


def _deviation(values: np.ndarray) -> np.ndarray:
    std = np.nanstd(values, axis=0)
    return np.where(std > 1e-12, std, 1.0)


def seasonal_error(values: np.ndarray, season: int) -> np.ndarray:
    """(c,) mean |y(t) - y(t - season)| over the steps where both are given; NaN where that is none, or always 0.

    >>> seasonal_error(np.array([[1.0], [2.0], [4.0], [np.nan], [9.0]]), 2)
    array([4.])
    """
    errors = np.abs(values[season:] - values[:-season])
    counts = (~np.isnan(errors)).sum(axis=0)
    mean = np.nansum(errors, axis=0) / np.maximum(counts, 1)
    return np.where(mean > 0, mean, np.nan)


def by_series(values: tuple[float, ...], targets: int) -> np.ndarray:
    """(S c) float32 of a schema's values, which are stored one series after the other."""
    return np.asarray(values, np.float32).reshape(-1, targets)


def scaled(schema: Schema, inputs: Any) -> dict[str, Any]:
    """Raw windows as a model takes them: in deviations from the mean of their series, which are added to them.

    level, spread: (b 1 c) mean and deviation of the series of each window, by which forecasts become values again
    """
    targets = len(schema.target_names)
    means, stds = (jnp.asarray(by_series(part, targets)) for part in (schema.target_mean, schema.target_std))
    number = jnp.asarray(inputs["series"])
    level, spread = means[number][:, None], stds[number][:, None]  # b 1 c
    found = {**inputs, "past": (inputs["past"] - level) / spread, "level": level, "spread": spread}
    if "future" in inputs:
        mean, std = (jnp.asarray(part, jnp.float32)[None, None] for part in (schema.input_mean, schema.input_std))
        found["future"] = (inputs["future"] - mean) / std
    return found


def scaled_shapes(shapes: dict[str, Any]) -> dict[str, Any]:
    """What `scaled` makes of these shapes of raw windows."""
    batch, _, targets = shapes["past"].shape
    one = jax.ShapeDtypeStruct((batch, 1, targets), "float32")
    return {**shapes, "level": one, "spread": one}
