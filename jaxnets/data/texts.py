"""`texts:PATTERN`: texts with a label each, as tokens of one length, in memory.

A text is (t,) int32, t = data.context: 0 behind its end, 1 + its tokens before, so that what is masked is told by the
numbers themselves.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxnets.data import text_rows, tokenizer
from jaxnets.data.partition import split_rows
from jaxnets.data.reader import Bad
from jaxnets.data.schema import Dataset, Schema, Split, moments
from jaxnets.data.table import targets
from jaxnets.data.table.source import kinds_of
from jaxnets.errors import ConfigError, DataError, near
from jaxnets.files import fingerprint

if TYPE_CHECKING:
    from jaxnets.data.source import Data

_MANY, _ALIKE = 10, 0.8  # rows of a class, and likeness to its name, that make a class of one row a slip of the pen
_SHORT = 4  # letters; of shorter names nothing is like another by mistake


def read(config: Data, name: str) -> Dataset:
    """The source `texts:name`. ConfigError says what is wrong in the config; DataError names file and row."""
    context, label = window(config), config.target or "label"
    bad = Bad(config.on_bad, most=config.most_bad)
    rows = text_rows.read(config, "texts", name, label=label, bad=bad)
    target = _target(config, rows, label)
    given = target.given & np.array([text is not None for text in rows.texts])
    for row, word in target.strays.items():
        bad(rows.where(row), f"label {word!r} is none of the numbers that the others are")
    drawn = np.maximum(target.values, 0) if target.kind == "class" else target.values
    ids = split_rows(config, drawn, target.classes if target.kind == "class" else (), rows.splits)
    ids = {split: own[given[own]] for split, own in ids.items()}
    if target.kind == "class":
        target, ids = _learned(config, rows, target, ids, bad)
    if len(ids["train"]) == 0:
        raise DataError(f"{config.source}: the train split is empty; lower data.valid and data.test")
    coder = tokenizer.made(config.texts, [rows.texts[row] or "" for row in ids["train"]])
    encoded = tokenizer.opened(coder).encode([text or "" for text in rows.texts])
    if config.texts.crop == "never":
        ids = {split: _short(own, encoded, context, rows, bad) for split, own in ids.items()}
    inputs = padded(encoded, context, crop=config.texts.crop)
    known = fingerprint({**rows.files, "texts": f"{config.texts.column}, {label}", "tokenizer": coder})
    schema = _schema(config, target, ids, coder, known, rows.files)
    return Dataset(schema, {
        split: Split({"inputs": inputs[own], "targets": target.values[own]}, len(own), rows=own, origins=rows.origins)
        for split, own in ids.items()
    })  # fmt: skip


def window(config: Data) -> int:
    """The tokens of a text. ConfigError if there are none."""
    if config.context is None:
        raise ConfigError(f"data.context is none, but {config.source} is text; give the tokens of a text, as in 64")
    return config.context


def padded(encoded: Sequence[np.ndarray], context: int, *, crop: str = "first") -> np.ndarray:
    """(n t) int32: 1 + the tokens of each text, the first or the last of a longer one, and 0 behind them.

    >>> padded([np.array([5, 6, 7]), np.array([0])], 2, crop="last").tolist()
    [[7, 8], [1, 0]]
    """
    out = np.zeros((len(encoded), context), np.int32)
    for row, tokens in zip(out, encoded, strict=True):
        kept = tokens[-context:] if crop == "last" else tokens[:context]
        row[: len(kept)] = kept + 1
    return out


def encode(texts: Any, schema: Schema) -> np.ndarray:
    """Inputs (n t) of texts, as the run's own were encoded; arrays of them stay as they are.

    Raises DataError naming the row that is no text, or is empty.
    """
    if isinstance(texts, str):
        raise DataError("a text alone is no list of texts; put it into one")
    found = np.asarray(texts) if not isinstance(texts, list | tuple) else texts
    if isinstance(found, np.ndarray) and found.dtype.kind in "iu":
        return _tokens(found, schema)
    given: list[Any] = list(found)
    for row, text in enumerate(given):
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"row {row} of the inputs is {text!r}; give a list of texts that are not empty")
    if not given:
        raise DataError("the inputs hold no texts; give a list of at least one")
    context = schema.input_shape[0]
    encoded = tokenizer.opened(schema.tokenizer).encode([str(text) for text in given])
    if schema.crop == "never":
        long = next((row for row, tokens in enumerate(encoded) if len(tokens) > context), None)
        if long is not None:
            raise DataError(f"row {long} of the inputs has {len(encoded[long])} tokens; this run takes {context}")
    return padded(encoded, context, crop=schema.crop)


def decode(inputs: np.ndarray, schema: Schema) -> list[str]:
    """The texts (n) that inputs (n t) hold, as near as their tokens tell."""
    coder = tokenizer.opened(schema.tokenizer)
    return [coder.decode(row[row > 0] - 1) for row in np.asarray(inputs)]


def _tokens(inputs: np.ndarray, schema: Schema) -> np.ndarray:
    if inputs.ndim != 2 or inputs.shape[1:] != schema.input_shape or not len(inputs):
        raise DataError(
            f"inputs of {inputs.shape} do not fit; this run takes texts, or (texts, {schema.input_shape[0]})"
        )
    if inputs.min() < 0 or inputs.max() >= schema.vocabulary_size:
        raise DataError(f"the inputs hold tokens outside 0..{schema.vocabulary_size - 1}; give texts instead")
    return inputs.astype(np.int32)


def _target(config: Data, rows: text_rows.Rows, label: str) -> targets.Target:
    import pyarrow

    types = kinds_of(config.columns.types, [label], labels=[label])
    try:
        column = pyarrow.array(rows.labels)
    except pyarrow.ArrowException:  # of several kinds
        column = pyarrow.array([None if one is None else str(one) for one in rows.labels])
    try:
        return targets.read(pyarrow.table({label: column}), (label,), types, config.columns.classes)
    except targets.BadTarget as error:
        raise DataError(f"{rows.where(error.index)}: {error}; correct it") from error
    except DataError as error:
        raise DataError(f"{config.source}: {error}") from error


def _learned(
    config: Data, rows: text_rows.Rows, target: targets.Target, ids: dict[str, np.ndarray], bad: Bad
) -> tuple[targets.Target, dict[str, np.ndarray]]:
    """The classes of the train split, and the rows that have one of them; any other label is a bad row.

    What looks like a slip of the pen is bad too, unless data.columns.classes names it.
    """
    odd = np.zeros(len(rows.texts), bool)
    counts = np.bincount(target.values[ids["train"]], minlength=len(target.classes))
    for number, name in enumerate(target.classes):
        fault = _fault(number, target.classes, counts, named=config.columns.classes)
        for split, own in ids.items() if fault else ():
            for row in own[target.values[own] == number]:
                odd[row] = True
                bad(rows.where(int(row)), f"label {name!r} of split {split} {fault}")
    ids = {split: own[~odd[own]] for split, own in ids.items()}
    kept = np.flatnonzero(np.bincount(target.values[ids["train"]], minlength=len(target.classes)))
    if len(kept) < 2:
        raise DataError(f"{config.source}: fewer than two labels are in the train split; there is nothing to learn")
    place = np.full(len(target.classes) + 1, -1, np.int32)  # the last: of rows without a label
    place[kept] = np.arange(len(kept))
    return target._replace(values=place[target.values], classes=tuple(target.classes[i] for i in kept)), ids


def _fault(number: int, classes: Sequence[str], counts: np.ndarray, *, named: Sequence[str]) -> str:
    """What is wrong with a label that stands in `counts` rows of the train split, or nothing."""
    name, known = classes[number], [other for other, count in zip(classes, counts, strict=True) if count]
    if not counts[number]:
        return f"is not in the train split, which has {', '.join(known[:8])}{near(name, known)}"
    if counts[number] > 1 or len(name) < _SHORT or name in named:
        return ""
    many = [other for other, count in zip(classes, counts, strict=True) if count >= _MANY and len(other) >= _SHORT]
    meant = difflib.get_close_matches(name, many, n=1, cutoff=_ALIKE)
    return (
        f"stands in one row, and is like {meant[0]!r}; if it is a class, name all in data.columns.classes"
        if meant
        else ""
    )


def _short(own: np.ndarray, encoded: Sequence[np.ndarray], context: int, rows: text_rows.Rows, bad: Bad) -> np.ndarray:
    """The rows whose texts fit; the others are bad."""
    long = np.array([len(encoded[row]) > context for row in own], bool)
    for row in own[long]:
        bad(rows.where(int(row)), f"its text has {len(encoded[row])} tokens, more than data.context {context}")
    return own[~long]


def _schema(
    config: Data,
    target: targets.Target,
    ids: dict[str, np.ndarray],
    coder: str,
    known: str,
    files: dict[str, str],
) -> Schema:
    real = target.kind == "real"
    mean, std = moments(target.values[ids["train"]]) if real else ((), ())
    return Schema(
        source=config.source,
        fingerprint=known,
        input_kind="text",
        input_shape=(window(config),),
        input_dtype="int32",
        target_kind=target.kind,
        feature_names=(config.texts.column,),
        classes=target.classes,
        target_names=target.names if real else (),
        target_mean=mean,
        target_std=std,
        vocabulary_size=tokenizer.opened(coder).size + 1,
        counts=tuple((split, len(own)) for split, own in ids.items()),
        files=tuple(files.items()),
        tokenizer=coder,
        crop=config.texts.crop,
    )
