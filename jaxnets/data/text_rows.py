"""Texts as they stand in files, each with its label: rows of tables, lines of JSON, or a file each in a folder.

A text that is empty, wrongly encoded or without its label is a bad row: it is named by file and row, and stops or is
left out as `data.on_bad` says.
"""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxnets.data.place import places
from jaxnets.data.reader import Bad
from jaxnets.data.shards import files_of
from jaxnets.data.table import reading
from jaxnets.errors import ConfigError, DataError, near
from jaxnets.files import hash_file
from jaxnets.remote import is_url

if TYPE_CHECKING:
    from jaxnets.data.source import Data

_TEXTS = (".csv", ".tsv", ".jsonl", ".ndjson")  # read here, line by line
_BINARY = (".parquet", ".pq", ".arrow", ".feather", ".ipc")
SUFFIXES = (*_TEXTS, *_BINARY, ".txt")
_WRONG = "it is not UTF-8 text; save it as UTF-8"


class Rows(NamedTuple):
    """All texts of a source in order; one that is bad, and to be left out, is None.

    labels:  of each text; none where the source has no labels
    origins: (file, its first row), in order
    splits:  {name: (first row, last row + 1)} where the files give them
    files:   {file: sha256}
    """

    texts: list[str | None]
    labels: list[Any]
    origins: tuple[tuple[str, int], ...]
    splits: dict[str, tuple[int, int]]
    files: dict[str, str]

    def where(self, row: int) -> str:
        """A row's file and its number there, for a message."""
        name, start = next((n, s) for n, s in reversed(self.origins) if s <= row)
        return f"{name}, row {row - start}"


class _File(NamedTuple):
    path: Path
    name: str  # that it is known by
    split: str  # "" where the source does not say
    label: str | None  # of a folder's class


def read(config: Data, kind: str, name: str, *, label: str | None, bad: Bad) -> Rows:
    """The rows of `KIND:PATTERN[,valid=PATTERN][,test=PATTERN]` or `KIND:FOLDER`.

    A folder holds .txt files, a text each: in a folder for each class where there is a `label`, and those in folders
    train, valid and test where there are splits. Raises ConfigError for a column that is not there, DataError for
    files that cannot be read.
    """
    files = _files(kind, name, labelled=label is not None)
    texts, labels, origins, splits = [], [], [], {}
    for file in files:
        start = len(texts)
        origins.append((file.name, start))
        for row, (text, own) in enumerate(_rows(config, file, label)):
            where = f"{file.name}, row {row}"
            fault = _fault(text, own, label)
            if fault:
                bad(where, fault)
            texts.append(None if fault else text)
            labels.append(None if fault else own)
        if file.split:
            splits[file.split] = (splits.get(file.split, (start, 0))[0], len(texts))
    if not texts:
        raise DataError(f"{kind}:{name} holds no rows; give a file with texts")
    return Rows(texts, labels, tuple(origins), splits, {file.name: hash_file(file.path) for file in files})


def texts_of(config: Data, path: Path) -> list[str]:
    """The texts of one file, to be predicted. DataError names file and row of one that is bad."""
    bad = Bad("stop", most=0)
    found = []
    for row, (text, _) in enumerate(_rows(config, _File(path, str(path), "", None), None)):
        if fault := _fault(text, None, None):
            bad(f"{path}, row {row}", fault)
        found.append(text)
    if not found:
        raise DataError(f"{path} holds no rows; give a file with texts")
    return found


def _fault(text: Any, own: Any, label: str | None) -> str:
    """What is wrong with a row, or nothing."""
    if isinstance(text, Wrong):
        return text.why
    if not isinstance(text, str):
        return f"its text is {'missing' if text is None else repr(text)}; it must be text"
    if _surrogates(text) or (isinstance(own, str) and _surrogates(own)):
        return _WRONG
    if not text.strip():
        return "its text is empty"
    if label is not None and own is None:
        return f"it has no {label}"
    return ""


class Wrong(NamedTuple):
    """In the place of a text, a row that could not be read."""

    why: str


def _surrogates(text: str) -> bool:
    """Whether it holds half letters: what `surrogateescape` makes of bytes that are no UTF-8, and JSON may hold."""
    return not text.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in text)


def _files(kind: str, name: str, *, labelled: bool) -> list[_File]:
    folder = next((Path(place) for place in places(name) if not is_url(place) and Path(place).is_dir()), None)
    if folder is not None:
        return _in_folder(kind, folder, labelled=labelled)
    found = files_of(kind, _braces(kind, name))
    own = len(found) > 1
    files = [_File(path, path.name, split if own else "", None) for split, paths in found.items() for path in paths]
    for file in files:
        if file.path.suffix.lower() not in SUFFIXES or (labelled and file.path.suffix.lower() == ".txt"):
            allowed = ", ".join(SUFFIXES[:-1] if labelled else SUFFIXES)
            raise DataError(f"{file.path} is no file of texts; give one that ends in {allowed}, or a folder of .txt")
    return files


def _braces(kind: str, name: str) -> str:
    """`a_{train,dev,test}.tsv` as `a_train.tsv,valid=a_dev.tsv,test=a_test.tsv`; what has no braces as it is.

    >>> _braces("texts", "a_{train,dev}.tsv")
    'a_train.tsv,valid=a_dev.tsv'
    """
    before, brace, rest = name.partition("{")
    if not brace:
        return name
    inner, _, after = rest.partition("}")
    words = {reading.SPLITS.get(word.strip(), ""): f"{before}{word.strip()}{after}" for word in inner.split(",")}
    if "" in words or "train" not in words or "," in before + after:
        raise ConfigError(
            f"data.source {kind}:{name}: {{{inner}}} must name splits, train among them; allowed are "
            f"{', '.join(reading.SPLITS)}"
        )
    return ",".join([words.pop("train"), *(f"{split}={pattern}" for split, pattern in words.items())])


def _in_folder(kind: str, folder: Path, *, labelled: bool) -> list[_File]:
    paths = sorted(path for path in folder.rglob("*.txt") if path.is_file())
    splits = {path.relative_to(folder).parts[0] for path in paths} <= reading.SPLITS.keys()
    files = []
    for path in paths:
        *parents, _ = parts = path.relative_to(folder).parts
        inner = parents[1:] if splits else parents
        if labelled and len(inner) != 1:
            raise DataError(f"{kind}:{folder}: {path} stands in no folder of a class; give FOLDER/CLASS/FILE.txt, "
                            "or FOLDER/SPLIT/CLASS/FILE.txt")  # fmt: skip
        split = reading.SPLITS[parts[0]] if splits else ""
        files.append(_File(path, "/".join(parts), split, inner[0] if labelled else None))
    if not files:
        raise DataError(f"{kind}:{folder} holds no .txt files; give a folder of texts")
    if splits and not any(file.split == "train" for file in files):
        raise DataError(f"{kind}:{folder} has no folder train; give one")
    return sorted(files, key=lambda file: ("train", "valid", "test", "").index(file.split))


def _rows(config: Data, file: _File, label: str | None) -> Iterator[tuple[Any, Any]]:
    """(text, label) one after the other."""
    suffix = file.path.suffix.lower()
    if suffix == ".txt":
        text = file.path.read_bytes().decode("utf-8-sig", "surrogateescape")
        yield text, file.label
    elif suffix in (".csv", ".tsv"):
        yield from _separated(config, file.path, label)
    elif suffix in (".jsonl", ".ndjson"):
        yield from _json(config, file.path, label)
    elif suffix in _BINARY:
        names = [config.texts.column, *([label] if label is not None else [])]
        reader = reading.Reader(reading.Files((file.path,), ("",)))
        _check_names(file.path, names, reader.names)
        for _, chunk in reader.chunks(names):
            yield from zip(chunk[names[0]].to_pylist(), chunk[names[-1]].to_pylist(), strict=True)
    else:
        raise DataError(f"{file.path} is no file of texts; give one that ends in {', '.join(SUFFIXES)}")


def _separated(config: Data, path: Path, label: str | None) -> Iterator[tuple[Any, Any]]:
    """Rows of a CSV file, or of a TSV file, where a quotation mark is a sign like any other."""
    tsv = path.suffix.lower() == ".tsv"
    how: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if tsv else {}
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
        rows = (row for row in csv.reader(lines, **how) if row)
        number = -1
        try:
            first = next(rows, [])
            names = [name.strip() for name in first] if config.texts.header else [str(i) for i in range(len(first))]
            wanted = [config.texts.column, *([label] if label is not None else [])]
            _check_names(path, wanted, names, header=config.texts.header)
            at = [names.index(name) for name in wanted]
            for row in rows if config.texts.header else itertools.chain([first], rows):
                number += 1
                if len(row) != len(names):
                    yield Wrong(f"it has {len(row)} values, where the first line has {len(names)}"), None
                else:
                    yield row[at[0]], _given(row[at[-1]])
        except csv.Error as error:
            raise DataError(f"{path}, row {number + 1}: {error}; correct it, or save it as JSON lines") from error


def _given(label: str) -> str | None:
    return label.strip() or None


def _check_names(path: Path, wanted: Sequence[str], names: Sequence[str], *, header: bool = True) -> None:
    for index, name in enumerate(wanted):
        if name not in names:
            key = "data.target" if index else "data.texts.column"
            more = "; if its first line names no columns, set data.texts.header false" if header else ""
            found = ", ".join(name[:40] for name in names[:8])
            raise ConfigError(f"{key} {name!r} is no column of {path}, which has {found}{near(name, names)}{more}")


def _json(config: Data, path: Path, label: str | None) -> Iterator[tuple[Any, Any]]:
    with open(path, encoding="utf-8-sig", errors="surrogateescape") as lines:
        for line in lines:
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                yield Wrong(f"it is no JSON ({error})"), None
                continue
            if not isinstance(row, dict) or config.texts.column not in row:
                yield Wrong(f"it has no {config.texts.column!r}"), None
            else:
                yield row[config.texts.column], None if label is None else row.get(label)
