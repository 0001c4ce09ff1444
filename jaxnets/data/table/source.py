"""`table:PATH`: rows of a CSV, TSV, Parquet, Arrow or JSON-lines file, or of many, with the target named in the config.

The table is gone through three times: for the targets, for what is fitted on the train rows, and to encode all rows.
What fits into memory is read once; what does not stays on the disk, before and after it is encoded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxnets.data.partition import split_rows
from jaxnets.data.schema import Dataset, Schema, Split, moments
from jaxnets.data.table import encoding, fitting, reading, stored, targets, values
from jaxnets.data.table.columns import KINDS, Column
from jaxnets.data.table.splitting import split_by
from jaxnets.errors import ConfigError, DataError, near
from jaxnets.files import fingerprint

if TYPE_CHECKING:
    from jaxnets.data.source import Data

_SAMPLE = 200_000  # train rows that columns are fitted to; of more, an even share


def read(config: Data, name: str) -> Dataset:
    """The source `table:name`. ConfigError says what is wrong in the config; DataError names file and row."""
    files = reading.find(name)
    reader = reading.Reader(files, on_bad=config.on_bad, most_bad=config.most_bad)
    wanted = targets.names_of(config.target, reader.names, config.source)
    types = kinds_of(config.columns.types, reader.names, labels=wanted)
    target, origins, own = _targets(config, reader, wanted, types)
    rows = _rows(config, reader, target, own)
    if len(rows["train"]) == 0:
        raise DataError(f"{config.source}: the train split is empty; lower data.valid and data.test")
    features = [column for column in reader.names if column not in wanted]
    columns = _fitted(config, reader, features, types, rows["train"], origins)
    if not any(column.used for column in columns):
        dropped = ", ".join(f"{column.name} ({column.reason})" for column in columns[:8])
        raise DataError(f"{config.source} has no column to learn from: {dropped}; keep one with data.columns.types")
    hashes = reading.hashes(files)
    inputs = _encoded(reader, columns, rows, origins, fingerprint({**hashes, "columns": str(columns)}))
    arrays = {split: {"inputs": inputs[split], "targets": target.values[ids]} for split, ids in rows.items()}
    real = target.kind == "real"
    mean, std = moments(target.values[rows["train"]]) if real else ((), ())
    schema = Schema(
        source=config.source,
        fingerprint=fingerprint({**hashes, "target": ",".join(wanted)}),
        input_kind="table",
        input_shape=(sum(column.used for column in columns),),
        input_dtype="float32",
        target_kind=target.kind,
        feature_names=tuple(column.name for column in columns if column.used),
        classes=target.classes,
        target_names=target.names if real else (),
        target_mean=mean,
        target_std=std,
        counts=tuple((split, len(ids)) for split, ids in rows.items()),
        files=tuple(hashes.items()),
        parts=encoding.parts(columns),
        columns=tuple(columns),
    )
    splits = {n: Split(arrays[n], len(ids), rows=ids, origins=origins) for n, ids in rows.items()}
    return Dataset(schema, splits)


def kinds_of(types: Sequence[str], names: Sequence[str], *, labels: Sequence[str] = ()) -> dict[str, str]:
    """`NAME:kind` pairs as a dict; ConfigError for a column or a kind that is not there."""
    found = {}
    for pair in types:
        name, colon, kind = pair.rpartition(":")
        allowed = (*KINDS, "labels") if name in labels else KINDS
        if not colon or name not in names:
            raise ConfigError(
                f"data.columns.types {pair!r} is not allowed; give NAME:KIND with a column of the table"
                f"{near(name or pair, names)}"
            )
        if kind not in allowed:
            raise ConfigError(
                f"data.columns.types {pair!r}: {kind!r} is no kind; use one of {', '.join(allowed)}"
                f"{near(kind, allowed)}"
            )
        found[name] = kind
    return found


def _targets(
    config: Data, reader: reading.Reader, wanted: Sequence[str], types: Mapping[str, str]
) -> tuple[targets.Target, tuple[tuple[str, int], ...], dict[str, tuple[int, int]]]:
    """(targets of all rows, origins, the splits that the files' names give)."""
    import pyarrow

    chunks, origins, lengths = [], [], {}
    total = 0
    for path, chunk in reader.chunks(list(wanted)):
        if path not in lengths:
            origins.append((path.name, total))
        lengths[path] = lengths.get(path, 0) + chunk.num_rows
        total += chunk.num_rows
        chunks.append(chunk)
    if total == 0:
        raise DataError(f"{reader.files.paths[0]} holds no rows; give a file with a header and rows")
    table = pyarrow.concat_tables(chunks, promote_options="permissive")
    try:
        found = targets.read(table, wanted, types, config.columns.classes)
    except targets.BadTarget as error:
        raise DataError(f"{_where(tuple(origins), error.index)}: {error}; correct it") from error
    except DataError as error:
        raise DataError(f"{config.source}: {error}") from error
    _check_given(config, found, tuple(origins), wanted)
    if found.kind == "class" and len(found.classes) < 2:
        raise DataError(
            f"{config.source}: target {wanted[0]} is always {found.classes[0] if found.classes else 'missing'}; "
            "there is nothing to learn, choose another column"
        )
    own: dict[str, tuple[int, int]] = {}
    start = 0
    for path, split in zip(reader.files.paths, reader.files.splits, strict=True):
        stop = start + lengths.get(path, 0)
        if split:
            own[split] = (own.get(split, (start, stop))[0], stop)
        start = stop
    return found, tuple(origins), own


def _check_given(config: Data, target: targets.Target, origins: Any, wanted: Sequence[str]) -> None:
    missing = np.flatnonzero(~target.given)
    if missing.size == 0:
        return
    where = f"{_where(origins, int(missing[0]))} has no {' and no '.join(wanted)}"
    if config.on_bad == "stop":
        raise DataError(
            f"{where} ({missing.size} of {len(target.given)} rows); fill it in, or leave such rows out: "
            "--data.on_bad skip"
        )
    if missing.size > config.most_bad:
        raise DataError(
            f"{where}, and {missing.size} rows are like it, more than the {config.most_bad} of data.most_bad; "
            "fill them in, or raise it"
        )


def _rows(config: Data, reader: reading.Reader, target: targets.Target, own: Any) -> dict[str, np.ndarray]:
    """Rows of each split, without those that have no target."""
    if own or config.split_by == "random":
        labels = np.maximum(target.values, 0) if target.kind == "class" else target.values
        rows = split_rows(config, labels, target.classes if target.kind == "class" else (), own)
    else:
        rows = split_by(config, len(target.given), lambda name: _column(reader, name, config.source))
    return {split: ids[target.given[ids]] for split, ids in rows.items()}


def _column(reader: reading.Reader, name: str, source: str) -> list[Any]:
    if name not in reader.names:
        raise ConfigError(f"data.split_by: {name} is no column of {source}{near(name, reader.names)}")
    return [text for _, chunk in reader.chunks([name]) for text in values.texts(chunk[name]).to_pylist()]


def _fitted(
    config: Data,
    reader: reading.Reader,
    features: Sequence[str],
    types: Mapping[str, str],
    train: np.ndarray,
    origins: tuple[tuple[str, int], ...],
) -> list[Column]:
    """What is fitted to each column, from train rows alone; of very many, from an even share."""
    import pyarrow

    taken = train if len(train) <= _SAMPLE else train[np.linspace(0, len(train) - 1, _SAMPLE).astype(np.int64)]
    parts = []
    for start, chunk in _placed(reader, features):
        low, high = np.searchsorted(taken, (start, start + chunk.num_rows))
        parts.append(chunk.take(pyarrow.array(taken[low:high] - start)))
    table = pyarrow.concat_tables(parts, promote_options="permissive")
    way, _, split_column = config.split_by.partition(":")
    columns = []
    for name in features:
        wanted = "drop" if name == split_column and way in ("column", "group") else types.get(name)
        try:
            columns.append(fitting.fit(name, table[name], wanted, config.columns))
        except values.BadValue as error:
            raise DataError(
                f"{_where(origins, int(taken[error.index]))}, column {name}: {error}; correct it"
            ) from error
    return columns


def _encoded(
    reader: reading.Reader,
    columns: Sequence[Column],
    rows: Mapping[str, np.ndarray],
    origins: tuple[tuple[str, int], ...],
    key: str,
) -> dict[str, Any]:
    """{split: arrays of the model's inputs}, in memory or, where the files are large, on the disk."""
    wanted = [column.name for column in columns if column.used]

    def encoded() -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        for start, chunk in _placed(reader, wanted):
            try:
                yield start, encoding.encode(columns, chunk, chunk.num_rows)
            except encoding.BadColumn as error:
                name = str(error).split(":", 1)[0].removeprefix("column ")
                raise DataError(
                    f"{_where(origins, start + error.index)}, {error}, as the train rows are; correct it, or set its "
                    f"kind: --data.columns.types {name}:category"
                ) from error

    parts = encoding.parts(columns)
    if reader.files.streams:
        return stored.write(encoded(), parts, rows, key)
    pieces = [arrays for _, arrays in encoded()]
    whole = {part.name: np.concatenate([piece[part.name] for piece in pieces]) for part in parts}
    return {split: {name: array[ids] for name, array in whole.items()} for split, ids in rows.items()}


def _placed(reader: reading.Reader, names: Sequence[str]) -> Iterator[tuple[int, Any]]:
    """(first row, chunk) one after the other."""
    start = 0
    for _, chunk in reader.chunks(list(names)):
        yield start, chunk
        start += chunk.num_rows


def _where(origins: tuple[tuple[str, int], ...], row: int) -> str:
    name, start = next((n, s) for n, s in reversed(origins) if s <= row)
    return f"{name}, row {row - start}"


def encode_file(path: Path, schema: Schema) -> dict[str, np.ndarray]:
    """The model's inputs for the rows of a file, by what was fitted in training. DataError names file and row."""
    reader = reading.Reader(reading.Files((path,), ("",)))
    missing = [name for name in schema.feature_names if name not in reader.names]
    if missing:
        raise DataError(
            f"{path} lacks the columns {', '.join(missing[:5])}{near(missing[0], reader.names)}; "
            f"it needs {', '.join(schema.feature_names)}"
        )
    pieces, start = [], 0
    for _, chunk in reader.chunks(list(schema.feature_names)):
        try:
            pieces.append(encoding.encode(schema.columns, chunk, chunk.num_rows))
        except encoding.BadColumn as error:
            raise DataError(f"{path}, row {start + error.index}, {error}; correct it") from error
        start += chunk.num_rows
    if start == 0:
        raise DataError(f"{path} holds no rows; give the columns {', '.join(schema.feature_names)}")
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
