"""`images:PATTERN`: parquet files with encoded images in `image` and class numbers in `label`, decoded while training.

For sets that do not fit in memory: a row group is read when one of its rows is wanted and kept while others of its
pool are, so that memory holds the encoded bytes of two pools, however large the set, beside what `Kept` holds of a
small one. Each image is cut and scaled to one square: at random while training (Szegedy et al., 2014), around its
centre in evaluation.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxnets.data.order import Groups
from jaxnets.data.picture_reader import PictureReader
from jaxnets.data.reader import Bad
from jaxnets.data.schema import Dataset, Split, moments, pixel_schema
from jaxnets.data.shards import bounds, files_of, known_by
from jaxnets.errors import ConfigError, DataError
from jaxnets.files import fingerprint

if TYPE_CHECKING:
    from jaxnets.data.source import Data

_MOMENT_GROUPS, _MOMENT_ROWS = 8, 64  # what mean and deviation are fitted on
_MOST_CLASSES = 2**20  # more are a mistake: a hash, an identifier


class RowGroup(NamedTuple):
    """A piece of a file that is read at once."""

    path: Path
    number: int
    rows: int
    first: int  # row of its file


class RowGroups:
    """Encoded images in a column of some parquet files, one file after the other, by their row.

    pool: rows that are wanted at about the same time
    """

    def __init__(self, paths: list[Path], column: str, *, pool: int) -> None:
        self.paths, self._column, self.groups = paths, column, _groups(paths)
        self.starts = np.cumsum([0, *(group.rows for group in self.groups)])
        self._starts: list[int] = self.starts.tolist()
        mean_rows = max(1.0, float(self.starts[-1]) / max(1, len(self.groups)))
        self._held: OrderedDict[int, Future[Any]] = OrderedDict()
        self._most_held = 2 * math.ceil(pool / mean_rows) + 2
        self._lock = threading.Lock()

    @property
    def origins(self) -> tuple[tuple[str, int], ...]:
        """(file, its first row), in order."""
        firsts = (int(s) for s, group in zip(self.starts, self.groups, strict=False) if group.number == 0)
        return tuple(zip((path.name for path in self.paths), firsts, strict=True))

    def numbers(self, rows: Any) -> Any:
        """Which group each row is in."""
        return np.searchsorted(self.starts, rows, side="right") - 1

    def where(self, row: int) -> str:
        """A row's file and its number there, for a message."""
        number = int(self.numbers(row))
        group = self.groups[number]
        return f"{group.path}, row {group.first + row - int(self.starts[number])}"

    def encoded(self, row: int) -> bytes:
        """The image of a row. Raises DataError if its row group cannot be read."""
        number = bisect_right(self._starts, row) - 1
        given = self._group(number)[row - self._starts[number]].as_py()
        return (given["bytes"] if isinstance(given, dict) else given) or b""  # where there is none, that is no image

    def _group(self, number: int) -> Any:
        """The encoded images of a row group; whoever asks first reads it, the others wait."""
        with self._lock:
            found = self._held.get(number)
            if found is None:
                mine = self._held[number] = Future()
                while len(self._held) > self._most_held:
                    self._held.popitem(last=False)
            else:
                self._held.move_to_end(number)
        if found is not None:
            return found.result()
        try:
            mine.set_result(_encoded(self.groups[number], self._column))
        except Exception as error:
            with self._lock:
                self._held.pop(number, None)
            mine.set_exception(error)
        return mine.result()


def _groups(paths: list[Path]) -> list[RowGroup]:
    """All row groups of the files, in order."""
    from pyarrow import parquet

    groups = []
    for path in paths:
        known, first = parquet.ParquetFile(path).metadata, 0
        for number in range(known.num_row_groups):
            rows = known.row_group(number).num_rows
            groups.append(RowGroup(path, number, rows, first))
            first += rows
    return groups


def _labels(paths: list[Path]) -> np.ndarray:
    """The labels of all rows; of the images nothing is read."""
    labels = []
    for path in paths:
        own = columns_of(path, ("image", "label"), ("label",))["label"]
        for row, label in enumerate(own):
            if not isinstance(label, int) or not 0 <= label < _MOST_CLASSES:
                raise DataError(f"{path}, row {row}: label {label!r} is not a class number; correct or remove it")
        labels.append(np.asarray(own, np.int32))
    return np.concatenate(labels)


def columns_of(path: Path, needed: Sequence[str], wanted: Sequence[str]) -> dict[str, list[Any]]:
    """The `wanted` columns of a parquet file. DataError if it cannot be read, or has not all that are `needed`."""
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
        names = file.schema_arrow.names
        missing = sorted(set(needed) - set(names))
        if missing:
            raise DataError(f"{path} has no column {', '.join(missing)}; it has {', '.join(names)}")
        return file.read(columns=list(wanted)).to_pydict()
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a readable parquet file: {error}; restore it") from error


def _encoded(group: RowGroup, column: str) -> Any:
    """Arrow's array of the images of a group, each bytes or {"bytes": …}, without a copy of each."""
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(group.path) as file:
            return file.read_row_group(group.number, columns=[column], use_threads=False)[column]
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(
            f"{group.path}: row group {group.number}, rows {group.first} to {group.first + group.rows - 1}, cannot be "
            f"read ({error}); restore the file"
        ) from error


def read(config: Data, name: str) -> Dataset:
    """Splits by files of their own, or by shares of the rows of the train files: test first, then train, then valid.

    Raises ConfigError for folds, DataError for files that cannot be used, and if they are sorted by class.
    """
    if config.folds is not None:
        raise ConfigError(f"data.folds {config.folds}: {config.source} is read in the order of its files; leave it out")
    files = files_of("images", name)
    bad = Bad(config.on_bad, most=config.most_bad)
    labels = {split: _labels(paths) for split, paths in files.items()}
    groups = {split: RowGroups(paths, "image", pool=config.images.pool) for split, paths in files.items()}
    total = sum(map(len, labels.values()))
    readers = {
        split: PictureReader(
            own.encoded, own.where, config.images, bad, rows=len(labels[split]), share=len(labels[split]) / total
        )
        for split, own in groups.items()
    }
    splits = {}
    for split, (first, last) in bounds(config, {split: len(own) for split, own in labels.items()}).items():
        own = split if split in files else "train"
        splits[split] = _split(groups[own], labels[own], np.arange(first, last), readers[own], config.images.pool)
    count = _classes(config, splits)
    fitted = fitted_moments(splits["train"]) if config.standardize else ((), ())
    hashes = known_by([path for paths in files.values() for path in paths])
    schema = pixel_schema(
        config.source,
        splits,
        shape=(config.images.size, config.images.size, 3),
        classes=map(str, range(count)),
        fitted=fitted,
        fingerprint=fingerprint(hashes),
        files=hashes,
    )
    return Dataset(schema, splits)


def _split(groups: RowGroups, labels: np.ndarray, rows: np.ndarray, reader: PictureReader, pool: int) -> Split:
    near = near_rows(groups, rows, pool=pool)
    return Split({"targets": labels[rows]}, len(rows), rows=rows, origins=groups.origins, reader=reader, groups=near)


def near_rows(groups: RowGroups, rows: np.ndarray, *, pool: int) -> Groups:
    """Which of these rows, in order, are read together."""
    sizes = np.bincount(groups.numbers(rows), minlength=len(groups.groups))
    return Groups(sizes[sizes > 0], pool)


def _classes(config: Data, splits: Mapping[str, Split]) -> int:
    """How many there are in the train split, 0 and on. DataError if another split holds one that is never learned."""
    known = np.unique(splits["train"].arrays["targets"])
    for name, split in splits.items():
        odd = np.flatnonzero(~np.isin(split.arrays["targets"], known))
        if odd.size:
            raise DataError(
                f"{config.source}, split {name}: {split.where(int(odd[0]))}: class "
                f"{split.arrays['targets'][odd[0]]} is not in the train split; if the rows are sorted by class, "
                "shuffle the files once, or give valid= and test= files"
            )
    return int(known.max()) + 1 if known.size else 0


def fitted_moments(train: Split, *, leaf: str = "inputs") -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of a channel, of 64 images from each of 8 places of the train split, evenly spread.

    leaf: the name of the images among what the split reads
    """
    assert train.reader is not None
    if not train.length:
        return (), ()
    begins = np.unique(np.linspace(0, max(0, train.length - _MOMENT_ROWS), _MOMENT_GROUPS).astype(int))
    ids = np.unique(np.concatenate([np.arange(b, min(b + _MOMENT_ROWS, train.length)) for b in begins]))
    out = {name: np.zeros((len(ids), *one.shape), one.dtype) for name, one in train.reader.leaves.items()}
    out["weight"] = np.ones(len(ids), np.float32)
    train.reader.fill(train.row(ids), out, None)
    return moments(out[leaf][out["weight"] > 0])
