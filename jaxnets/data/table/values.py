"""One column of an Arrow table as numbers, dates or texts; what cannot be is named by its place."""

from __future__ import annotations

import functools
import importlib
from typing import Any

import numpy as np

from jaxnets.data.table.reading import NULLS

FORMATS = ("", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%Y/%m/%d", "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M", "%d.%m.%Y %H:%M",
           "%Y%m%d%H%M%S")  # fmt: skip


@functools.cache
def pc() -> Any:
    """`pyarrow.compute`, whose functions are made when it is imported, so that no checker sees them."""
    return importlib.import_module("pyarrow.compute")


class BadValue(ValueError):
    """`index` is the place in the column of a value that is not of its kind."""

    def __init__(self, index: int, value: Any, words: str) -> None:
        super().__init__(f"{value!r} is not {words}")
        self.index = index


def texts(column: Any) -> Any:
    """A string array without spaces around its values; null where one of the words for a missing value stands."""
    import pyarrow

    column = _one(column)
    kind = column.type
    if pyarrow.types.is_boolean(kind):
        column = pc().if_else(column, "true", "false")
    elif pyarrow.types.is_floating(kind):
        whole = np.array([None if v is None or v != v else f"{v:.17g}" for v in column.to_pylist()], object)
        column = pyarrow.array(whole, pyarrow.string())
    elif pyarrow.types.is_nested(kind):
        column = pyarrow.array([None if v is None else str(v) for v in column.to_pylist()], pyarrow.string())
    elif not pyarrow.types.is_string(kind):
        column = column.cast(pyarrow.string())
    column = pc().utf8_trim_whitespace(column)
    return pc().if_else(pc().is_in(column, pyarrow.array(NULLS)), pyarrow.scalar(None, pyarrow.string()), column)


def numbers(column: Any) -> np.ndarray:
    """float64, NaN where missing. Raises BadValue at text that is no number, and at infinity."""
    import pyarrow

    column = _one(column)
    if pyarrow.types.is_boolean(column.type):
        column = column.cast(pyarrow.int8())
    if not _numeric(column.type):
        column = texts(column)
        try:
            column = pc().cast(column, pyarrow.float64())
        except pyarrow.ArrowInvalid:
            index = next(i for i, v in enumerate(column.to_pylist()) if v is not None and not _is_number(v))
            raise BadValue(index, column[index].as_py(), "a number") from None
    found = pc().cast(column, pyarrow.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64)
    infinite = np.flatnonzero(np.isinf(found))
    if infinite.size:
        raise BadValue(int(infinite[0]), float(found[infinite[0]]), "a finite number")
    return found


def dates(column: Any, form: str) -> np.ndarray:
    """Seconds since 1970 as float64, NaN where missing. Raises BadValue at text that is not of this format."""
    import pyarrow

    column = _one(column)
    if not pyarrow.types.is_temporal(column.type):
        column = texts(column)
        try:
            column = pc().cast(column, pyarrow.timestamp("us")) if not form else pc().strptime(column, form, "us")
        except pyarrow.ArrowInvalid:
            index = next(i for i, v in enumerate(column.to_pylist()) if v is not None and not _is_date(v, form))
            raise BadValue(index, column[index].as_py(), f"a date like {form or '2024-12-31'}") from None
    if pyarrow.types.is_time(column.type) or pyarrow.types.is_duration(column.type):
        raise BadValue(0, column[0].as_py(), "a date")
    whole = pc().cast(column, pyarrow.timestamp("us"), safe=False)
    micro = pc().cast(whole, pyarrow.int64())
    return np.asarray(pc().divide(pc().cast(micro, pyarrow.float64(), safe=False), 1e6).to_numpy(zero_copy_only=False))


def date_format(column: Any) -> str | None:
    """The first format that all values have, or None."""
    for form in FORMATS:
        try:
            dates(column, form)
        except BadValue:
            continue
        return form
    return None


def is_temporal(kind: Any) -> bool:
    """Whether an Arrow type is a date or a time of a day of a date."""
    import pyarrow

    return bool(pyarrow.types.is_date(kind) or pyarrow.types.is_timestamp(kind))


def _numeric(kind: Any) -> bool:
    import pyarrow

    types = pyarrow.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


def _is_number(text: str) -> bool:
    import pyarrow

    try:
        pc().cast(pyarrow.array([text]), pyarrow.float64())
    except pyarrow.ArrowInvalid:
        return False
    return True


def _is_date(text: str, form: str) -> bool:
    import pyarrow

    one = pyarrow.array([text])
    try:
        pc().cast(one, pyarrow.timestamp("us")) if not form else pc().strptime(one, form, "us")
    except pyarrow.ArrowInvalid:
        return False
    return True


def _one(column: Any) -> Any:
    """A plain array: no chunks, no dictionary."""
    import pyarrow

    if isinstance(column, pyarrow.ChunkedArray):
        column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
        if isinstance(column, pyarrow.ChunkedArray):
            column = pyarrow.concat_arrays(column.chunks) if column.num_chunks else pyarrow.array([], column.type)
    return column.dictionary_decode() if pyarrow.types.is_dictionary(column.type) else column
