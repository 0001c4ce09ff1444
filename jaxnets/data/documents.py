"""`documents:PATTERN`: texts that stand each for itself, packed into windows of tokens without a gap.

The documents of a split are one stream, with the separator, the last number of the vocabulary, before each and behind
the last: a model of this schema sees nothing across one (see `models.gpt`), reads it as the beginning of a document and
predicts it as the end. Window i covers tokens i·t to i·t + t, so that an epoch predicts each token once; the last
window is filled up with separators, and one behind another counts nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxnets.data import text_rows, tokenizer
from jaxnets.data.partition import split_rows
from jaxnets.data.reader import Bad
from jaxnets.data.schema import Dataset, Split
from jaxnets.data.text import token_schema
from jaxnets.data.texts import window
from jaxnets.errors import DataError
from jaxnets.files import fingerprint

if TYPE_CHECKING:
    from jaxnets.data.source import Data


def read(config: Data, name: str) -> Dataset:
    """Splits by files of their own, or by shares of the documents, drawn. DataError names file and row."""
    context = window(config)
    rows = text_rows.read(config, "documents", name, label=None, bad=Bad(config.on_bad, most=config.most_bad))
    given = np.array([text is not None for text in rows.texts])
    ids = split_rows(config, np.zeros(len(given), np.int32), (), rows.splits)
    ids = {split: own[given[own]] for split, own in ids.items()}
    if len(ids["train"]) == 0:
        raise DataError(f"{config.source}: the train split is empty; lower data.valid and data.test")
    coder = tokenizer.made(config.texts, [rows.texts[row] or "" for row in ids["train"]])
    opened = tokenizer.opened(coder)
    splits = {}
    for split, own in ids.items():
        stream = packed(opened.encode([rows.texts[row] or "" for row in own]), context, separator=opened.size)
        length = max(0, len(stream) - 1) // context
        splits[split] = Split({"tokens": stream}, length, context, context, origins=((f"{name}, packed {split}", 0),))
    known = fingerprint({**rows.files, "texts": config.texts.column, "tokenizer": coder})
    schema = token_schema(config, splits, vocabulary=opened.size + 1, fingerprint=known, files=rows.files)
    return Dataset(dataclasses.replace(schema, tokenizer=coder, separator=opened.size), splits)


def packed(documents: Sequence[np.ndarray], context: int, *, separator: int) -> np.ndarray:
    """The stream (n·t + 1,) of documents (t,), uint16 where that holds the separator; without any it is empty.

    >>> packed([np.array([1, 2]), np.array([3])], 4, separator=9).tolist()
    [9, 1, 2, 9, 3, 9, 9, 9, 9]
    """
    if not documents:
        return np.zeros(0, np.int32)
    total = sum(map(len, documents)) + len(documents)  # to be predicted: each token, and each end
    out = np.full(-(-total // context) * context + 1, separator, np.uint16 if separator < 2**16 else np.int32)
    place = 1
    for tokens in documents:
        out[place : place + len(tokens)] = tokens
        place += len(tokens) + 1
    return out
