"""What is to be learned, from arrays: classes, of examples or of their pixels, and values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxnets.data.masks import UNKNOWN
from jaxnets.errors import DataError

_MOST_CLASSES = 2**20  # more are a mistake: a hash, an identifier


class Targets(NamedTuple):
    """values: (n,) or (n h w) int32 numbers of `classes`, or (n k) float32 where there are none; names: of the k."""

    values: np.ndarray
    classes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


def read_targets(parts: Sequence[np.ndarray], names: Sequence[str], classes: tuple[str, ...], *, place: str) -> Targets:
    """The targets of all splits, the first of which is trained on, one after the other.

    classes: names of the numbers 0 and on, in their order, where they are given
    Raises DataError naming array and row of a target that cannot be one.
    """
    for part, name in zip(parts, names, strict=True):
        if part.dtype.kind not in "biufU" or part.ndim > (3 if part.dtype.kind in "biu" else 2):
            raise DataError(
                f"{place}: {name} is {part.dtype} {part.shape}; give classes (n), (n h w), or floats (n), (n k)"
            )
        if part.shape[1:] != parts[0].shape[1:] or (part.dtype.kind == "f") != (parts[0].dtype.kind == "f"):
            raise DataError(f"{place}: {name} is {part.dtype} {part.shape}, unlike {names[0]}; make them alike")
    if parts[0].dtype.kind == "f":
        values = np.concatenate(parts).astype(np.float32)
        values = values.reshape(len(values), -1)
        count = values.shape[1]
        return Targets(values, (), (names[0],) if count == 1 else tuple(f"{names[0]}{i}" for i in range(count)))
    if parts[0].ndim == 3:
        return _masks(np.concatenate(parts).astype(np.int32), classes, names[0], place)
    flat = [_flat(part, name, place) for part, name in zip(parts, names, strict=True)]
    return _named(flat, names, classes, place) if classes else _found(flat, names, place)


def _masks(values: np.ndarray, classes: tuple[str, ...], name: str, place: str) -> Targets:
    """A class for every pixel; which of them are there is looked at in all splits, what is not known is UNKNOWN."""
    most = int(values[values != UNKNOWN].max(initial=-1))
    if values.min() < 0 or (classes and most >= len(classes)) or max(most + 1, len(classes)) < 2:
        raise DataError(
            f"{place}: {name} holds {values.min()} to {most}; give class numbers from 0 for every pixel, two classes "
            f"at least, none above the last of `classes`, and {UNKNOWN} where it is not known"
        )
    return Targets(values, classes or tuple(map(str, range(most + 1))))


def _flat(part: np.ndarray, name: str, place: str) -> np.ndarray:
    if part.ndim == 2 and part.shape[1] != 1:
        raise DataError(f"{place}: {name} is {part.dtype} {part.shape}; give one class an example, or floats (n k)")
    return part.reshape(-1)


def _named(parts: Sequence[np.ndarray], names: Sequence[str], classes: tuple[str, ...], place: str) -> Targets:
    """Classes whose names were given: the targets are their numbers, or the names themselves."""
    found = []
    for part, name in zip(parts, names, strict=True):
        texts = part.dtype.kind == "U"
        number = {text: i for i, text in enumerate(classes)}
        codes = np.array([number.get(text, -1) for text in part.tolist()] if texts else part, np.int64)
        odd = np.flatnonzero((codes < 0) | (codes >= len(classes)))
        if odd.size:
            allowed = ", ".join(classes[:8]) if texts else f"0..{len(classes) - 1}"
            raise DataError(f"{place}: {name}, row {odd[0]}: {part[odd[0]]} is none of the classes {allowed}")
        found.append(codes.astype(np.int32))
    return Targets(np.concatenate(found), classes)


def _found(parts: Sequence[np.ndarray], names: Sequence[str], place: str) -> Targets:
    """Classes as they stand in the first array, sorted."""
    kinds = np.unique(parts[0])
    if len(kinds) < 2:
        raise DataError(f"{place}: {names[0]} is always {kinds[0] if len(kinds) else 'missing'}; nothing is to learn")
    if len(kinds) > _MOST_CLASSES or (len(kinds) > 2 and len(kinds) == len(parts[0]) > 20):
        raise DataError(
            f"{place}: {names[0]} holds {len(kinds)} different {parts[0].dtype} values in {len(parts[0])} rows, too "
            "many to be classes; give floats to predict a value"
        )
    found = []
    for part, name in zip(parts, names, strict=True):
        odd = np.flatnonzero(~np.isin(part, kinds))
        if odd.size:
            raise DataError(f"{place}: {name}, row {odd[0]}: class {part[odd[0]]} is not in {names[0]}; correct it")
        found.append(np.searchsorted(kinds, part).astype(np.int32))
    return Targets(np.concatenate(found), tuple(str(kind) for kind in kinds.tolist()))
