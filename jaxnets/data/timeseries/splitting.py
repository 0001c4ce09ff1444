"""Parts of time and the windows that predict inside them: the past is trained on, what comes after it is tested."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jaxnets.data.table import values
from jaxnets.data.timeseries.grid import Grid
from jaxnets.data.timeseries.reading import said
from jaxnets.errors import ConfigError

if TYPE_CHECKING:
    from jaxnets.data.source import Data

PARTS = ("train", "valid", "test")


def cuts(config: Data, times: np.ndarray, *, dated: bool) -> tuple[float, float]:
    """The times at which validation and test begin, the same for all series: as given, or by shares of all steps.

    times: of all steps of all series. Raises ConfigError if the two are not inside of them, one after the other.
    """
    steps = np.unique(times)
    series, count = config.series, len(steps)
    if series.test_from is not None:
        test = _time(series.test_from, "data.series.test_from", dated=dated)
    else:
        test = _at(steps, count - round(config.test * count))
    if series.valid_from is not None:
        valid = _time(series.valid_from, "data.series.valid_from", dated=dated)
    else:
        valid = _at(steps, int(np.searchsorted(steps, test)) - round(config.valid * count))
    if not steps[0] < valid <= test:
        raise ConfigError(
            f"{config.source} would be validated from {said(valid, dated=dated)} and tested from "
            f"{said(test, dated=dated)}, but begins at {said(float(steps[0]), dated=dated)}; let the train part begin "
            "before both, and validation before the test"
        )
    return valid, test


def _at(steps: np.ndarray, place: int) -> float:
    """The time of a step; infinity behind the last."""
    return float(steps[max(place, 0)]) if place < len(steps) else float("inf")


def _time(text: str, path: str, *, dated: bool) -> float:
    import pyarrow

    try:
        column = pyarrow.array([text])
        return float(values.dates(column, "")[0] if dated else values.numbers(column)[0])
    except values.BadValue as error:
        raise ConfigError(f"{path} {error}; write it as the times of the table are") from error


def parts_of(grid: Grid, cut: tuple[float, float]) -> np.ndarray:
    """(S, 4) where train, valid and test begin in each series, and where the series ends."""
    bounds = []
    for start, stop in zip(grid.starts[:-1], grid.starts[1:], strict=True):
        inner = np.searchsorted(grid.times[start:stop], cut) + start
        bounds.append([start, *inner, stop])
    return np.asarray(bounds, np.int64)


def windows_of(bounds: np.ndarray, number: int, *, context: int, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """(first step, series) of each window whose horizon lies inside part `number`; its context may begin before.

    >>> bounds = np.array([[0, 6, 8, 10]])  # one series: train 0 to 5, valid 6 and 7, test 8 and 9
    >>> [windows_of(bounds, part, context=3, horizon=2)[0].tolist() for part in range(3)]
    [[0, 1], [3], [5]]
    """
    starts, series = [], []
    for name, row in enumerate(bounds):
        first = max(row[number], row[0] + context)
        found = np.arange(first - context, row[number + 1] - horizon - context + 1)
        starts.append(found)
        series.append(np.full(len(found), name))
    return np.concatenate(starts).astype(np.int32), np.concatenate(series).astype(np.int32)
