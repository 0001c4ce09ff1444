"""A data set as the checks see it: raw columns where there are any, and one number that stands for all of a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxnets.data import Data, Dataset, Schema, Split
from jaxnets.data.table import reading, strays, values
from jaxnets.data.table.columns import Column
from jaxnets.inspection.finding import spread

_MOST_ROWS = 200_000  # of a table; of more an even share
_MOST_BYTES = 1 << 30  # of arrays in memory whose rows are compared
_CHUNK = 4 << 20  # values that are hashed at once


class Feature(NamedTuple):
    """One column of all rows that are looked at.

    values: (n,) float64, NaN where missing; of texts their number in `texts`
    """

    name: str
    kind: str  # number, category, date, text, identifier, constant or drop
    reason: str
    values: np.ndarray
    texts: tuple[str, ...] = ()

    @property
    def missing(self) -> np.ndarray:
        return np.isnan(self.values)

    @property
    def used(self) -> bool:
        return self.kind in ("number", "category", "date", "text")


class View(NamedTuple):
    """A data set, its columns, and where each split lies in them.

    places: {split: (length of the split's part,) place of its examples in `features`}
    ids:    {split: the examples at those places}
    keys:   {split: one uint64 an example, equal for equal inputs}; {} where inputs are not in memory
    """

    dataset: Dataset
    features: tuple[Feature, ...]
    places: Mapping[str, np.ndarray]
    ids: Mapping[str, np.ndarray]
    keys: Mapping[str, np.ndarray]

    @property
    def schema(self) -> Schema:
        return self.dataset.schema

    def split(self, name: str) -> Split:
        return self.dataset.splits[name]

    def targets(self, name: str) -> np.ndarray | None:
        """Targets of the examples that are looked at; of several numbers the first. None where there are none."""
        arrays = self.split(name).arrays if name in self.dataset.splits else {}
        if "targets" not in arrays or self.schema.target_kind not in ("class", "real"):
            return None
        found = np.asarray(arrays["targets"])[self.ids[name]]
        return found if found.ndim == 1 else found[:, 0]


def view(dataset: Dataset, config: Data, *, whole: bool = False) -> View:
    """A data set to be checked. Tables are read again, as they are; large ones only where the `whole` is wanted."""
    schema = dataset.schema
    if schema.input_kind == "table":
        return _of_table(dataset, config, whole=whole)
    ids = {name: np.arange(split.length) for name, split in dataset.splits.items()}
    inputs = {name: split.arrays.get("inputs") for name, split in dataset.splits.items() if split.reader is None}
    arrays = {name: array for name, array in inputs.items() if isinstance(array, np.ndarray)}  # windows have parts
    if set(arrays) != set(ids) or sum(array.nbytes for array in arrays.values()) > _MOST_BYTES:
        return View(dataset, (), {}, ids, {})
    keys = {name: _hashes(array) for name, array in arrays.items()}
    if schema.input_kind != "row":
        return View(dataset, (), {}, ids, keys)
    joined = np.concatenate([array.reshape(len(array), -1) for array in arrays.values()]).astype(np.float64)
    names = schema.feature_names or tuple(f"feature{i}" for i in range(joined.shape[1]))
    features = tuple(Feature(n, _kind(x), "numbers", x) for n, x in zip(names, joined.T, strict=True))
    starts = np.cumsum([0, *map(len, arrays.values())])
    places = {name: np.arange(a, b) for name, a, b in zip(arrays, starts, starts[1:], strict=False)}
    return View(dataset, features, places, ids, keys)


def _kind(x: np.ndarray) -> str:
    return "constant" if len(x) and (x == x[0]).all() else "number"


def _hashes(array: np.ndarray) -> np.ndarray:
    """One number a row (n,) uint64: its values, each mixed in a way of its place, added up modulo 2^64."""
    flat = np.ascontiguousarray(array).reshape(len(array), -1)
    words = flat.view(np.uint32) if flat.dtype == np.float32 else flat
    factors = np.random.default_rng(0).integers(0, 2**63, words.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    rows = max(1, _CHUNK // max(1, words.shape[1]))
    parts = [_mixed(words[i : i + rows], factors) for i in range(0, len(words), rows)]
    return np.concatenate(parts) if parts else np.zeros(0, np.uint64)


def _mixed(words: np.ndarray, factors: np.ndarray) -> np.ndarray:
    found = (words.astype(np.uint64) + np.uint64(1)) * factors
    found ^= found >> np.uint64(32)
    return (found * np.uint64(0x9E3779B97F4A7C15)).sum(axis=1)


def _of_table(dataset: Dataset, config: Data, *, whole: bool) -> View:
    ids = {name: np.arange(split.length) for name, split in dataset.splits.items()}
    if config.source.startswith("mixture:"):  # each of its tables can be looked at alone
        return View(dataset, (), {}, ids, {})
    files = reading.find(config.source.partition(":")[2])
    if files.streams and not whole:
        return View(dataset, (), {}, ids, {})
    table, taken = raw(config, files)
    features = tuple(feature(column, table[column.name]) for column in dataset.schema.columns)
    places = {}
    for name, split in dataset.splits.items():
        rows = split.row(ids[name])
        found = np.minimum(np.searchsorted(taken, rows), len(taken) - 1)
        ids[name] = np.flatnonzero(taken[found] == rows)
        places[name] = found[ids[name]]
    key = _combined([one for one in features if one.used], len(taken))
    return View(dataset, features, places, ids, {name: key[at] for name, at in places.items()})


def raw(config: Data, files: reading.Files) -> tuple[Any, np.ndarray]:
    """(an Arrow table of the rows that are looked at, their numbers)."""
    import pyarrow

    reader = reading.Reader(files, on_bad=config.on_bad, most_bad=config.most_bad)
    if not files.streams:
        table = pyarrow.concat_tables([chunk for _, chunk in reader.chunks()], promote_options="permissive")
        taken = spread(table.num_rows, _MOST_ROWS)
        return (table if len(taken) == table.num_rows else table.take(pyarrow.array(taken))), taken
    taken = spread(sum(chunk.num_rows for _, chunk in reader.chunks(reader.names[:1])), _MOST_ROWS)
    parts, start = [], 0
    for _, chunk in reader.chunks():
        low, high = np.searchsorted(taken, (start, start + chunk.num_rows))
        parts.append(chunk.take(pyarrow.array(taken[low:high] - start)))
        start += chunk.num_rows
    return pyarrow.concat_tables(parts, promote_options="permissive"), taken


def feature(column: Column, given: Any) -> Feature:
    """A column of an Arrow table as its `Column` says it is to be read."""
    if column.kind == "number":
        return Feature(column.name, column.kind, column.reason, strays.numbers(column, given))
    if column.kind == "date":
        return Feature(column.name, column.kind, column.reason, values.dates(given, column.format))
    coded = values.texts(given).dictionary_encode()
    codes = coded.indices.to_numpy(zero_copy_only=False).astype(np.float64)
    return Feature(column.name, column.kind, column.reason, codes, tuple(coded.dictionary.to_pylist()))


def _combined(features: list[Feature], length: int) -> np.ndarray:
    """One number a row (n,) uint64, equal where all of these columns are."""
    cells = [np.where(one.missing, np.inf, one.values + 0.0).view(np.uint64) for one in features]
    return _hashes(np.stack(cells, axis=1)) if cells else np.zeros(length, np.uint64)
