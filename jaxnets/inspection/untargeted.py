"""A table of which nothing is to be learned yet: all of its rows are one split without targets."""

from __future__ import annotations

import numpy as np

from jaxnets.data import Data, Dataset, Schema, Split
from jaxnets.data.table import encoding, fitting, reading, values
from jaxnets.errors import DataError
from jaxnets.files import fingerprint
from jaxnets.inspection.view import raw


def untargeted(config: Data) -> Dataset:
    """The table of `config.source`, an even share of it if it is large. DataError names file, column and row."""
    files = reading.find(config.source.partition(":")[2])
    table, taken = raw(config, files)
    if not table.num_rows:
        raise DataError(f"{files.paths[0]} holds no rows; give a file with a header and rows")
    try:
        columns = [fitting.fit(name, table[name], None, config.columns) for name in table.column_names]
    except values.BadValue as error:
        raise DataError(f"{files.paths[0]}, row {taken[error.index]}: {error}; correct it") from error
    hashes = reading.hashes(files)
    schema = Schema(
        source=config.source,
        fingerprint=fingerprint(hashes),
        input_kind="table",
        input_shape=(sum(column.used for column in columns),),
        input_dtype="float32",
        target_kind="real",
        feature_names=tuple(column.name for column in columns if column.used),
        counts=(("train", len(taken)),),
        files=tuple(hashes.items()),
        parts=encoding.parts(columns),
        columns=tuple(columns),
    )
    inputs = encoding.encode(columns, table, table.num_rows)
    origins = _origins(config, files)
    return Dataset(schema, {"train": Split({"inputs": inputs}, len(taken), rows=np.asarray(taken), origins=origins)})


def _origins(config: Data, files: reading.Files) -> tuple[tuple[str, int], ...]:
    """(file, its first row), in order."""
    reader = reading.Reader(files, on_bad=config.on_bad, most_bad=config.most_bad)
    firsts: dict[str, int] = {}
    start = 0
    for path, chunk in reader.chunks(reader.names[:1]):
        firsts.setdefault(path.name, start)
        start += chunk.num_rows
    return tuple(firsts.items())
