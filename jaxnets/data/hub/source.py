"""`hf:NAME`: pictures with a class of a Hugging Face data set, decoded while training, or its columns as a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxnets.data.cache import prepared
from jaxnets.data.hub.opening import files_of, library, opened
from jaxnets.data.images import fitted_moments
from jaxnets.data.listing import LABELS, number
from jaxnets.data.partition import split_rows
from jaxnets.data.picture_reader import PictureReader
from jaxnets.data.pictures import BadPicture
from jaxnets.data.reader import Bad
from jaxnets.data.schema import Dataset, Split, pixel_schema
from jaxnets.data.table import source as table
from jaxnets.errors import ConfigError, DataError, near
from jaxnets.files import fingerprint

if TYPE_CHECKING:
    from jaxnets.data.source import Data


def read(config: Data, name: str) -> Dataset:
    """The source `hf:name`. ConfigError says what is wrong in the config; DataError names split, row and column."""
    splits = opened(name)
    features: dict[str, Any] = dict(next(iter(splits.values())).features)
    for split, part in splits.items():
        if dict(part.features) != features:
            raise DataError(f"hf:{name}: the columns of split {split} are not those of train; make them equal")
    if config.target is not None and not set(config.target.split(",")) <= features.keys():
        raise ConfigError(f"data.target {config.target} is no column of hf:{name}{near(config.target, features)}")
    pictures = [key for key, kind in features.items() if type(kind).__name__ == "Image"]
    if len(pictures) > 1:
        raise DataError(f"hf:{name} has several columns of images: {', '.join(pictures)}; leave one (select_columns)")
    if pictures:
        return _pictures(config, name, splits, pictures[0])
    return _table(config, name, splits, features)


def _target(config: Data, name: str, features: Mapping[str, Any]) -> str:
    """The column of the classes: as given, the only ClassLabel, or what is called label."""
    labels = [key for key, kind in features.items() if type(kind).__name__ == "ClassLabel"]
    usual = [key for key in LABELS if key in features]
    found = config.target or (labels[0] if len(labels) == 1 else next(iter(usual), None))
    if found is None:
        raise ConfigError(f"data.target is none, but hf:{name} has the columns {', '.join(features)}; name the target")
    return found


def _table(config: Data, name: str, splits: Mapping[str, Any], features: Mapping[str, Any]) -> Dataset:
    """Its columns, written as Parquet into the cache once, with the names of its classes in place of their numbers."""
    target = config.target or _target(config, name, features)
    files = files_of(splits)

    def write(folder: Any) -> None:
        from pyarrow import parquet

        for split, part in splits.items():
            parquet.write_table(_arrow(name, part, features), folder / f"{split or 'all'}.parquet")

    folder = prepared(f"hf/table-{fingerprint({**files, 'features': str(features)})[:16]}", write)
    words = "all" if "" in splits else f"{{{','.join(splits)}}}"
    return table.read(dataclasses.replace(config, target=target), f"{folder}/{words}.parquet")


def _arrow(name: str, part: Any, features: Mapping[str, Any]) -> Any:
    import pyarrow

    found = part.with_format("arrow")[:]
    for place, (key, kind) in enumerate(features.items()):
        column = found[key]
        if type(kind).__name__ == "ClassLabel":
            codes = pyarrow.array([None if code is None or code < 0 else code for code in column.to_pylist()], "int32")
            found = found.set_column(place, key, pyarrow.array(kind.names, "string").take(codes))
        elif pyarrow.types.is_nested(column.type) or isinstance(column.type, pyarrow.BaseExtensionType):
            raise DataError(f"hf:{name}: column {key} holds {column.type}; a table holds one value a row: remove it")
    return found.replace_schema_metadata(None)


class Encoded:
    """The bytes of the pictures of several splits, numbered one split after the other."""

    def __init__(self, splits: Mapping[str, Any], column: str) -> None:
        with library() as datasets:
            parts = [part.select_columns([column]) for part in splits.values()]
            self._parts = [part.cast_column(column, datasets.Image(decode=False)) for part in parts]
        self._column, self._names = column, list(splits)
        self.starts = np.cumsum([0, *map(len, self._parts)])

    def __call__(self, row: int) -> bytes:
        place = int(np.searchsorted(self.starts, row, side="right")) - 1
        value = self._parts[place][int(row - self.starts[place])][self._column]
        if value is None or value["bytes"] is None:
            raise BadPicture("there are no bytes")
        return value["bytes"]

    def where(self, row: int) -> str:
        place = int(np.searchsorted(self.starts, row, side="right")) - 1
        return f"{self._names[place] or 'the data set'}, row {row - self.starts[place]}"


def _pictures(config: Data, name: str, splits: Mapping[str, Any], column: str) -> Dataset:
    features = next(iter(splits.values())).features
    target = _target(config, name, features)
    labels, classes = _labels(name, splits, target)
    encoded = Encoded(splits, column)
    bad = Bad(config.on_bad, most=config.most_bad)
    reader = PictureReader(encoded, encoded.where, config.images, bad, rows=len(labels))
    bounds = encoded.starts.tolist()
    ranges = {split: (bounds[i], bounds[i + 1]) for i, split in enumerate(splits) if split}
    origins = tuple((split or config.source, bounds[i]) for i, split in enumerate(splits))
    rows = split_rows(config, labels, classes, ranges)
    dealt = {
        split: Split({"targets": labels[ids]}, len(ids), rows=ids, origins=origins, reader=reader)
        for split, ids in rows.items()
    }
    fitted = fitted_moments(dealt["train"]) if config.standardize else ((), ())
    files = files_of(splits)
    schema = pixel_schema(
        config.source,
        dealt,
        shape=(config.images.size, config.images.size, 3),
        classes=classes,
        fitted=fitted,
        fingerprint=fingerprint({**files, "target": target}),
        files=files,
    )
    return Dataset(schema, dealt)


def _labels(name: str, splits: Mapping[str, Any], target: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """(class number of every row (n,), the classes); DataError names the first row without one."""
    found: list[Any] = []
    for split, part in splits.items():
        own: Sequence[Any] = part.select_columns([target])[:][target]
        for row, value in enumerate(own):
            if value is None or isinstance(value, float | list | dict) or value == -1:
                raise DataError(
                    f"hf:{name}, {split or 'the data set'}, row {row}: {target} {value!r} is no class; choose another "
                    "column, or leave out splits without labels"
                )
        found += own
    kind = next(iter(splits.values())).features[target]
    if type(kind).__name__ == "ClassLabel":
        return np.asarray(found, np.int32), tuple(kind.names)
    labels, classes = number([str(value) for value in found])
    return labels, classes
