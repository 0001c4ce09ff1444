"""What a table is asked to teach: its target columns as class numbers, several labels, or real numbers."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxnets.data.table import strays, values
from jaxnets.errors import ConfigError, DataError, near

_FEW = 20  # different whole numbers that are classes, not amounts
_MOST = 1000  # classes that texts may make


class Target(NamedTuple):
    """Targets of all rows: (n,) int32 class numbers, or (n k) float32 of 0 and 1 or of real numbers.

    given: (n,) whether the row has a target at all
    """

    kind: Literal["class", "labels", "real"]
    values: np.ndarray
    given: np.ndarray
    classes: tuple[str, ...]
    names: tuple[str, ...]
    strays: Mapping[int, str] = MappingProxyType({})  # what stands in rows of no target where numbers are learned


def names_of(target: str | None, columns: Sequence[str], source: str) -> tuple[str, ...]:
    """The target columns that a config names; ConfigError if it names none, or one that is not there."""
    if not target:
        raise ConfigError(f"data.target is not given; name the column of {source} to learn: {', '.join(columns[:12])}")
    found = (target,) if target in columns else tuple(part.strip() for part in next(csv.reader([target])))
    for name in found:
        if name not in columns:
            raise ConfigError(
                f"data.target {name!r} is no column of {source}{near(name, columns)}; "
                f"it has {', '.join(columns[:12])}{' …' if len(columns) > 12 else ''}"
            )
    return found


def read(table: Any, names: Sequence[str], types: Mapping[str, str], classes: tuple[str, ...]) -> Target:
    """The target of an Arrow table that holds the target columns of all rows.

    Raises DataError at a target that is no number or not one of `classes`; `BadTarget` says its row.
    """
    if len(names) > 1:
        return _several(table, names, types)
    (name,) = names
    column = values._one(table[name])
    wanted = types.get(name)
    if wanted == "labels" or (wanted is None and is_list(column.type)):
        return _labels(name, column, classes)
    if wanted != "category" and not classes:
        try:
            x = values.numbers(column)
        except values.BadValue as error:
            if wanted == "number" or values._numeric(column.type):
                raise BadTarget(name, error) from error
            if wanted is None and (few := strays.among(column)) is not None and not _few(few.numbers):
                return _without(few, column, name)
        else:
            if wanted == "number" or not _few(x):
                return Target("real", x[:, None].astype(np.float32), ~np.isnan(x), (), (name,))
    return _classes(name, column, classes)


def _few(x: np.ndarray) -> bool:
    """Whether these numbers are classes."""
    kinds = np.unique(x[~np.isnan(x)])
    return len(kinds) <= _FEW and bool((kinds == np.round(kinds)).all())


def _without(few: strays.Strays, column: Any, name: str) -> Target:
    """Numbers to learn, and rows in which a word stands instead, which have no target."""
    words = {int(place): str(column[int(place)]) for place in few.places}
    x = few.numbers
    return Target("real", x[:, None].astype(np.float32), ~np.isnan(x), (), (name,), MappingProxyType(words))


class BadTarget(ValueError):
    """A target that is not what it must be; `index` is its row."""

    def __init__(self, name: str, error: values.BadValue) -> None:
        super().__init__(f"target {name}: {error}")
        self.index = error.index


def _classes(name: str, column: Any, classes: tuple[str, ...]) -> Target:
    found = _labelled(column)
    given = np.array([text is not None for text in found])
    different = sorted({text for text in found if text is not None}, key=_in_order)
    if classes:
        unknown = [text for text in different if text not in classes]
        if unknown:
            index = found.index(unknown[0])
            words = f"one of data.columns.classes {', '.join(classes[:12])}{near(unknown[0], classes)}"
            raise BadTarget(name, values.BadValue(index, unknown[0], words))
    elif len(different) > _MOST:
        raise DataError(
            f"target {name} has {len(different)} different texts, which are no classes; choose another column"
        )
    known = classes or tuple(different)
    place = {text: i for i, text in enumerate(known)}
    numbers = np.array([-1 if text is None else place[text] for text in found], np.int32)
    return Target("class", numbers, given, known, (name,))


def _labelled(column: Any) -> list[str | None]:
    """Classes as texts; whole numbers without a point, however they are stored."""
    try:
        x = values.numbers(column)
    except values.BadValue:
        return values.texts(column).to_pylist()
    if values._one(column).type == "bool" or not (np.isnan(x) | (x == np.round(x))).all():
        return values.texts(column).to_pylist()
    return [None if np.isnan(v) else str(int(v)) for v in x]


def _in_order(text: str) -> tuple[int, float, str]:
    return (0, float(text), text) if re.fullmatch(r"-?\d+", text) else (1, 0.0, text)


def _labels(name: str, column: Any, classes: tuple[str, ...]) -> Target:
    """One column of lists, or of texts with | ; or , between the labels."""
    if is_list(column.type):
        rows = [None if v is None else [str(one) for one in v] for v in column.to_pylist()]
    else:
        rows = [None if v is None else labels_in(v) for v in column.cast("string").to_pylist()]
    different = sorted({label for row in rows if row for label in row}, key=_in_order)
    unknown = [label for label in different if classes and label not in classes]
    if unknown:
        index = next(i for i, row in enumerate(rows) if row and unknown[0] in row)
        words = f"one of data.columns.classes {', '.join(classes[:12])}{near(unknown[0], classes)}"
        raise BadTarget(name, values.BadValue(index, unknown[0], words))
    known = classes or tuple(different)
    place = {label: i for i, label in enumerate(known)}
    flags = np.zeros((len(rows), len(known)), np.float32)
    for index, row in enumerate(rows):
        for label in row or ():
            flags[index, place[label]] = 1.0
    return Target("labels", flags, np.array([row is not None for row in rows]), known, (name,))


def _several(table: Any, names: Sequence[str], types: Mapping[str, str]) -> Target:
    """Several columns: labels if all are 0 or 1, else real numbers."""
    found = []
    for name in names:
        try:
            found.append(values.numbers(table[name]))
        except values.BadValue as error:
            raise BadTarget(name, error) from error
    x = np.stack(found, axis=1)
    given = np.asarray(~np.isnan(x).any(axis=1))
    flags = np.isin(x[given], (0.0, 1.0)).all() and not any(types.get(name) == "number" for name in names)
    if flags:
        return Target("labels", x.astype(np.float32), given, tuple(names), tuple(names))
    return Target("real", x.astype(np.float32), given, (), tuple(names))


def labels_in(text: str) -> list[str]:
    """The labels of a text.

    >>> labels_in("a| b;c")
    ['a', 'b', 'c']
    """
    return [part.strip() for part in re.split(r"[|;,]", text) if part.strip()]


def is_list(kind: Any) -> bool:
    """Whether an Arrow type is that of lists."""
    import pyarrow

    return bool(pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind))
