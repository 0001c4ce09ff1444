"""Table files as Arrow tables, whole or chunk by chunk: CSV, TSV, Parquet, Arrow and JSON lines, one file or many."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxnets.data.place import locate_all
from jaxnets.errors import DataError
from jaxnets.files import hash_file

SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".pq", ".arrow", ".feather", ".ipc", ".jsonl", ".ndjson", ".json")
NULLS = ("", "NA", "N/A", "n/a", "nan", "NaN", "NAN", "null", "NULL", "None", "?", "#N/A", "<NA>")
SPLITS = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "dev": "valid", "test": "test"}
_BLOCK = 8 << 20  # bytes of a text file that are parsed at once
_ROWS = 1 << 16  # rows of a chunk of a binary file
_IN_MEMORY = 256 << 20  # bytes of files; larger ones are read again at every pass


class Files(NamedTuple):
    """The files of a table source in order, and the split that each belongs to where its name says so."""

    paths: tuple[Path, ...]
    splits: tuple[str, ...]  # "" where the name does not say

    @property
    def streams(self) -> bool:
        return sum(path.stat().st_size for path in self.paths) > _IN_MEMORY


def find(name: str) -> Files:
    """The files of `PATH`, `PATH*.csv` or `PATH_{train,test}.csv`, here or in JAXNETS_DATA.

    Raises DataError if there are none, or one is of a kind that is not read.
    """
    found = [(path, split) for pattern, split in _alternatives(name) for path in _located(pattern, name)]
    for path, _ in found:
        if path.suffix.lower() not in SUFFIXES:
            raise DataError(f"{path} is no table; give a file that ends in {', '.join(SUFFIXES)}")
    return Files(tuple(path for path, _ in found), tuple(split for _, split in found))


def _alternatives(name: str) -> list[tuple[str, str]]:
    """`a_{train,test}.csv` as its patterns, each with its split."""
    braces = re.search(r"\{([^{}]*)\}", name)
    if braces is None:
        return [(name, "")]
    words = [word.strip() for word in braces[1].split(",")]
    unknown = [word for word in words if word not in SPLITS]
    if unknown or "train" not in words:
        raise DataError(
            f"table:{name}: {{{braces[1]}}} must name splits, train among them; allowed are {', '.join(SPLITS)}"
        )
    return [(name[: braces.start()] + word + name[braces.end() :], SPLITS[word]) for word in words]


def _located(pattern: str, name: str) -> list[Path]:
    if found := locate_all(pattern):
        return found
    parent = Path(pattern).parent
    there = [path.name for path in parent.glob("*") if path.suffix.lower() in SUFFIXES] if parent.is_dir() else []
    more = f"; {parent} holds {', '.join(sorted(there)[:8])}" if there else ""
    raise DataError(f"table:{name}: there is no such file here or in JAXNETS_DATA{more}; give a path")


def hashes(files: Files) -> dict[str, str]:
    """{name: sha256} of the content; names are made unique by their folder where they must be."""
    names = [path.name for path in files.paths]
    unique = len(set(names)) == len(names)
    return {(path.name if unique else str(path)): hash_file(path) for path in files.paths}


class Reader:
    """Chunks of a table, in order; small tables are read once and kept.

    skipped: ragged rows that were left out so far, per file
    """

    def __init__(self, files: Files, *, on_bad: str = "stop", most_bad: int = 100) -> None:
        self.files, self.on_bad, self.most_bad = files, on_bad, most_bad
        self.names = _same_names(files.paths)
        self.skipped: dict[str, int] = {}
        self._kept: list[Any] | None = None

    def chunks(self, names: Sequence[str] | None = None) -> Iterator[tuple[Path, Any]]:
        """(file, table of these columns) one after the other."""
        if not self.files.streams:
            if self._kept is None:
                self._kept = [(path, chunk) for path in self.files.paths for chunk in self._read(path, self.names)]
            wanted = self.names if names is None else names
            yield from ((path, chunk.select(wanted)) for path, chunk in self._kept)
            return
        for path in self.files.paths:
            yield from ((path, chunk) for chunk in self._read(path, self.names if names is None else names))

    def _read(self, path: Path, names: Sequence[str]) -> Iterator[Any]:
        import pyarrow

        self.skipped.pop(str(path), None)
        try:
            for chunk in _open(path, names, self._ragged(path)):
                found = chunk.select(list(names))
                found.validate(full=True)  # a damaged file may point outside of its own bytes
                yield found
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError, KeyError) as error:
            raise DataError(_unreadable(path, error)) from error

    def _ragged(self, path: Path) -> Any:
        """What Arrow asks about a ragged row: none = it stops. It can be asked of text alone."""
        if self.on_bad == "stop" or path.suffix.lower() not in (".csv", ".tsv", ".txt"):
            return None
        if place := _bad_line(path):
            raise DataError(f"{path}{place}: it is not UTF-8 text; save it as UTF-8")

        def handle(row: Any) -> str:
            self.skipped[str(path)] = self.skipped.get(str(path), 0) + 1
            return "skip" if sum(self.skipped.values()) <= self.most_bad else "error"

        return handle


def _same_names(paths: Sequence[Path]) -> list[str]:
    """The columns of the first file; DataError names a file whose columns differ."""
    first = header(paths[0])
    for path in paths[1:]:
        names = header(path)
        if set(names) != set(first):
            odd = sorted(set(names) ^ set(first))
            raise DataError(f"{path} has other columns than {paths[0].name}: {', '.join(odd[:5])}; make them equal")
    repeated = sorted({name for name in first if first.count(name) > 1})
    if repeated:
        raise DataError(f"{paths[0]} has the column {', '.join(repeated)} more than once; rename one")
    return first


def header(path: Path) -> list[str]:
    """The names of a file's columns. DataError if it cannot be read, or is empty."""
    import pyarrow

    suffix = path.suffix.lower()
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty; give a file with a header and rows")
        if suffix in (".parquet", ".pq"):
            from pyarrow import parquet

            return list(parquet.read_schema(path).names)
        if suffix in (".arrow", ".feather", ".ipc"):
            return list(_arrow(path).schema.names)
        if suffix in (".jsonl", ".ndjson", ".json"):
            return list(next(iter(_json(path))).column_names)
        return _csv_header(path)[1]
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError, StopIteration, csv.Error) as error:
        raise DataError(_unreadable(path, error)) from error


def _csv_header(path: Path) -> tuple[str, list[str]]:
    """(delimiter, names): a tab for .tsv; else the commonest of , ; tab | in the first line."""
    with open(path, "rb") as file:
        first = file.readline(1 << 20)
    line = first.decode("utf-8-sig")
    bare = re.sub(r'"[^"]*"', "", line)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t|", key=bare.count)
    names = next(csv.reader(io.StringIO(line), delimiter=delimiter), [])
    if not any(name.strip() for name in names):
        raise DataError(f"{path} has no header; its first line must name the columns")
    return delimiter, [name.strip() or f"column{i}" for i, name in enumerate(names)]


def _open(path: Path, names: Sequence[str], ragged: Any) -> Iterator[Any]:
    import pyarrow

    suffix = path.suffix.lower()
    if suffix in (".parquet", ".pq"):
        from pyarrow import parquet

        with parquet.ParquetFile(path, memory_map=False, pre_buffer=False) as file:
            for batch in file.iter_batches(batch_size=_ROWS, columns=list(names), use_threads=False):
                yield pyarrow.Table.from_batches([batch])
    elif suffix in (".arrow", ".feather", ".ipc"):
        reader = _arrow(path)
        batches = (reader.get_batch(i) for i in range(reader.num_record_batches)) if _indexed(reader) else reader
        for batch in batches:
            yield pyarrow.Table.from_batches([batch])
    elif suffix in (".jsonl", ".ndjson", ".json"):
        yield from _json(path)
    else:
        yield from _csv(path, names, ragged)


def _csv(path: Path, wanted: Sequence[str], ragged: Any) -> Iterator[Any]:
    """Every column as text: what it is, is decided on the train split, not by what stands in a block."""
    import pyarrow
    from pyarrow import csv as arrow_csv

    delimiter, names = _csv_header(path)
    reader = arrow_csv.open_csv(
        path,
        read_options=arrow_csv.ReadOptions(column_names=names, skip_rows=1, block_size=_BLOCK, use_threads=False),
        parse_options=arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=ragged),
        convert_options=arrow_csv.ConvertOptions(
            column_types={name: pyarrow.string() for name in names},
            include_columns=list(wanted),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        ),
    )
    with reader:
        for batch in reader:
            yield pyarrow.Table.from_batches([batch])


def _json(path: Path) -> Iterator[Any]:
    from pyarrow import json as arrow_json

    yield arrow_json.read_json(path, read_options=arrow_json.ReadOptions(use_threads=False, block_size=_BLOCK))


def _arrow(path: Path) -> Any:
    import pyarrow

    source = pyarrow.memory_map(str(path))
    try:
        return pyarrow.ipc.open_file(source)
    except pyarrow.ArrowInvalid:
        source.seek(0)
        return pyarrow.ipc.open_stream(source)


def _indexed(reader: Any) -> bool:
    return hasattr(reader, "num_record_batches")


def _unreadable(path: Path, error: Exception) -> str:
    """What is wrong with a file, with the row where it can be found."""
    text = " ".join(str(error).split())[:300]
    if isinstance(error, UnicodeDecodeError) or "UTF8" in text or "utf-8" in text.lower():
        return f"{path}{_bad_line(path)}: it is not UTF-8 text; save it as UTF-8"
    ragged = re.search(r"Expected (\d+) columns, got (\d+)", text)
    if ragged:
        row = _ragged_row(path, int(ragged[1]))
        return (
            f"{path}, row {row} has {ragged[2]} values, but the header names {ragged[1]} columns; correct it, or leave "
            "such rows out: --data.on_bad skip"
        )
    return f"{path} cannot be read: {text}; correct the file"


def _bad_line(path: Path) -> str:
    with open(path, "rb") as file:
        for number, line in enumerate(file):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return f", {'header' if number == 0 else f'row {number - 1}'}"
    return ""


def _ragged_row(path: Path, columns: int) -> int:
    delimiter, _ = _csv_header(path)
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        rows = csv.reader(file, delimiter=delimiter)
        next(rows)
        full = (row for row in rows if row)
        return next((number for number, row in enumerate(full) if len(row) != columns), 0)
