"""Columns that no model can use, holes, and values that lie far from all others."""

from __future__ import annotations

import numpy as np

from jaxnets.inspection.finding import Finding, named, shares
from jaxnets.inspection.view import View

_HOLES = 0.5  # share of missing values from which on it is a warning
_JUMP = 5.0  # times further out than the furthest value that is none
_FEW, _MARK = 0.01, 0.25  # share of values that may be outliers; of one value that stands for "not known"
_BULK = 0.9  # share of the values that says how far they spread


def useless(view: View) -> list[Finding]:
    """Constant columns and identifiers: no model sees them, or can learn from them."""
    found = []
    for one in view.features:
        if one.kind in ("constant", "identifier"):
            words = f"column {one.name} is left out: {one.reason}"
            if view.schema.input_kind != "table":
                words = f"feature {one.name} is always {one.values[0]:.6g}, which says nothing"
            found.append(Finding(one.kind, "note", words, column=one.name))
    return found


def strays(view: View) -> list[Finding]:
    """Words in columns of numbers, which are taken as missing."""
    return [
        Finding(
            "stray words", "note",
            f"column {one.name} is {one.reason}; else --data.columns.types {one.name}:category", column=one.name,
        )
        for one in view.schema.columns
        if one.strays
    ]  # fmt: skip


def holes(view: View) -> list[Finding]:
    """Columns with missing values, which a model of a table is told of."""
    found = []
    for one in view.features:
        if not (one.used and one.missing.any()):
            continue
        count, rows = _in_splits(view, one.missing)
        severity = "warning" if count > _HOLES * len(one.values) else "note"
        words = f"column {one.name} is not given in {shares(count, len(one.values))} rows"
        found.append(Finding("missing values", severity, words, count, rows, one.name))
    return found


def outliers(view: View) -> list[Finding]:
    """Numbers much further out than all others: a wrong unit, a slip, a 9999 for "not known"."""
    found = []
    for one in view.features:
        if one.kind != "number":
            continue
        far = outlying(one.values)
        if far.any():
            count, rows = _in_splits(view, far)
            values = ", ".join(f"{value:.6g}" for value in np.unique(one.values[far])[:3])
            words = f"column {one.name} has {count} value(s) far from all others ({values}); correct or empty them"
            found.append(Finding("outliers", "warning", words, count, rows, one.name))
    return found


def outlying(x: np.ndarray) -> np.ndarray:
    """(n,) which values are outliers: a few, or one that repeats, behind a gap as wide as `_JUMP` spreads of the rest.

    >>> outlying(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 5000.0])).nonzero()[0].tolist()
    [10]
    """
    given = x[~np.isnan(x)]
    none = np.zeros(len(x), bool)
    if len(np.unique(given)) < 5:
        return none
    middle = np.median(given)
    away = np.where(np.isnan(x), 0.0, np.abs(x - middle))
    for kept in (_few(given, away), _marked(x, given, away)):
        if kept is not None and (far := away > kept * _JUMP).sum() > 0:
            return far
    return none


def _few(given: np.ndarray, away: np.ndarray) -> float | None:
    """How far the furthest value lies that is no outlier, where at most a hundredth are outliers."""
    most = max(1, int(_FEW * len(given)))
    last = np.sort(away)[-most - 1 :]
    least = np.quantile(away, _BULK)
    jumps = np.flatnonzero((last[1:] > _JUMP * last[:-1]) & (last[:-1] >= least) & (last[:-1] > 0))
    return float(last[jumps[0]]) if len(jumps) else None


def _marked(x: np.ndarray, given: np.ndarray, away: np.ndarray) -> float | None:
    """The same, where one value is more often there, and alone so far out."""
    furthest = x[np.argmax(away)]
    marked = x == furthest
    rest = away[~marked & ~np.isnan(x)]
    if not 1 < marked.sum() <= _MARK * len(given) or not len(rest):
        return None
    kept = float(rest.max())
    return kept if kept > 0 and away.max() > _JUMP * kept else None


def _in_splits(view: View, mask: np.ndarray) -> tuple[int, tuple[str, ...]]:
    """How many rows, and the first of them by file and row."""
    rows: list[str] = []
    for name, places in view.places.items():
        rows += named(view.split(name), view.ids[name][mask[places]])
    return int(mask.sum()), tuple(rows[:100])
