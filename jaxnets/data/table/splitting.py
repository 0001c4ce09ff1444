"""Splits of a table that are not drawn by us: in order, as scikit-learn draws them, by a column, by a file of rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxnets.data import grouping
from jaxnets.data.place import locate
from jaxnets.data.table.reading import SPLITS
from jaxnets.errors import ConfigError, DataError, near

if TYPE_CHECKING:
    from jaxnets.data.source import Data

_WAYS = ("random", "order", "sklearn", "column:NAME", "file:PATH", "where:COLUMN=REGEX", "group:COLUMN")


def split_by(config: Data, length: int, column: Callable[[str], list[Any]]) -> dict[str, np.ndarray]:
    """Row numbers of each split, sorted; `column(name)` is a column as text. ConfigError for a way that is not known.

    sklearn: the test rows are those of `train_test_split(rows, test_size=data.test, random_state=data.split_seed)`
    order:   the last rows are the test split, those before them the validation split
    where:   the test rows are those whose column a regular expression fits
    group:   the test rows are whole groups, those of a fold where there are folds, and so are the valid rows
    """
    way, _, name = config.split_by.partition(":")
    if config.folds is not None and way != "group":
        raise ConfigError(
            f"data.folds {config.folds} says nothing with data.split_by {config.split_by!r}; use random or group:COLUMN"
        )
    everything = np.arange(length)
    match way, bool(name):
        case "order", False:
            test = everything[length - round(config.test * length) :]
            valid = everything[: len(everything) - len(test)]
            return _dealt(everything, test, valid[len(valid) - round(config.valid * length) :])
        case "sklearn", False:
            test = np.random.RandomState(config.split_seed).permutation(length)[: math.ceil(config.test * length)]
        case "file", True:
            test = _rows_of_file(locate(name) or Path(name), length)
        case "where", True:
            test = grouping.fitting(name, column)
        case "group", True:
            return _dealt(everything, *grouping.left_out(config, name, column(name)))
        case "column", True:
            return _by_column(name, column(name))
        case _:
            raise ConfigError(
                f"data.split_by {config.split_by!r} is not allowed; use one of {', '.join(_WAYS)}"
                f"{near(config.split_by, _WAYS)}"
            )
    rest = np.setdiff1d(everything, test)
    draw = np.random.Generator(np.random.Philox([config.split_seed, 1]))
    return _dealt(everything, test, draw.permutation(rest)[: round(config.valid * length)])


def _dealt(everything: np.ndarray, test: np.ndarray, valid: np.ndarray) -> dict[str, np.ndarray]:
    rest = np.setdiff1d(everything, np.concatenate([test, valid]))
    return {"train": rest, "valid": np.sort(valid), "test": np.sort(test)}


def _rows_of_file(path: Path, length: int) -> np.ndarray:
    """Row numbers from 0, one a line."""
    try:
        lines = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"data.split_by file:{path} cannot be read: {error}; give a text file of row numbers"
        ) from error
    rows = []
    for number, line in enumerate(lines):
        if not line.isdigit() or int(line) >= length:
            raise DataError(f"{path}, line {number + 1}: {line!r} is no row from 0 to {length - 1}; correct it")
        rows.append(int(line))
    if len(set(rows)) != len(rows):
        twice = next(row for row in rows if rows.count(row) > 1)
        raise DataError(f"{path}: row {twice} stands there more than once; name each once")
    return np.asarray(rows, np.int64)


def _by_column(name: str, words: list[Any]) -> dict[str, np.ndarray]:
    kinds = [SPLITS.get(str(word).lower()) for word in words]
    if None in kinds:
        row = kinds.index(None)
        raise DataError(f"row {row}, column {name}: {words[row]!r} is no split; use one of {', '.join(SPLITS)}")
    found = np.asarray(kinds)
    return {split: np.flatnonzero(found == split) for split in ("train", "valid", "test")}
