"""A table of time series as arrays in the order of its rows: times, series, values, columns that are known ahead."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxnets.data.table import reading, values
from jaxnets.data.timeseries.config import Series
from jaxnets.errors import ConfigError, DataError, near

if TYPE_CHECKING:
    from jaxnets.data.source import Data


class Frame(NamedTuple):
    """The rows of one or many series, in the order of the table.

    times:   (n,) seconds since 1970 where `dated`, else numbers; `words` say them as they were written
    series:  (n,) which of `names` a row belongs to
    targets: (n c) float64, future: (n f) float64; NaN where a value is not given
    origins: (file, its first row), in order
    """

    times: np.ndarray
    dated: bool
    series: np.ndarray
    names: tuple[str, ...]
    targets: np.ndarray
    future: np.ndarray
    origins: tuple[tuple[str, int], ...] = ()

    def where(self, row: int) -> str:
        """A row and its file, for a message."""
        return place(self.origins, row)

    def time(self, row: int) -> str:
        """The time of a row in words."""
        return said(float(self.times[row]), dated=self.dated)


def place(origins: Sequence[tuple[str, int]], row: int) -> str:
    """A row and its file, for a message.

    >>> place((("a.csv", 0), ("b.csv", 10)), 12)
    'b.csv, row 2'
    """
    name, start = next(((n, s) for n, s in reversed(origins) if s <= row), ("the table", 0))
    return f"{name}, row {row - start}"


def said(time: float, *, dated: bool) -> str:
    """A time in words.

    >>> said(86400.0, dated=True), said(3600.5, dated=True), said(1987.0, dated=False)
    ('1970-01-02', '1970-01-01T01:00:00.500000', '1987')
    """
    if not dated:
        return f"{time:.12g}"
    text = str(np.datetime64(round(time * 1e6), "us"))
    return text.removesuffix(".000000").removesuffix("T00:00:00")


def read_files(config: Data, name: str) -> tuple[Frame, dict[str, str]]:
    """(rows, {file: sha256}) of the source `series:name`. ConfigError names a column that is not there."""
    files = reading.find(name)
    reader = reading.Reader(files, on_bad=config.on_bad, most_bad=config.most_bad)
    wanted = columns_of(config, reader.names)
    chunks, origins, total = [], [], 0
    for path, chunk in reader.chunks(wanted):
        if not origins or origins[-1][0] != path.name:
            origins.append((path.name, total))
        chunks.append(chunk)
        total += chunk.num_rows
    if total == 0:
        raise DataError(f"{files.paths[0]} holds no rows; give a file with a header and rows")
    import pyarrow

    table = pyarrow.concat_tables(chunks, promote_options="permissive")
    frame = frame_of(table, config.series, targets_of(config), origins=tuple(origins))
    return frame, reading.hashes(files)


def targets_of(config: Data) -> list[str]:
    """The columns that are forecast. ConfigError if none is named."""
    names = [name.strip() for name in (config.target or "").split(",") if name.strip()]
    if not names or len(set(names)) < len(names):
        raise ConfigError(
            f"data.target {config.target!r} is not allowed for {config.source}; name the columns that are forecast, "
            "each once, with commas between them"
        )
    return names


def columns_of(config: Data, names: Sequence[str]) -> list[str]:
    """The columns that are read: time, id, targets, future. ConfigError if one is not there or means two things."""
    series = config.series
    parts = {"data.series.time": [series.time], "data.series.id": [series.id] if series.id is not None else []}
    parts |= {"data.target": targets_of(config), "data.series.future": list(series.future)}
    seen: dict[str, str] = {}
    for path, part in parts.items():
        for name in part:
            if name not in names:
                hint = near(name, names) or f"; it has {', '.join(names[:12])}"
                raise ConfigError(f"{path} {name!r} is no column of {config.source}{hint}")
            if name in seen:
                raise ConfigError(f"{path} {name!r} is {seen[name]} already; give each column one meaning")
            seen[name] = path
    return list(seen)


def frame_of(table: Any, series: Series, targets: Sequence[str], *, origins: Any = ()) -> Frame:
    """The rows of an Arrow table. DataError names the row of a value that is no time or no number."""
    row_of = partial(place, origins)
    times, dated = times_of(table[series.time], series.time, row_of)
    names, codes = ("",), np.zeros(len(times), np.int32)
    if series.id is not None:
        names, codes = _codes(table[series.id], series.id, row_of)
    found = {name: _numbers(table[name], name, row_of) for name in (*targets, *series.future)}
    blank = np.zeros((len(times), 0))
    future = np.stack([found[name] for name in series.future], axis=1) if series.future else blank
    values_ = np.stack([found[name] for name in targets], axis=1)
    return Frame(times, dated, codes, names, values_, future, tuple(origins))


def times_of(column: Any, name: str, row_of: Any) -> tuple[np.ndarray, bool]:
    """(times, whether they are dates) of a column; numbers stay what they are. DataError names the first bad row."""
    try:
        times, dated = _as_times(column)
    except values.BadValue as error:
        raise DataError(f"{row_of(error.index)}, column {name}: {error}; correct it") from error
    missing = np.flatnonzero(np.isnan(times))
    if missing.size:
        raise DataError(f"{row_of(int(missing[0]))}, column {name}: the time is missing; fill it in")
    return times, dated


def _as_times(column: Any) -> tuple[np.ndarray, bool]:
    if not values.is_temporal(column.type):
        try:
            return values.numbers(column), False
        except values.BadValue:
            form = values.date_format(column)
            return values.dates(column, form or ""), True
    return values.dates(column, ""), True


def _codes(column: Any, name: str, row_of: Any) -> tuple[tuple[str, ...], np.ndarray]:
    words = values.texts(column).to_pylist()
    if None in words:
        raise DataError(f"{row_of(words.index(None))}, column {name}: the series is missing; fill it in")
    names, codes = np.unique(np.asarray(words, np.str_), return_inverse=True)
    return tuple(names.tolist()), codes.astype(np.int32)


def _numbers(column: Any, name: str, row_of: Any) -> np.ndarray:
    try:
        return values.numbers(column)
    except values.BadValue as error:
        raise DataError(f"{row_of(error.index)}, column {name}: {error}; correct it") from error
