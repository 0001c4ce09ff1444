"""`table:PATH`: rows of a CSV, TSV, Parquet, Arrow or JSON-lines file, or of many, with the target named in the config.

The table is gone through three times: for the targets, for what is fitted on the train rows, and to encode all rows.
What fits into memory is read once; what does not stays on the disk, before and after it is encoded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

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
    return read_together(config, (name,))[0]


def read_together(config: Data, names: Sequence[str]) -> list[Dataset]:
    """Tables of the same columns, each with splits of its own; what is fitted is fitted to the train rows of all.

    Classes, too, are those that any of them has. Raises ConfigError and DataError as `read` does.
    """
    found = [reading.find(name) for name in names]
    files = reading.Files(
        tuple(path for one in found for path in one.paths), tuple(split for one in found for split in one.splits)
    )
    if twice := sorted({str(path) for path in files.paths if files.paths.count(path) > 1}):
        raise ConfigError(f"{config.source} holds {twice[0]} more than once; name each file once")
    reader = reading.Reader(files, on_bad=config.on_bad, most_bad=config.most_bad)
    wanted = targets.names_of(config.target, reader.names, config.source)
    types = kinds_of(config.columns.types, reader.names, labels=wanted)
    target, lengths = _targets(config, reader, wanted, types)
    origins = _origins(files, lengths)
    tables = _tables(found, lengths, tuple(f"table:{name}" for name in names))
    rows = {(one.number, split): ids for one in tables for split, ids in _rows(config, reader, target, one).items()}
    for one in tables:
        if len(rows[one.number, "train"]) == 0:
            raise DataError(f"{one.source}: the train split is empty; lower data.valid and data.test")
    train = np.concatenate([rows[one.number, "train"] for one in tables])
    features = [column for column in reader.names if column not in wanted]
    columns = _fitted(config, reader, features, types, train, origins)
    if not any(column.used for column in columns):
        dropped = ", ".join(f"{column.name} ({column.reason})" for column in columns[:8])
        raise DataError(f"{config.source} has no column to learn from: {dropped}; keep one with data.columns.types")
    hashes = {one.number: reading.hashes(one.files) for one in tables}
    known = {f"{file}{number or ''}": key for number, own in hashes.items() for file, key in own.items()}
    stored = {_place(split, number): ids for (number, split), ids in rows.items()}
    inputs = _encoded(reader, columns, stored, origins, fingerprint({**known, "columns": str(columns)}))
    schema = _schema(target, columns, train)
    parts = []
    for one in tables:
        own = {split: rows[one.number, split] for split in ("train", "valid", "test")}
        of_own = dataclasses.replace(
            schema,
            source=one.source,
            fingerprint=fingerprint({**hashes[one.number], "target": ",".join(wanted)}),
            counts=tuple((split, len(ids)) for split, ids in own.items()),
            files=tuple(hashes[one.number].items()),
        )
        files_of = tuple((path, row - one.start) for path, row in origins if one.start <= row < one.stop)
        splits = {}
        for split, ids in own.items():
            arrays = {"inputs": inputs[_place(split, one.number)], "targets": target.values[ids]}
            splits[split] = Split(arrays, len(ids), rows=ids - one.start, origins=files_of)
        parts.append(Dataset(of_own, splits))
    return parts


def _place(split: str, number: int) -> str:
    """The name under which a split of a table is kept."""
    return f"{split}{number or ''}"


class _Table(NamedTuple):
    """One of the tables that are read together: rows `start` to `stop` of all.

    splits: where the names of its files say so, {name: (first row, last row + 1)}, counted from `start`
    """

    number: int
    source: str
    files: reading.Files
    start: int
    stop: int
    splits: Mapping[str, tuple[int, int]]


def _tables(found: Sequence[reading.Files], lengths: Sequence[int], sources: Sequence[str]) -> list[_Table]:
    tables, start, first = [], 0, 0
    for number, (files, source) in enumerate(zip(found, sources, strict=True)):
        stop, splits = start, dict[str, tuple[int, int]]()
        for split, length in zip(files.splits, lengths[first:], strict=False):
            begin, stop = stop - start, stop + length
            if split:
                splits[split] = (splits.get(split, (begin, 0))[0], stop - start)
        tables.append(_Table(number, source, files, start, stop, splits))
        start, first = stop, first + len(files.paths)
    return tables


def _origins(files: reading.Files, lengths: Sequence[int]) -> tuple[tuple[str, int], ...]:
    """(file, its first row) of each file that has rows."""
    starts = np.cumsum([0, *lengths[:-1]]).tolist()
    return tuple((p.name, start) for p, start, n in zip(files.paths, starts, lengths, strict=True) if n)


def _schema(target: targets.Target, columns: Sequence[Column], train: np.ndarray) -> Schema:
    """What all of the tables have in common."""
    real = target.kind == "real"
    mean, std = moments(target.values[train]) if real else ((), ())
    return Schema(
        source="",
        fingerprint="",
        input_kind="table",
        input_shape=(sum(column.used for column in columns),),
        input_dtype="float32",
        target_kind=target.kind,
        feature_names=tuple(column.name for column in columns if column.used),
        classes=target.classes,
        target_names=target.names if real else (),
        target_mean=mean,
        target_std=std,
        parts=encoding.parts(columns),
        columns=tuple(columns),
    )


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
) -> tuple[targets.Target, list[int]]:
    """(targets of all rows, how many rows each file has)."""
    import pyarrow

    chunks, lengths = [], dict.fromkeys(reader.files.paths, 0)
    for path, chunk in reader.chunks(list(wanted)):
        lengths[path] += chunk.num_rows
        chunks.append(chunk)
    if not any(lengths.values()):
        raise DataError(f"{reader.files.paths[0]} holds no rows; give a file with a header and rows")
    rows = [lengths[path] for path in reader.files.paths]
    origins = _origins(reader.files, rows)
    table = pyarrow.concat_tables(chunks, promote_options="permissive")
    try:
        found = targets.read(table, wanted, types, config.columns.classes)
    except targets.BadTarget as error:
        raise DataError(f"{_where(origins, error.index)}: {error}; correct it") from error
    except DataError as error:
        raise DataError(f"{config.source}: {error}") from error
    _check_given(config, found, origins, wanted)
    if found.kind == "class" and len(found.classes) < 2:
        raise DataError(
            f"{config.source}: target {wanted[0]} is always {found.classes[0] if found.classes else 'missing'}; "
            "there is nothing to learn, choose another column"
        )
    return found, rows


def _check_given(config: Data, target: targets.Target, origins: Any, wanted: Sequence[str]) -> None:
    missing = np.flatnonzero(~target.given)
    if missing.size == 0:
        return
    first = int(missing[0])
    where = f"{_where(origins, first)} has no {' and no '.join(wanted)}"
    if first in target.strays:
        where = f"{_where(origins, first)}: target {wanted[0]} is {target.strays[first]!r}, where others are numbers"
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


def _rows(config: Data, reader: reading.Reader, target: targets.Target, table: _Table) -> dict[str, np.ndarray]:
    """Rows of each split of a table, without those that have no target."""
    config = dataclasses.replace(config, source=table.source)
    values_of, given = target.values[table.start : table.stop], target.given[table.start : table.stop]
    if table.splits or config.split_by == "random":
        labels = np.maximum(values_of, 0) if target.kind == "class" else values_of
        rows = split_rows(config, labels, target.classes if target.kind == "class" else (), table.splits)
    else:
        rows = split_by(config, len(given), lambda name: _column(config, reader, name)[table.start : table.stop])
    return {split: table.start + ids[given[ids]] for split, ids in rows.items()}


def _column(config: Data, reader: reading.Reader, name: str) -> list[Any]:
    if name not in reader.names:
        hint = near(name, reader.names)
        raise ConfigError(f"data.split_by {config.split_by}: {name} is no column of {config.source}{hint}")
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
