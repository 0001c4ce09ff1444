"""`series:FILE`: time series in a table, cut by time into parts and into windows of context and horizon.

The table has a row a step: one series, or many of them with a column that names each (long form); of several columns
that are forecast (wide form) a model sees all at once. Windows are gathered from memory, so that their order is that
of every other source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jaxnets.data.schema import Dataset, Part, Schema, Split
from jaxnets.data.timeseries import packaged
from jaxnets.data.timeseries.config import Fitting
from jaxnets.data.timeseries.fitting import Fitted, fit
from jaxnets.data.timeseries.grid import Grid, carried, regular
from jaxnets.data.timeseries.reading import Frame, read_files, targets_of
from jaxnets.data.timeseries.splitting import PARTS, cuts, parts_of, windows_of
from jaxnets.data.windows import Windows
from jaxnets.errors import ConfigError, DataError
from jaxnets.files import fingerprint

if TYPE_CHECKING:
    from jaxnets.data.source import Data


def read(config: Data, name: str) -> Dataset:
    """The source `series:name`. ConfigError says what is wrong in the config; DataError names file and row."""
    context = _check(config)
    frame, hashes = read_files(config, packaged.locate(name) or name)
    _check_given(config, frame)
    grid = regular(frame, config.series)
    bounds = parts_of(grid, cuts(config, grid.times, dated=frame.dated))
    fitted = fit(grid, bounds[:, 1], frame.names, season=config.series.season, source=config.source)
    if not config.standardize:
        fitted = fitted._replace(
            means=np.zeros_like(fitted.means), stds=np.ones_like(fitted.stds),
            future_means=np.zeros_like(fitted.future_means), future_stds=np.ones_like(fitted.future_stds),
        )  # fmt: skip
    splits = _splits(config, frame, grid, bounds, fitted, context)
    if not splits["train"].length:
        raise DataError(
            f"{config.source}: no window of {context} + {config.series.horizon} steps fits into a train part of "
            f"{int((bounds[:, 1] - bounds[:, 0]).max())}; lower data.context or data.series.horizon, or give more steps"
        )
    return Dataset(_schema(config, frame, fitted, splits, hashes, context), splits)


def _check(config: Data) -> int:
    """The steps of the context. ConfigError for what does not go with time series."""
    if config.folds is not None:
        raise ConfigError(
            f"data.folds {config.folds}: {config.source} is split by time, so that nothing is learned from what comes "
            "later; leave data.folds out (other seeds, as by train --seeds, tell how much a figure varies)"
        )
    if config.context is None:
        raise ConfigError(f"data.context is none; give the steps that a forecast of {config.source} sees, as in 96")
    return config.context


def _check_given(config: Data, frame: Frame) -> None:
    """DataError naming the first row without a value, where that is not to be carried on."""
    if config.series.missing != "stop":
        return
    names = (*targets_of(config), *config.series.future)
    bad = np.argwhere(np.isnan(np.concatenate([frame.targets, frame.future], axis=1)))
    if len(bad):
        row, column = (int(place) for place in bad[0])
        raise DataError(
            f"{frame.where(row)}: {names[column]} is missing at {frame.time(row)} ({len(bad)} values in all); fill it "
            "in, or let the last value be seen in its place: --data.series.missing carry (it is never a target)"
        )


def _splits(
    config: Data, frame: Frame, grid: Grid, bounds: np.ndarray, fitted: Fitted, context: int
) -> dict[str, Split]:
    horizon, splits = config.series.horizon, {}
    seen = carried(grid.targets, grid.starts, fitted.means).astype(np.float32)
    blank = np.broadcast_to(fitted.future_means, (len(frame.names), len(fitted.future_means)))
    known = carried(grid.future, grid.starts, blank).astype(np.float32)
    values = grid.targets.astype(np.float32)
    for number, name in enumerate(PARTS):
        starts, series = windows_of(bounds, number, context=context, horizon=horizon)
        targets = Windows(values, starts, context, horizon)
        there = _with_targets(targets)
        starts, series = starts[there], series[there]
        inputs = {"past": Windows(seen, starts, 0, context), "series": series}
        if known.shape[1]:
            inputs["future"] = Windows(known, starts, 0, context + horizon)
        arrays = {"inputs": inputs, "targets": Windows(values, starts, context, horizon)}
        splits[name] = Split(arrays, len(starts), rows=grid.rows[starts + context], origins=frame.origins)
    return splits


def _with_targets(targets: Windows) -> np.ndarray:
    """Numbers of the windows that have a value to forecast."""
    given = np.cumsum(np.pad(~np.isnan(targets.values).all(axis=1), (1, 0)))
    first = targets.starts + targets.offset
    return np.flatnonzero(given[first + targets.length] > given[first])


def _schema(
    config: Data, frame: Frame, fitted: Fitted, splits: dict[str, Split], hashes: dict[str, str], context: int
) -> Schema:
    targets, series = targets_of(config), config.series
    parts = [Part("past", (context, len(targets)), "float32"), Part("series", (), "int32")]
    if series.future:
        parts.insert(1, Part("future", (context + series.horizon, len(series.future)), "float32"))
    return Schema(
        source=config.source,
        fingerprint=fingerprint(hashes),
        input_kind="window",
        input_shape=(context, len(targets)),
        input_dtype="float32",
        target_kind="series",
        feature_names=series.future,
        input_mean=tuple(fitted.future_means.tolist()),
        input_std=tuple(fitted.future_stds.tolist()),
        target_names=tuple(targets),
        target_mean=tuple(fitted.means.ravel().tolist()),
        target_std=tuple(fitted.stds.ravel().tolist()),
        counts=tuple((name, split.length) for name, split in splits.items()),
        files=tuple(hashes.items()),
        parts=tuple(parts),
        series=Fitting(
            time=series.time,
            id=series.id,
            horizon=series.horizon,
            missing=series.missing,
            gaps=series.gaps,
            names=frame.names,
            naive_errors=tuple(np.nan_to_num(fitted.naive, nan=0.0).ravel().tolist()),
        ),
    )
