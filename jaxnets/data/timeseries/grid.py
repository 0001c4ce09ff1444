"""Rows on a regular grid of time, series after series: what is out of order, double, uneven or not there is named."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxnets.data.timeseries.config import Series
from jaxnets.data.timeseries.reading import Frame
from jaxnets.errors import DataError

_NEAR = 1e-3  # of a step: as far may a time be from its place on the grid


class Grid(NamedTuple):
    """All series one after the other, each in steps of one length.

    times:   (N,); rows: (N,) of the table, that of the last row before where a step has none
    targets: (N c), future: (N f); NaN where a value is not given
    starts:  (S + 1,) where each series begins, and where the last ends
    """

    times: np.ndarray
    rows: np.ndarray
    targets: np.ndarray
    future: np.ndarray
    starts: np.ndarray


def regular(frame: Frame, series: Series) -> Grid:
    """The rows of a table on the grid. DataError names a row that does not fit on it, or lacks one before it."""
    order = np.argsort(frame.series, kind="stable")
    bounds = np.searchsorted(frame.series[order], np.arange(len(frame.names) + 1))
    parts = [order[start:stop] for start, stop in zip(bounds[:-1], bounds[1:], strict=True)]
    for rows in parts:
        _check_order(frame, rows)
    even = series.gaps != "ignore"
    places = _places(frame, parts) if even else [np.arange(len(rows)) for rows in parts]
    if series.gaps == "stop":
        for rows, place in zip(parts, places, strict=True):
            _check_gaps(frame, rows, place)
    return _filled(frame, parts, places)


def _check_order(frame: Frame, rows: np.ndarray) -> None:
    steps = np.diff(frame.times[rows])
    bad = np.flatnonzero(steps <= 0)
    if bad.size:
        before, row = int(rows[bad[0]]), int(rows[bad[0] + 1])
        words = "stands there a second time" if steps[bad[0]] == 0 else f"follows {frame.time(before)}"
        raise DataError(
            f"{frame.where(row)}: {frame.time(row)} {words}{_named(frame, row)}; sort the rows by time, and keep one "
            "row a step and series (data.series.id names the column of the series)"
        )


def _check_gaps(frame: Frame, rows: np.ndarray, place: np.ndarray) -> None:
    gaps = np.flatnonzero(np.diff(place) > 1)
    if gaps.size:
        before, row = int(rows[gaps[0]]), int(rows[gaps[0] + 1])
        missing = int(np.diff(place)[gaps[0]]) - 1
        raise DataError(
            f"{frame.where(row)}: {frame.time(row)} follows {frame.time(before)}{_named(frame, row)}, {missing} "
            f"step{'s' if missing > 1 else ''} later than it would; add the rows, or choose --data.series.gaps fill "
            "(steps without values) or ignore (rows follow each other, as trading days do)"
        )


def _places(frame: Frame, parts: list[np.ndarray]) -> list[np.ndarray]:
    """The place (n,) of each row on the grid of its series: in steps of time, or of months of the calendar."""
    found = _counted(parts, frame.times)
    if isinstance(found, int) and frame.dated:
        months = _months(frame.times)
        by_month = found if months is None else _counted(parts, months)
        found = by_month if not isinstance(by_month, int) else found
    if isinstance(found, int):
        raise DataError(
            f"{frame.where(found)}: {frame.time(found)} is no whole number of steps after the row before it"
            f"{_named(frame, found)}; give rows at even steps, or choose --data.series.gaps ignore"
        )
    return found


def _counted(parts: list[np.ndarray], times: np.ndarray) -> list[np.ndarray] | int:
    """Places by the commonest difference of times; the first row that is not on the grid, where one is not."""
    steps = np.concatenate([np.diff(times[rows]) for rows in parts])
    if not len(steps):
        return [np.zeros(len(rows), np.int64) for rows in parts]
    sizes, counts = np.unique(steps, return_counts=True)
    size = sizes[counts.argmax()]
    places = []
    for rows in parts:
        exact = (times[rows] - times[rows[0]]) / size
        whole = np.round(exact)
        uneven = np.flatnonzero((np.abs(exact - whole) > _NEAR) | (np.diff(whole, prepend=-1) <= 0))
        if uneven.size:
            return int(rows[uneven[0]])
        places.append(whole.astype(np.int64))
    return places


def _months(times: np.ndarray) -> np.ndarray | None:
    """Months since 1970, if all dates are of one day of the month, or of its last."""
    stamps = np.round(times * 1e6).astype("datetime64[us]")
    months = stamps.astype("datetime64[M]")
    first, last = stamps - months, (months + 1).astype("datetime64[us]") - stamps
    if len(np.unique(first)) > 1 and len(np.unique(last)) > 1:
        return None
    return months.astype(np.int64).astype(np.float64)


def _filled(frame: Frame, parts: list[np.ndarray], places: list[np.ndarray]) -> Grid:
    """Series after series with NaN at steps that have no row."""
    times, source, targets, future = [], [], [], []
    for rows, place in zip(parts, places, strict=True):
        steps = np.arange(place[-1] + 1)
        before = np.searchsorted(place, steps, side="right") - 1
        there = place[before] == steps
        times.append(np.interp(steps, place, frame.times[rows]))
        source.append(rows[before])
        targets.append(np.where(there[:, None], frame.targets[rows[before]], np.nan))
        future.append(np.where(there[:, None], frame.future[rows[before]], np.nan))
    starts = np.cumsum([0, *map(len, times)])
    rows = np.concatenate(source)
    return Grid(np.concatenate(times), rows, np.concatenate(targets), np.concatenate(future), starts)


def carried(values: np.ndarray, starts: np.ndarray, blank: np.ndarray) -> np.ndarray:
    """`values` (N c) with NaN replaced by the last value before it in its series; `blank` (S c) where there is none.

    >>> carried(np.array([[np.nan], [2.0], [np.nan], [np.nan]]), np.array([0, 3, 4]), np.array([[7.0], [8.0]])).ravel()
    array([7., 2., 2., 8.])
    """
    found = values.copy()
    for number, (start, stop) in enumerate(zip(starts[:-1], starts[1:], strict=True)):
        own = found[start:stop]
        last = np.where(np.isnan(own), -1, np.arange(len(own))[:, None])
        last = np.maximum.accumulate(last, axis=0)
        taken = np.take_along_axis(own, np.maximum(last, 0), axis=0)
        found[start:stop] = np.where(last >= 0, taken, blank[number][None])
    return found


def _named(frame: Frame, row: int) -> str:
    name = frame.names[frame.series[row]]
    return f" in series {name}" if name else ""
