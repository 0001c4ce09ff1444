"""A dimension of a space as sweep.json spells it, and the scale on which it is drawn and measured."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from jaxnets.report import svg
from jaxnets.report.document import word

_NUMERIC = re.compile(r"(log|uniform|int)\(\s*([^,()]+),\s*([^,()]+?)\s*(,[^()]*)?\)")
_NAMED = re.compile(r"(?:choice|range)\((.*)\)")
_PART = re.compile(r'"[^"]*"|[^",]+')  # one of several choices
_MOST_NAMES = 12  # written on an axis


class Scale(NamedTuple):
    """From values to places between 0 and 1; with `names`, each of them has an equal part."""

    low: float
    high: float
    logarithmic: bool = False
    names: tuple[str, ...] = ()

    def place(self, value: Any) -> float:
        """NaN where a value has no place.

        >>> Scale(1e-4, 1.0, True).place(0.01), Scale(0, 0, names=("a", "b")).place("b")
        (0.5, 0.75)
        """
        if self.names:
            name = category(value)
            return (self.names.index(name) + 0.5) / len(self.names) if name in self.names else math.nan
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return math.nan
        if self.logarithmic:
            return self._share(math.log(value), *map(math.log, (self.low, self.high))) if value > 0 else math.nan
        return self._share(float(value), self.low, self.high)

    def value(self, place: float) -> float:
        """The number at a place.

        >>> round(Scale(1e-4, 1.0, True).value(0.5), 6)
        0.01
        """
        if self.logarithmic:
            return math.exp(math.log(self.low) + place * (math.log(self.high) - math.log(self.low)))
        return self.low + place * (self.high - self.low)

    def ticks(self, *, most: int = 6) -> list[tuple[float, str]]:
        """Places and what is written there."""
        if self.names:
            every = -(-len(self.names) // _MOST_NAMES)
            return [((k + 0.5) / len(self.names), svg.short(self.names[k])) for k in range(0, len(self.names), every)]
        if self.logarithmic:
            powers = svg.powers(math.log10(self.low), math.log10(self.high), most=most)
            return [(self.place(10**power), svg.label(10**power)) for power in powers]
        return [(self.place(value), svg.label(value)) for value in svg.ticks(self.low, self.high, most=most)]

    @staticmethod
    def _share(value: float, low: float, high: float) -> float:
        return (value - low) / (high - low) if high > low else 0.5


class Dimension(NamedTuple):
    """One dimension: its spelling, its kind ("log", "uniform", "int" or "choice") and its scale."""

    text: str
    kind: str
    scale: Scale

    @property
    def numeric(self) -> bool:
        return not self.scale.names


def read_dimension(text: str, seen: Sequence[Any] = ()) -> Dimension:
    """From its spelling; one that is not known is taken from the values `seen` in trials.

    A whole number owns the interval of ± 1/2 around it. What follows ` if ` is a condition, which only the text keeps.

    >>> read_dimension("log(0.0001,0.1)").scale
    Scale(low=0.0001, high=0.1, logarithmic=True, names=())
    >>> read_dimension("int(2,8)").scale.low, read_dimension("choice(relu,gelu) if model=mlp").scale.names
    (1.5, ('relu', 'gelu'))
    """
    spelled = text.split(" if ")[0].strip()
    if match := _NUMERIC.fullmatch(spelled):
        kind, low, high, more = match[1], float(match[2]), float(match[3]), match[4] or ""
        logarithmic = kind == "log" or (kind == "int" and "log" in more.lower() and "false" not in more.lower())
        half = 0.5 if kind == "int" else 0.0
        if low < high and (low - half > 0 or not logarithmic):
            return Dimension(text, kind, Scale(low - half, high + half, logarithmic))
    if match := _NAMED.fullmatch(spelled):
        return Dimension(text, "choice", Scale(0.0, 1.0, names=_names(spelled, match[1], seen)))
    return Dimension(text, *_seen(seen))


def _names(spelled: str, inside: str, seen: Sequence[Any]) -> tuple[str, ...]:
    """The choices in the order of their spelling, then those that only trials have."""
    parts = [category(part) for part in _PART.findall(inside) if part.strip()]
    if spelled.startswith("range("):
        parts = [str(whole) for whole in range(*map(int, parts))]
    return tuple(dict.fromkeys([*parts, *map(category, seen)]))


def _seen(seen: Sequence[Any]) -> tuple[str, Scale]:
    if seen and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in seen):
        low, high = float(min(seen)), float(max(seen))
        return "uniform", Scale(low, high) if low < high else Scale(low - 0.5, high + 0.5)
    return "choice", Scale(0.0, 1.0, names=tuple(sorted(set(map(category, seen)))) or ("none",))


def category(value: Any) -> str:
    """A choice by its name, however it is spelled.

    >>> category("'relu'"), category(True), category("True"), category(None), category(64), category([64, 64])
    ('relu', 'true', 'true', 'none', '64', '64,64')
    """
    if isinstance(value, (list, tuple)):
        return ",".join(map(category, value))
    text = word(value).strip().strip("'\"")
    return {"null": "none", "None": "none", "True": "true", "False": "false"}.get(text, text)
