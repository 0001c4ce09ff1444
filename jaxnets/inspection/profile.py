"""One column in figures: what it is taken for, what is missing, how its values are distributed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from jaxnets.inspection.view import Feature, View

_BINS = 24
_COMMON = 8  # commonest values that are told


class Profile(NamedTuple):
    """Of all rows that are looked at.

    different: values, missing ones aside
    range:     least, median and largest number; () where there are none. Dates are seconds since 1970
    counts:    of equal steps from the least to the largest number; () where there are none
    common:    the commonest values of texts and categories, each with its count
    """

    name: str
    kind: str
    reason: str
    rows: int
    missing: int
    different: int
    range: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    common: tuple[tuple[str, int], ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """Least, median and largest value as a reader wants them."""
        if self.kind == "date":
            return tuple(str(np.datetime64(round(value), "s")).replace("T00:00:00", "") for value in self.range)
        return tuple(f"{value:.5g}" for value in self.range)

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return self._asdict() | {"common": dict(self.common)}


def profiles(view: View) -> list[Profile]:
    """Every column of a table, or feature of rows; none for other data."""
    return [profile(one) for one in view.features]


def profile(one: Feature) -> Profile:
    """A column in figures."""
    given = one.values[~one.missing]
    kinds, counts = np.unique(given, return_counts=True)
    figures = (len(one.values), int(one.missing.sum()), len(kinds))
    if not len(given):
        return Profile(one.name, one.kind, one.reason, *figures)
    if one.texts:
        most = np.argsort(-counts, kind="stable")[:_COMMON]
        common = tuple((one.texts[int(kinds[i])], int(counts[i])) for i in most)
        return Profile(one.name, one.kind, one.reason, *figures, common=common)
    low, high = float(given.min()), float(given.max())
    if high > low:
        bars = np.histogram(given, bins=min(_BINS, max(2, len(kinds))), range=(low, high))[0]
    else:
        bars = np.array([len(given)])
    extent = (low, float(np.median(given)), high)
    return Profile(one.name, one.kind, one.reason, *figures, range=extent, counts=tuple(bars.tolist()))
