"""What a column of a table is, and what was fitted to it on the train split: plain values, stored in schema.json."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any, Literal

from jaxnets.errors import DataError
from jaxnets.types import experiment_dataclass

Kind = Literal["number", "category", "date", "text", "identifier", "constant", "drop"]
KINDS: tuple[str, ...] = typing.get_args(Kind)
DROPPED = ("identifier", "constant", "drop")  # kinds that no model sees
UNSEEN, MISSING, FIRST = 0, 1, 2  # codes of a category: not in the train split, not given, and the first known one


@experiment_dataclass
class Columns:
    """How the columns of a table are read and fitted; all of it on the train split alone."""

    types: tuple[str, ...] = ()  # what is not to be inferred: NAME:number, category, date, text or drop
    numbers: Literal["quantile", "standard"] = "quantile"  # to a normal distribution by rank, or mean 0 and deviation 1
    rare: int = 2  # a category or word seen less often counts as unseen, so that "unseen" is learned
    words: int = 64  # most frequent words of a text column, each a flag
    classes: tuple[str, ...] = ()  # of the target, in their order; none = all that are there, sorted


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table.

    reason:  why it is of this kind, in words
    missing: some values of the train split are not given, so that a flag says where
    numbers: names of the numbers that are made of it; means, stds: of each, before scaling
    knots:   quantiles of the train split at equal steps of rank, where it is scaled by rank
    values:  known categories, or the texts that are there more than once; counts: of those texts
    words:   that have a flag
    format:  of a date that is written as text; "" is ISO 8601
    strays:  words among the numbers of the train split, taken as missing; where there are some, others are as well
    """

    name: str
    kind: Kind
    reason: str = ""
    missing: bool = False
    numbers: tuple[str, ...] = ()
    means: tuple[float, ...] = ()
    stds: tuple[float, ...] = ()
    knots: tuple[float, ...] = ()
    values: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    words: tuple[str, ...] = ()
    format: str = ""
    strays: tuple[str, ...] = ()

    @property
    def used(self) -> bool:
        """Whether a model sees it."""
        return self.kind not in DROPPED

    @property
    def flags(self) -> tuple[str, ...]:
        """Names of the values 0 or 1 that are made of it."""
        missing = (f"{self.name} is missing",) if self.missing and self.kind != "category" else ()
        return missing + tuple(f"{self.name} has {word}" for word in self.words)

    @property
    def cardinality(self) -> int:
        """The number of codes of a category, those for unseen and missing among them."""
        return FIRST + len(self.values)

    def to_json(self) -> dict[str, Any]:
        """What differs from the defaults."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        }

    @classmethod
    def from_json(cls, values: Any) -> Column:
        """Raises DataError if the values are not those of a column."""
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(values, Mapping) or set(values) - names or not {"name", "kind"} <= set(values):
            raise DataError(f"schema.json holds a column that is none: {str(values)[:80]}; restore the file")
        typed: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}
        return cls(**typed)
