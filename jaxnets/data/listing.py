"""Files of media and what is known of each: from a folder with one folder a class, or from a table of paths.

ROOT/CLASS/*.wav            the class is the folder
ROOT/train/CLASS/*.wav      splits of its own, where the folders at the top are train, valid (val, dev) and test
ROOT/*.wav                  no class, unless the names hold it
TABLE.csv                   a column `path` (relative to the table's folder), others as they are, `split` among them
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxnets.data.place import fetched_folder, locate, places
from jaxnets.data.reader import Bad
from jaxnets.data.table import reading, values
from jaxnets.errors import DataError, near
from jaxnets.remote import is_url

PATHS = ("path", "file", "filename", "file_name", "filepath")  # what a column of paths is called, if not said
LABELS = ("label", "class", "category", "target")
_SPLIT = "split"
_SAMPLED, _BLOCK = 256, 1 << 16  # files that are hashed, and how much of each


@dataclasses.dataclass(frozen=True, eq=False)
class Listing:
    """Files in a fixed order: sorted by path, or as their table has them.

    paths:   relative to `root`, with /
    labels:  (n,) class numbers, or None where nothing says what a file is
    classes: their names; whole numbers in order of value, words in order of the alphabet
    splits:  of each file train, valid or test; empty where the source has no splits of its own
    columns: what else is known of each file, as text
    """

    root: Path
    paths: tuple[str, ...]
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    columns: Mapping[str, tuple[str | None, ...]] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.paths)

    def file(self, index: int) -> Path:
        """Where file `index` lies."""
        return self.root / self.paths[index]

    def take(self, indices: Sequence[int]) -> Listing:
        """These files alone; the classes stay."""
        return dataclasses.replace(
            self,
            paths=tuple(self.paths[i] for i in indices),
            labels=None if self.labels is None else self.labels[np.asarray(indices, np.int64)],
            splits=tuple(self.splits[i] for i in indices) if self.splits else (),
            columns={name: tuple(column[i] for i in indices) for name, column in self.columns.items()},
        )

    def known_by(self) -> dict[str, str]:
        """{root: sha256} of every path, size and label, and of the beginnings of up to 256 files evenly among them."""
        digest = hashlib.sha256()
        sampled = set(np.linspace(0, len(self) - 1, min(len(self), _SAMPLED)).astype(int).tolist())
        for index, path in enumerate(self.paths):
            label = None if self.labels is None else self.classes[self.labels[index]]
            digest.update(f"{path}|{self.file(index).stat().st_size}|{label}\n".encode())
            if index in sampled:
                with open(self.file(index), "rb") as file:
                    digest.update(file.read(_BLOCK))
        return {self.root.name: digest.hexdigest()}


def list_files(
    name: str,
    *,
    kind: str,
    suffixes: Sequence[str],
    bad: Bad,
    path_column: str | None = None,
    label_column: str | None = None,
    text_column: str | None = None,
) -> Listing:
    """The files of a folder, here, in JAXNETS_DATA or at a URL, or those of a table, here or in JAXNETS_DATA.

    kind:     of the source, for messages: audio, images
    suffixes: in lower case with their dot; of a folder other files are passed over
    bad:      is told the rows of a table that name no such file or have no label
    path_column, label_column: of a table; None = the first of PATHS and of LABELS that it has; no label is allowed then
    text_column: of a table, in which each row says something of its file; then a file may stand in several rows, and no
                 column is a label

    Raises DataError naming the place, or the file and row, and what would be allowed.
    """
    root = folder(name)
    if root is not None:
        return _of_folder(root, kind, suffixes)
    if is_url(name):
        raise DataError(f"{kind}:{name}: files are fetched from a URL with their folder; give the folder itself")
    table = locate(name) if Path(name).suffix.lower() in reading.SUFFIXES else None
    if table is None:
        tables = ", ".join(reading.SUFFIXES)
        raise DataError(
            f"{kind}:{name}: there is no such folder here or in JAXNETS_DATA, nor a table; give a folder with one "
            f"folder a class, or a table of paths that ends in {tables}"
        )
    if text_column is not None:
        return _of_table(table, kind, suffixes, bad, path_column, text_column, pairs=True)
    return _of_table(table, kind, suffixes, bad, path_column, label_column)


def folder(name: str) -> Path | None:
    """The folder `name`, from here, from JAXNETS_DATA or from a URL; None if it is in none of them."""
    for place in places(name):
        if is_url(place) and not Path(place).suffix:
            return fetched_folder(place)
        if not is_url(place) and Path(place).is_dir():
            return Path(place)
    return None


def number(words: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """(class number of each (n,), the classes), in order of value if all are whole numbers, else of the alphabet.

    >>> number(["10", "9", "10"])[0].tolist(), number(["b", "a"])[1]
    ([1, 0, 1], ('a', 'b'))
    """
    kinds = set(words)
    whole = all(word.removeprefix("-").isdecimal() for word in kinds)
    classes = tuple(sorted(kinds, key=lambda word: (int(word), word) if whole else word))
    places_of = {word: place for place, word in enumerate(classes)}
    return np.array([places_of[word] for word in words], np.int32), classes


def _of_folder(root: Path, kind: str, suffixes: Sequence[str]) -> Listing:
    paths = sorted(_files_below(root, suffixes))
    if not paths:
        raise DataError(f"{root} holds no file that ends in {', '.join(suffixes)}; give a folder with {kind} files")
    parts = [path.split("/") for path in paths]
    splits = _reserved(parts)
    inner = [part[1:] for part in parts] if splits else parts
    loose = [path for path, part in zip(paths, inner, strict=True) if len(part) == 1]
    if len(loose) == len(paths):
        return Listing(root, tuple(paths), splits=splits)
    if loose:
        raise DataError(f"{root / loose[0]} lies in no folder of a class, as other files do; move it into one")
    labels, classes = number([part[0] for part in inner])
    return Listing(root, tuple(paths), labels, classes, splits)


def _reserved(parts: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The split of each file if all folders at the top are splits, train among them; else nothing."""
    tops = {part[0] if len(part) > 1 else "" for part in parts}
    if "train" not in tops or not all(top in reading.SPLITS for top in tops):
        return ()
    return tuple(reading.SPLITS[part[0]] for part in parts)


def _files_below(root: Path, suffixes: Sequence[str]) -> Iterator[str]:
    """Relative paths of visible files of these kinds; a folder of a class may be a link, folders in it may not."""
    tops = [root, *(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))]
    for top in tops:
        for where, folders, names in os.walk(top):
            folders[:] = [] if top == root else [name for name in folders if not name.startswith(".")]
            for name in names:
                if not name.startswith(".") and Path(name).suffix.lower() in suffixes:
                    yield (Path(where) / name).relative_to(root).as_posix()


def _of_table(
    table: Path,
    kind: str,
    suffixes: Sequence[str],
    bad: Bad,
    path_column: str | None,
    label_column: str | None,
    *,
    pairs: bool = False,
) -> Listing:
    columns = _columns(table)
    paths = columns.pop(_chosen(table, columns, path_column, PATHS, "paths") or "")
    label = _chosen(table, columns, label_column, LABELS, "labels")
    given, lacks = columns.get(label) if label else None, "has no text" if pairs else "has no label"
    wrong = [
        _wrong_path(path, table.parent, suffixes) or (lacks if given and given[row] is None else None)
        for row, path in enumerate(paths)
    ]
    seen: dict[str, int] = {}
    for row, path in enumerate(() if pairs else paths):
        if wrong[row] is None and seen.setdefault(os.path.normpath(str(path)), row) != row:
            wrong[row] = f"{path} stands in row {seen[os.path.normpath(str(path))]} already"
    for row in range(len(paths)):
        if wrong[row] is not None:
            bad(f"{table}, row {row}", wrong[row])
    rows = [row for row, why in enumerate(wrong) if why is None]
    if not rows:
        raise DataError(f"{table} names no {kind} file that can be used; give rows with a path")
    kept = {n: tuple(column[row] for row in rows) for n, column in columns.items() if pairs or n != label}
    own = _splits_of(table, rows, kept.pop(_SPLIT)) if _SPLIT in kept else ()
    files = tuple(Path(os.path.normpath(str(paths[row]))).as_posix() for row in rows)
    if given is None or pairs:
        return Listing(table.parent, files, splits=own, columns=kept)
    labels, classes = number([str(given[row]) for row in rows])
    return Listing(table.parent, files, labels, classes, own, kept)


def _columns(table: Path) -> dict[str, list[str | None]]:
    """Every column of a table as text."""
    reader = reading.Reader(reading.Files((table,), ("",)))
    columns: dict[str, list[str | None]] = {name: [] for name in reader.names}
    for _, chunk in reader.chunks():
        for name, found in columns.items():
            found += values.texts(chunk[name]).to_pylist()
    return columns


def _chosen(table: Path, columns: Mapping[str, Any], wanted: str | None, usual: Sequence[str], what: str) -> str | None:
    """The column that is named, or the usual one; a table must have paths and may have labels."""
    if wanted is not None and wanted not in columns:
        raise DataError(f"{table} has no column {wanted}; it has {', '.join(columns)}{near(wanted, columns)}")
    found = wanted or next((name for name in usual if name in columns), None)
    if found is None and usual is PATHS:
        raise DataError(f"{table} has no column of {what}: {', '.join(usual)}; it has {', '.join(columns)}; rename one")
    return found


def _wrong_path(path: str | None, root: Path, suffixes: Sequence[str]) -> str | None:
    """Why a path of a table cannot be used, or None."""
    if path is None:
        return "has no path"
    inside = os.path.normpath(path)
    if os.path.isabs(inside) or inside.split(os.sep)[0] == os.pardir:
        return f"{path!r} lies outside of {root}; give paths below the table's folder, relative to it"
    if Path(inside).suffix.lower() not in suffixes:
        return f"{path!r} does not end in {', '.join(suffixes)}"
    return None if (root / inside).is_file() else f"{path!r} is not there"


def _splits_of(table: Path, rows: Sequence[int], words: Sequence[str | None]) -> tuple[str, ...]:
    for row, word in zip(rows, words, strict=True):
        if str(word).lower() not in reading.SPLITS:
            raise DataError(f"{table}, row {row}: split {word!r} is not known; use {', '.join(reading.SPLITS)}")
    return tuple(reading.SPLITS[str(word).lower()] for word in words)
