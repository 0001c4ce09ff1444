"""Tables that are objects in Python: pandas, polars, Arrow, NumPy, rows as dicts."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxnets.data.cache import cache_dir
from jaxnets.data.schema import Schema
from jaxnets.data.table import encoding
from jaxnets.errors import DataError, near
from jaxnets.files import hash_file


def arrow(frame: Any) -> Any:
    """An Arrow table of a pandas or polars frame, an Arrow table, an array (n k), a dict of columns or a list of dicts.

    The columns of an array are called x0, x1 …, or by the names of its fields. DataError says what cannot be a table.
    """
    import pyarrow

    try:
        if isinstance(frame, pyarrow.Table):
            return frame
        if isinstance(frame, pyarrow.RecordBatch):
            return pyarrow.Table.from_batches([frame])
        if isinstance(frame, np.ndarray):
            return pyarrow.table(_columns(frame))
        if isinstance(frame, Mapping):
            return pyarrow.table({str(name): pyarrow.array(list(column)) for name, column in frame.items()})
        if isinstance(frame, list):
            return pyarrow.Table.from_pylist(frame)
        if hasattr(frame, "to_arrow"):  # polars
            return frame.to_arrow()
        if type(frame).__module__.split(".")[0] == "pandas":
            return pyarrow.Table.from_pandas(frame, preserve_index=False)
    except (pyarrow.ArrowException, ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"this {type(frame).__name__} is no table: {error}; give columns of one length and kind"
        ) from error
    raise DataError(
        f"a {type(frame).__name__} is no table; give a pandas, polars or Arrow table, an array (n k), a dict of "
        "columns or a list of dicts"
    )


def _columns(array: np.ndarray) -> dict[str, Any]:
    if array.dtype.names:
        return {name: array[name] for name in array.dtype.names}
    if array.ndim != 2 or array.dtype.kind not in "biufUM":
        raise DataError(f"an array of {array.dtype} {array.shape} is no table; give numbers or texts (n k)")
    return {f"x{i}": array[:, i] for i in range(array.shape[1])}


def from_frame(frame: Any, name: str = "frame") -> str:
    """A frame as a source: written to the cache as Parquet, once for its content; give the result as `data.source`.

    >>> source = from_frame({"x": [1.0, 2.5], "y": ["a", "b"]})
    >>> source.startswith("table:") and source.endswith(".parquet")
    True
    """
    from pyarrow import parquet

    folder = cache_dir() / "frames"
    folder.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=folder, suffix=".aside")
    os.close(handle)
    try:
        parquet.write_table(arrow(frame), aside)
        path = folder / f"{name}-{hash_file(Path(aside))[:16]}.parquet"
        os.replace(aside, path)
    finally:
        Path(aside).unlink(missing_ok=True)
    return f"table:{path}"


def encode_frame(frame: Any, schema: Schema) -> dict[str, np.ndarray]:
    """The model's inputs for the rows of a frame, or a dict of them as it is. DataError names row and column."""
    shapes = {part.name: part for part in schema.parts}
    encoded = isinstance(frame, Mapping) and set(frame) == set(shapes)
    if encoded and all(np.shape(frame[name])[1:] == part.shape for name, part in shapes.items()):
        return {name: np.asarray(frame[name], part.dtype) for name, part in shapes.items()}
    table = arrow(frame)
    missing = [name for name in schema.feature_names if name not in table.column_names]
    if missing:
        raise DataError(
            f"the rows lack the columns {', '.join(missing[:5])}{near(missing[0], table.column_names)}; "
            f"they need {', '.join(schema.feature_names)}"
        )
    if table.num_rows == 0:
        raise DataError(f"there are no rows; give the columns {', '.join(schema.feature_names)}")
    try:
        return encoding.encode(schema.columns, table, table.num_rows)
    except encoding.BadColumn as error:
        raise DataError(f"row {error.index}, {error}; correct it") from error
