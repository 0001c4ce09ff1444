"""What Python holds, as a source: arrays, and any sequence of examples, written to the cache once for their content."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxnets.data.arrays.naming import role
from jaxnets.data.arrays.source import NAMES
from jaxnets.data.cache import prepared, prepared_by_content
from jaxnets.data.tables import fingerprint_arrays
from jaxnets.errors import DataError


def from_arrays(arrays: Mapping[str, Any] | None = None, /, *, name: str = "arrays", **named: Any) -> str:
    """Arrays as a source: written to the cache once for their content; give the result as `data.source`.

    arrays: inputs (x, images) and targets (y, labels), with train, valid or test where they are split: x_train;
            `classes` and `feature_names` may name what they hold
    Raises DataError for what is no array, and for objects; the rest is checked when the source is read.

    >>> source = from_arrays(x=np.eye(4), y=np.array(["a", "b", "a", "b"]))
    >>> source.startswith("arrays:")
    True
    """
    found = {key: _array(key, value) for key, value in {**(arrays or {}), **named}.items()}

    def write(folder: Path) -> None:
        for key, array in found.items():
            np.save(folder / f"{key}.npy", array, allow_pickle=False)

    content = fingerprint_arrays(*(found[key] for key in sorted(found)))
    words = fingerprint_arrays(np.array([content, *sorted(found)]))
    return f"arrays:{prepared(f'arrays/{name}-{words[:16]}', write)}"


def _array(key: str, value: Any) -> np.ndarray:
    if key not in NAMES and role(key) is None:
        raise DataError(f"arrays called {key!r} say nothing; call them inputs and targets, or x_train, y_train …")
    if isinstance(value, list | tuple) and value and len({np.shape(one) for one in value}) > 1:
        raise DataError(f"{key} holds examples of several shapes; make them equal, as by cropping or padding")
    array = np.asarray(value)
    if array.dtype.kind == "O":
        raise DataError(f"{key} holds objects; give numbers, or texts of one type: numpy.array(…, dtype=str)")
    return array


def from_sequence(items: Sequence[Any] | Any, *, name: str = "sequence") -> str:
    """Any sequence of (inputs, targets) or {"inputs": …, "targets": …} as a source; give the result as `data.source`.

    items: with `__len__` and `__getitem__`, as data sets of PyTorch have; each is asked for once, in order, and written
           to the cache: what draws random numbers when it is asked is not drawn anew (see `data.augment`)
    Raises DataError naming the item that fails or does not fit.

    >>> squares = [(np.full(3, i, np.float32), float(i * i)) for i in range(8)]
    >>> from_sequence(squares) == from_sequence(squares)
    True
    """
    if not (hasattr(items, "__len__") and hasattr(items, "__getitem__")) or isinstance(items, str | bytes | Mapping):
        raise DataError(f"a {type(items).__name__} is no sequence of examples; give what has a length and items 0 to n")
    length = len(items)
    if not length:
        raise DataError("the sequence holds no examples; give some")

    def write(folder: Path) -> str:
        return _written(_examples(items, length), length, folder)

    return f"arrays:{prepared_by_content(f'arrays/{name}', write)}"


def _examples(items: Any, length: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for index in range(length):
        try:
            item = items[index]
        except Exception as error:  # the user's own code, whatever it raises
            raise DataError(f"item {index} of the sequence fails with {type(error).__name__}: {error}") from error
        inputs, targets = _pair(item, index)
        if np.asarray(inputs).dtype.kind not in "biuf":
            raise DataError(f"item {index} of the sequence has inputs of {np.asarray(inputs).dtype}; give numbers")
        yield np.asarray(inputs), np.asarray(targets)


def _pair(item: Any, index: int) -> tuple[Any, Any]:
    if isinstance(item, Mapping):
        found = {said[1]: item[key] for key in item if (said := role(str(key))) is not None}
        if found.keys() == {"inputs", "targets"} and len(item) == 2:
            return found["inputs"], found["targets"]
    elif isinstance(item, tuple | list) and len(item) == 2:
        return item[0], item[1]
    what = f"names {', '.join(map(str, item))}" if isinstance(item, Mapping) else f"is a {type(item).__name__}"
    raise DataError(f"item {index} of the sequence {what}; give (inputs, targets), or a dict of these two")


def _written(examples: Iterator[tuple[np.ndarray, np.ndarray]], length: int, folder: Path) -> str:
    """Writes both arrays, the inputs one by one, and returns what they are known by."""
    inputs: np.ndarray | None = None
    targets: list[np.ndarray] = []
    for index, (x, y) in enumerate(examples):
        if inputs is None:
            shape = (length, *x.shape)
            inputs = np.lib.format.open_memmap(folder / "inputs.npy", mode="w+", dtype=_dtype(x), shape=shape)
        if x.shape != inputs.shape[1:] or (targets and y.shape != targets[0].shape) or _dtype(x) != inputs.dtype:
            raise DataError(
                f"item {index} of the sequence is {x.dtype} {x.shape} with a target {y.shape}, unlike item 0; make all "
                "alike, as by resizing"
            )
        inputs[index] = x
        targets.append(y)
    assert inputs is not None
    stacked = _array("targets", np.stack(targets))
    inputs.flush()
    np.save(folder / "targets.npy", stacked, allow_pickle=False)
    return fingerprint_arrays(inputs, stacked)


def _dtype(x: np.ndarray) -> np.dtype[Any]:
    return np.dtype(np.uint8 if x.dtype == np.uint8 else np.float32)
