"""Raw columns as the arrays that a model takes, by what was fitted: the same for training, testing and prediction.

All of it is computed on the host in float64 and rounded once, so that a row gives the same bits wherever it stands.

numbers     (n k) float32  scaled; 0 where missing
categories  (n k) int32    codes: 0 unseen, 1 missing, 2 and on the known values
flags       (n k) float32  0 or 1: what is missing, which words a text has
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxnets.data.schema import Part
from jaxnets.data.table import strays, values
from jaxnets.data.table.columns import FIRST, MISSING, UNSEEN, Column
from jaxnets.data.table.fitting import cyclic, text_numbers, words_of

_FAR = 8.0  # standard deviations: what lies further out is set to it
_EDGE = 1e-4  # rank of the least and the largest value of the train split


def parts(columns: Sequence[Column]) -> tuple[Part, ...]:
    """The arrays of one example, those that are empty left out."""
    used = [column for column in columns if column.used]
    numbers = sum(len(column.numbers) for column in used)
    sizes = tuple(column.cardinality for column in used if column.kind == "category")
    flags = sum(len(column.flags) for column in used)
    found = (
        Part("numbers", (numbers,), "float32"),
        Part("categories", (len(sizes),), "int32", sizes),
        Part("flags", (flags,), "float32"),
    )
    return tuple(part for part in found if part.shape[0])


def encode(columns: Sequence[Column], table: Any, length: int) -> dict[str, np.ndarray]:
    """The arrays of `length` rows; `table[name]` is an Arrow column. Raises BadColumn at a value that does not fit."""
    found: dict[str, list[np.ndarray]] = {"numbers": [], "categories": [], "flags": []}
    for column in columns:
        if not column.used:
            continue
        try:
            for name, array in _encoded(column, table[column.name]).items():
                found[name].append(array)
        except values.BadValue as error:
            raise BadColumn(column.name, error) from error
    kinds = {part.name: part.dtype for part in parts(columns)}
    return {
        name: np.concatenate(arrays, axis=1).astype(kinds[name]) if arrays else np.zeros((length, 0))
        for name, arrays in found.items()
        if name in kinds
    }


class BadColumn(ValueError):
    """A value of a column that is not of its kind; `index` is its row."""

    def __init__(self, name: str, error: values.BadValue) -> None:
        super().__init__(f"column {name}: {error}")
        self.index = error.index


def _encoded(column: Column, raw: Any) -> Mapping[str, np.ndarray]:
    match column.kind:
        case "category":
            return {"categories": _codes(column, values.texts(raw))[:, None]}
        case "text":
            return _text(column, values.texts(raw))
        case "date":
            seconds = values.dates(raw, column.format)
            cycles = [name.rsplit(" ", 1)[1] for name in column.numbers[1::2]]
            found = [seconds, *(part for cycle in cycles for part in cyclic(seconds, cycle))]
        case _:
            found = [strays.numbers(column, raw)]
    absent = np.isnan(found[0])
    scaled = np.stack([_scaled(column, i, x) for i, x in enumerate(found)], axis=1)
    scaled[absent] = 0.0
    return {"numbers": scaled} | ({"flags": absent[:, None]} if column.missing else {})


def _scaled(column: Column, index: int, x: np.ndarray) -> np.ndarray:
    if not column.knots:
        return np.clip((x - column.means[index]) / column.stds[index], -_FAR, _FAR)
    from scipy.special import ndtri

    knots, levels = np.asarray(column.knots), np.linspace(0, 1, len(column.knots))
    # From both sides, so that a value that stands at many ranks comes to lie in their middle.
    rank = 0.5 * (np.interp(x, knots, levels) + 1 - np.interp(-x, -knots[::-1], levels))
    return ndtri(np.clip(rank, _EDGE, 1 - _EDGE))


def _codes(column: Column, found: Any) -> np.ndarray:
    import pyarrow

    known = values.pc().index_in(found, pyarrow.array(column.values, pyarrow.string())) if column.values else None
    absent = found.is_null().to_numpy(zero_copy_only=False)
    codes = np.full(len(found), UNSEEN, np.int32)
    if known is not None:
        places = known.fill_null(-1).to_numpy(zero_copy_only=False)
        codes = np.where(places >= 0, places + FIRST, UNSEEN).astype(np.int32)
    return np.where(absent, MISSING, codes).astype(np.int32)


def _text(column: Column, found: Any) -> dict[str, np.ndarray]:
    given = [text or "" for text in found.to_pylist()]
    absent = found.is_null().to_numpy(zero_copy_only=False)
    scaled = (text_numbers(column, given) - np.asarray(column.means)) / np.asarray(column.stds)
    scaled = np.clip(scaled, -_FAR, _FAR)
    scaled[absent] = 0.0
    place = {word: i for i, word in enumerate(column.words)}
    flags = np.zeros((len(given), len(column.words)), np.float64)
    for row, text in enumerate(given):
        for word in words_of(text):
            if word in place:
                flags[row, place[word]] = 1.0
    flags = np.concatenate([absent[:, None], flags], axis=1) if column.missing else flags
    return {"numbers": scaled, "flags": flags}


def decode(columns: Sequence[Column], inputs: Mapping[str, np.ndarray]) -> list[dict[str, str]]:
    """Encoded rows in words, by column: as near to what was read as the arrays tell."""
    length = len(next(iter(inputs.values())))
    rows: list[dict[str, str]] = [{} for _ in range(length)]
    at = {"numbers": 0, "categories": 0, "flags": 0}
    for column in columns:
        if not column.used:
            continue
        width = {"numbers": len(column.numbers), "categories": int(column.kind == "category"),
                 "flags": len(column.flags)}  # fmt: skip
        own = {n: np.asarray(inputs[n])[:, at[n] : at[n] + w] for n, w in width.items() if w}
        at = {name: at[name] + width[name] for name in at}
        for row in range(length):
            rows[row][column.name] = _in_words(column, {name: array[row] for name, array in own.items()})
    return rows


def _in_words(column: Column, own: Mapping[str, np.ndarray]) -> str:
    if column.kind == "category":
        code = int(own["categories"][0])
        return column.values[code - FIRST] if code >= FIRST else ("missing" if code == MISSING else "unseen")
    if column.missing and own["flags"][0] > 0:
        return "missing"
    if column.kind == "text":
        words = own["flags"][int(column.missing) :] if "flags" in own else ()
        return " ".join(word for word, there in zip(column.words, words, strict=True) if there) or "(other words)"
    value = _unscaled(column, float(own["numbers"][0]))
    if column.kind == "date":
        day = 86400 if not any(name.endswith(" of hour") for name in column.numbers) else 60
        return str(np.datetime64(round(value / day) * day, "s")).replace("T", " ").removesuffix(" 00:00:00")
    return f"{value:.6g}"


def _unscaled(column: Column, x: float) -> float:
    if not column.knots:
        return x * column.stds[0] + column.means[0]
    from scipy.special import ndtr

    rank = float(ndtr(x))
    rank = 0.0 if rank <= 1.1 * _EDGE else 1.0 if rank >= 1 - 1.1 * _EDGE else rank
    return float(np.interp(rank, np.linspace(0, 1, len(column.knots)), column.knots))
