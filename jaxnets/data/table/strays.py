"""Columns of numbers in which a few words stand: "unknown", "n/a1". The words are taken as missing, and told."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from jaxnets.data.table import values
from jaxnets.data.table.columns import Column

# At one in twenty a word is the exception that a missing value is. Codes of which some have letters, such as tickets,
# sizes or the last place of an ISBN, hold words more often than that.
SHARE = 0.95  # of the values that are given: numbers from which on the others are strays
_KEPT = 20  # different words that are remembered

_NUMBER = r"^-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"  # as Arrow reads them


class Strays(NamedTuple):
    """A column of numbers and some words.

    numbers: (n,) float64, NaN where missing or a word
    places:  of the words; words: each once, the commonest first
    """

    numbers: np.ndarray
    places: np.ndarray
    words: tuple[str, ...]

    def told(self) -> str:
        """How many there are and what they say.

        >>> Strays(np.array([1.0, np.nan, 3.0, 4.0]), np.array([1]), ("unknown",)).told()
        "numbers, but for 1 of 4 values ('unknown'), taken as missing"
        """
        given = int((~np.isnan(self.numbers)).sum()) + len(self.places)
        some = ", ".join(map(repr, self.words[:3])) + (", …" if len(self.words) > 3 else "")
        return f"numbers, but for {len(self.places):,} of {given:,} values ({some}), taken as missing"


def read(column: Any) -> Strays:
    """The numbers and the words of a column, whatever there is more of."""
    import pyarrow

    column = values._one(column)
    if pyarrow.types.is_boolean(column.type) or values._numeric(column.type):
        return Strays(values.numbers(column), np.zeros(0, np.int64), ())
    texts = values.texts(column)
    match = values.pc().match_substring_regex(texts, _NUMBER)
    nothing = pyarrow.scalar(None, pyarrow.string())
    x = values.pc().cast(values.pc().if_else(match, texts, nothing), pyarrow.float64()).to_numpy(zero_copy_only=False)
    x = np.where(np.isfinite(x), x, np.nan)
    places = np.flatnonzero(np.isnan(x) & texts.is_valid().to_numpy(zero_copy_only=False))
    counts = Counter(texts.take(pyarrow.array(places)).to_pylist())
    return Strays(x, places, tuple(sorted(counts, key=lambda word: (-counts[word], word))[:_KEPT]))


def numbers(column: Column, raw: Any) -> np.ndarray:
    """float64, NaN where missing, and where a word is in a column that had some when it was fitted.

    Raises BadValue at a word in any other column.
    """
    return read(raw).numbers if column.strays else values.numbers(raw)


def among(column: Any) -> Strays | None:
    """The same of a column in which there are words, but few among its numbers; None for any other."""
    found = read(column)
    numbers = int((~np.isnan(found.numbers)).sum())
    return found if len(found.places) and numbers >= SHARE * (numbers + len(found.places)) else None
