"""Whether the test split is like the train split, column by column.

Numbers by the two-sample test of Kolmogorov and Smirnov, categories and classes by chi² of a table of counts; p-values
are multiplied with the number of tests (Bonferroni), and a difference must be large as well as certain.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from jaxnets.inspection.finding import Finding
from jaxnets.inspection.view import View

_CERTAIN = 1e-3  # p after correction
_LARGE = 0.1  # difference of the distribution functions, or Cramér's V
_LEAST = 20  # values of each split
_KINDS = 20  # commonest values of a category; the others are one


class Difference(NamedTuple):
    """What one column differs by: a p-value, and an effect between 0 and 1."""

    name: str
    p: float
    size: float
    words: str
    column: str = ""


def drift(view: View) -> list[Finding]:
    """Columns, and the target, that are distributed otherwise in the test split than in the train split."""
    tested = [one for one in _differences(view) if one is not None]
    found = []
    for one in tested:
        p = min(1.0, one.p * len(tested))
        if p < _CERTAIN and one.size >= _LARGE:
            words = (
                f"{one.name} differs between train and test: {one.words} (p {p:.1e}, corrected); "
                "test figures tell of other data than is trained on"
            )
            found.append(Finding("drift", "warning", words, column=one.column))
    return found


def _differences(view: View) -> Iterator[Difference | None]:
    train, test = view.targets("train"), view.targets("test")
    if train is not None and test is not None:
        compared = categories if view.schema.target_kind == "class" else numbers
        yield compared("the target", train.astype(np.float64), test.astype(np.float64))
    for one in view.features:
        if one.used and {"train", "test"} <= set(view.places):
            parts = [one.values[view.places[name]] for name in ("train", "test")]
            holes = categories(f"how often {one.name} is given", *(np.isnan(part).astype(np.float64) for part in parts))
            given = [part[~np.isnan(part)] for part in parts]
            own = (numbers if one.kind in ("number", "date") else categories)(f"column {one.name}", *given)
            yield from (found._replace(column=one.name) for found in (holes, own) if found is not None)


def numbers(name: str, first: np.ndarray, second: np.ndarray) -> Difference | None:
    """Two samples of numbers compared; None if one is too small to say anything."""
    if min(len(first), len(second)) < _LEAST:
        return None
    from scipy.stats import ks_2samp

    result: Any = ks_2samp(first, second, method="asymp")
    middles = f"medians {np.median(first):.5g} and {np.median(second):.5g}, distance {result.statistic:.2f}"
    return Difference(name, float(result.pvalue), float(result.statistic), middles)


def categories(name: str, first: np.ndarray, second: np.ndarray) -> Difference | None:
    """Two samples of codes compared; None if one is too small, or all are the same."""
    kinds, counts = np.unique(np.concatenate([first, second]), return_counts=True)
    if min(len(first), len(second)) < _LEAST or len(kinds) < 2:
        return None
    from scipy.stats import chi2_contingency

    common = kinds[np.argsort(-counts, kind="stable")[:_KINDS]]
    rows = [[int((part == kind).sum()) for kind in common] for part in (first, second)]
    table = np.array([[*row, len(part) - sum(row)] for row, part in zip(rows, (first, second), strict=True)])
    enough = table.sum(axis=0) >= 10  # of less chi² says nothing
    rest = table[:, ~enough].sum(axis=1, keepdims=True)
    table = np.concatenate([table[:, enough], rest], axis=1) if rest.sum() >= 10 else table[:, enough]
    if table.shape[1] < 2 or not table.sum(axis=1).all():
        return None
    result: Any = chi2_contingency(table)
    size = float(np.sqrt(result.statistic / table.sum()))
    return Difference(name, float(result.pvalue), size, f"Cramér's V {size:.2f}")
