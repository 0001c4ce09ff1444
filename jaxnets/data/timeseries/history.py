"""The last steps of time series as the inputs of a finished run: what is known up to now, to forecast what comes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxnets.data.table import reading
from jaxnets.data.table.frames import arrow
from jaxnets.data.timeseries.config import Fitting, Series
from jaxnets.data.timeseries.fitting import by_series
from jaxnets.data.timeseries.grid import Grid, carried, regular
from jaxnets.data.timeseries.reading import Frame, frame_of
from jaxnets.errors import DataError, near

if TYPE_CHECKING:
    from pathlib import Path

    from jaxnets.data.schema import Schema


def encode_history(frame: Any, schema: Schema, *, name: str = "the table") -> dict[str, np.ndarray]:
    """The last window of each series of a table (as `data.table.frames.arrow` takes it), or windows as they are.

    Rows behind the last target that is given say what is known ahead. DataError names what is missing.
    """
    shapes = {part.name: part for part in schema.parts}
    if isinstance(frame, Mapping) and set(frame) == set(shapes):
        parts = {part: np.asarray(frame[part], shapes[part].dtype) for part in shapes}
        if all(parts[part].shape[1:] == shapes[part].shape for part in shapes):
            return parts
    table, facts = arrow(frame), _facts(schema)
    wanted = [facts.time, *([facts.id] if facts.id else []), *schema.target_names, *schema.feature_names]
    missing = [column for column in wanted if column not in table.column_names]
    if missing or not table.num_rows:
        hint = near(missing[0], table.column_names) if missing else ""
        lacks = f"lacks the columns {', '.join(missing)}" if missing else "holds no rows"
        raise DataError(f"{name} {lacks}{hint}; it needs {', '.join(wanted)}")
    series = Series(time=facts.time, id=facts.id, future=schema.feature_names, gaps=facts.gaps)
    rows = frame_of(table, series, schema.target_names, origins=((name, 0),))
    return _windows(rows, regular(rows, series), schema)


def encode_history_file(path: Path, schema: Schema) -> dict[str, np.ndarray]:
    """`encode_history` of a table file."""
    import pyarrow

    reader = reading.Reader(reading.Files((path,), ("",)))
    chunks = [chunk for _, chunk in reader.chunks()]
    if not chunks:
        raise DataError(f"{path} holds no rows; give a file with a header and rows")
    return encode_history(pyarrow.concat_tables(chunks, promote_options="permissive"), schema, name=str(path))


def _facts(schema: Schema) -> Fitting:
    assert schema.series is not None
    return schema.series


def _windows(frame: Frame, grid: Grid, schema: Schema) -> dict[str, np.ndarray]:
    facts, (context, targets) = _facts(schema), schema.input_shape
    unknown = [name for name in frame.names if name not in facts.names]
    if unknown:
        raise DataError(f"series {unknown[0]} was not trained on{near(unknown[0], facts.names)}; leave it out")
    numbers = np.asarray([facts.names.index(name) for name in frame.names], np.int32)
    ends = np.asarray([_end(grid, number) for number in range(len(frame.names))])
    for number, name in enumerate(frame.names):
        steps = ends[number] - grid.starts[number]
        words = f"series {name}" if name else "the series"
        if steps < context:
            raise DataError(f"{words} ends after {steps} steps with a target; a forecast needs the last {context}")
        ahead = grid.starts[number + 1] - ends[number]
        if schema.feature_names and ahead < facts.horizon:
            raise DataError(
                f"{words} has {ahead} rows behind the last target; {', '.join(schema.feature_names)} must be given for "
                f"the next {facts.horizon}"
            )
    past = carried(grid.targets, grid.starts, by_series(schema.target_mean, targets).astype(np.float64)[numbers])
    found = {"past": _cut(grid, grid.targets, past, ends - context, context, frame, facts), "series": numbers}
    if schema.feature_names:
        blank = np.broadcast_to(np.asarray(schema.input_mean), (len(numbers), len(schema.feature_names)))
        known = carried(grid.future, grid.starts, blank)
        length = context + facts.horizon
        found["future"] = _cut(grid, grid.future, known, ends - context, length, frame, facts)
    return found


def _end(grid: Grid, number: int) -> int:
    """The step behind the last with a target."""
    start, stop = grid.starts[number : number + 2]
    given = np.flatnonzero(~np.isnan(grid.targets[start:stop]).all(axis=1))
    return int(start + given[-1] + 1) if len(given) else int(start)


def _cut(
    grid: Grid, raw: np.ndarray, filled: np.ndarray, starts: np.ndarray, length: int, frame: Frame, facts: Fitting
) -> np.ndarray:
    """(n length …) float32 of filled values; DataError at one that is missing and may not be."""
    places = starts[:, None] + np.arange(length)[None]
    bad = np.isnan(raw[places]).any(axis=2)
    if facts.missing == "stop" and facts.gaps != "fill" and bad.any():
        row = int(grid.rows[places[bad][0]])
        raise DataError(f"{frame.where(row)}: a value is missing at {frame.time(row)}; fill it in")
    return filled[places].astype(np.float32)
