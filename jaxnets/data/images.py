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
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxnets.data.order import Groups
from jaxnets.data.picture_reader import PictureReader
from jaxnets.data.reader import Bad
from jaxnets.data.schema import Dataset, Schema, Split, moments
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
    """`groups(row) -> bytes`: the encoded images of the row groups of some files, one file after the other.

    pool: examples that are shuffled among each other; about two pools are held in memory
    """

    def __init__(self, paths: list[Path], pool: int) -> None:
        self.paths, self.pool = paths, pool
        self.labels, self.groups = _scan(paths)
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

    def __call__(self, row: int) -> bytes:
        number, within = self._place(row)
        given = self._group(number)[within].as_py()
        return given["bytes"] if isinstance(given, dict) else given

    def where(self, row: int) -> str:
        number, within = self._place(row)
        return f"{self.groups[number].path}, row {self.groups[number].first + within}"

    def _place(self, row: int) -> tuple[int, int]:
        number = bisect_right(self._starts, row) - 1
        return number, row - self._starts[number]

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
            mine.set_result(_encoded(self.groups[number]))
        except Exception as error:
            with self._lock:
                self._held.pop(number, None)
            mine.set_exception(error)
        return mine.result()


def _scan(paths: list[Path]) -> tuple[np.ndarray, list[RowGroup]]:
    """(labels of all rows, all row groups); of the images nothing is read."""
    import pyarrow
    from pyarrow import parquet

    labels, groups = [], []
    for path in paths:
        try:
            file = parquet.ParquetFile(path)
            missing = {"image", "label"} - set(file.schema_arrow.names)
            if missing:
                names = ", ".join(file.schema_arrow.names)
                raise DataError(f"{path} has no column {', '.join(sorted(missing))}; it has {names}")
            own = file.read(columns=["label"])["label"].to_pylist()
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} is not a readable parquet file: {error}; restore it") from error
        for row, label in enumerate(own):
            if not isinstance(label, int) or not 0 <= label < _MOST_CLASSES:
                raise DataError(f"{path}, row {row}: label {label!r} is not a class number; correct or remove it")
        labels.append(np.asarray(own, np.int32))
        first = 0
        for number in range(file.num_row_groups):
            rows = file.metadata.row_group(number).num_rows
            groups.append(RowGroup(path, number, rows, first))
            first += rows
    return np.concatenate(labels), groups


def _encoded(group: RowGroup) -> Any:
    """Arrow's array of the images of a group, each bytes or {"bytes": …}, without a copy of each."""
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(group.path) as file:
            return file.read_row_group(group.number, columns=["image"], use_threads=False)["image"]
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
    groups = {split: RowGroups(paths, config.images.pool) for split, paths in files.items()}
    totals = {split: len(own.labels) for split, own in groups.items()}
    readers = {
        split: PictureReader(
            own, own.where, config.images, bad, rows=totals[split], share=totals[split] / sum(totals.values())
        )
        for split, own in groups.items()
    }
    splits = {
        split: _split(groups.get(split, groups["train"]), readers.get(split, readers["train"]), *ends)
        for split, ends in bounds(config, totals).items()
    }
    count = _classes(config, splits)
    mean, std = fitted_moments(splits["train"]) if config.standardize else ((), ())
    hashes = known_by([path for paths in files.values() for path in paths])
    schema = Schema(
        source=config.source,
        fingerprint=fingerprint(hashes),
        input_kind="image",
        input_shape=(config.images.size, config.images.size, 3),
        input_dtype="uint8",
        target_kind="class",
        input_mean=mean,
        input_std=std,
        classes=tuple(map(str, range(count))),
        counts=tuple((split, part.length) for split, part in splits.items()),
        files=tuple(hashes.items()),
    )
    return Dataset(schema, splits)


def _split(rows: RowGroups, reader: PictureReader, first: int, last: int) -> Split:
    sizes = np.diff(np.clip(rows.starts, first, last))
    return Split(
        {"targets": rows.labels[first:last]},
        last - first,
        first=first,
        origins=rows.origins,
        reader=reader,
        groups=Groups(sizes[sizes > 0], rows.pool),
    )


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


def fitted_moments(train: Split) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of a channel, of 64 images from each of 8 places of the train split, evenly spread."""
    assert train.reader is not None
    if not train.length:
        return (), ()
    begins = np.unique(np.linspace(0, max(0, train.length - _MOMENT_ROWS), _MOMENT_GROUPS).astype(int))
    ids = np.unique(np.concatenate([np.arange(b, min(b + _MOMENT_ROWS, train.length)) for b in begins]))
    out = {name: np.zeros((len(ids), *leaf.shape), leaf.dtype) for name, leaf in train.reader.leaves.items()}
    out["weight"] = np.ones(len(ids), np.float32)
    train.reader.fill(train.row(ids), out, None)
    return moments(out["inputs"][out["weight"] > 0])
