"""What makes training impossible, told before anything compiles, whatever `data.checks` says."""

from __future__ import annotations

import numpy as np

from jaxnets.data import Dataset, Schema, Split
from jaxnets.errors import ConfigError, DataError

_UNKNOWN = 255  # in a mask


def check(dataset: Dataset, *, batch_size: int) -> None:
    """Raises DataError naming file and row (empty splits, NaN, bad labels), ConfigError for too large a batch."""
    schema = dataset.schema
    for name, split in dataset.splits.items():
        place = f"{schema.source}, split {name}"
        if split.length == 0:
            raise DataError(f"{place} is empty; change data.valid or data.test, or give more data")
        _check_inputs(split, schema, place)
        _check_targets(split, schema, place)
    examples = dataset.splits["train"].length
    if batch_size > examples:
        raise ConfigError(
            f"data.batch_size {batch_size} is more than the {examples} examples of {schema.source}, split train; "
            f"give at most {examples}"
        )


def _check_inputs(split: Split, schema: Schema, place: str) -> None:
    if schema.input_kind == "token" and split.reader is None:
        tokens = split.arrays["tokens"]
        if tokens.size and int(tokens.max()) >= schema.vocabulary_size:
            at = int(np.flatnonzero(tokens >= schema.vocabulary_size)[0])
            raise DataError(f"{place}, token {at}: {int(tokens[at])} is outside 0..{schema.vocabulary_size - 1}")
        return
    if schema.parts:  # encoded by what was fitted, where bad values were named
        return
    if split.reader is not None:  # what it reads is checked row by row, when it is read
        found = split.reader.leaves["inputs"].shape
        more = schema.input_kind == "token"  # the token after a window, which its last one predicts
        wanted = tuple(size + more for size in schema.input_shape)
        if found != wanted:
            raise DataError(f"{place} reads inputs of {found}; they must be {wanted}")
        return
    inputs = split.arrays["inputs"]
    if inputs.shape != (split.length, *schema.input_shape):
        raise DataError(
            f"{place} holds {inputs.shape}; it must be (examples, {', '.join(map(str, schema.input_shape))})"
        )
    if inputs.dtype.kind == "f":
        bad = ~np.isfinite(inputs).reshape(len(inputs), -1)
        if bad.any():
            row, column = (int(i) for i in np.argwhere(bad)[0])
            name = schema.feature_names[column] if column < len(schema.feature_names) else column
            value = inputs[row].flat[column]
            raise DataError(f"{place}: {split.where(row)}, feature {name}: {value}; remove or fill such rows")


def _check_targets(split: Split, schema: Schema, place: str) -> None:
    if schema.target_kind == "class":
        labels = split.arrays["targets"]
        bad = np.flatnonzero((labels < 0) | (labels >= len(schema.classes)))
        if bad.size:
            row = int(bad[0])
            raise DataError(
                f"{place}: {split.where(row)}: label {labels[row]} is outside 0..{len(schema.classes) - 1}; correct it"
            )
    if schema.target_kind == "mask" and "targets" in split.arrays:
        masks = split.arrays["targets"]
        bad = (masks != _UNKNOWN) & ((masks < 0) | (masks >= len(schema.classes)))
        if bad.any():
            row = int(np.flatnonzero(bad.reshape(len(masks), -1).any(axis=1))[0])
            raise DataError(
                f"{place}: {split.where(row)}: its mask holds {masks[row][bad[row]][0]}, which is outside "
                f"0..{len(schema.classes) - 1} and not {_UNKNOWN}, a pixel of unknown class; correct it"
            )
    if schema.target_kind == "real":
        targets = split.arrays["targets"]
        bad = np.flatnonzero(~np.isfinite(targets).reshape(len(targets), -1).all(axis=1))
        if bad.size:
            row = int(bad[0])
            raise DataError(f"{place}: {split.where(row)}: target {targets[row]} is not finite; remove such rows")
