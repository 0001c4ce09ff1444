"""A column that gives the target away: the target under another name, or something known only after it.

Each column alone predicts the target of rows that it was not fitted to: columns of few values by the commonest class,
or the mean, of each value; numbers by the row that is nearest. The score is 1 - loss / loss of a constant.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxnets.inspection.finding import Finding, spread
from jaxnets.inspection.view import Feature, View

_MOST, _LEAST = 20_000, 50  # rows that are looked at; fewer say nothing
_STOP, _WARN = 0.999, 0.97
_GROUPS = 50  # different values, up to which rows are grouped by them


def given_away(view: View) -> list[Finding]:
    """Columns that tell the target by themselves: an error if they are as good as it, a warning if nearly."""
    targets = view.targets("train")
    if targets is None or "train" not in view.places or len(targets) < _LEAST:
        return []
    chosen = spread(len(targets), _MOST)
    found = []
    for one in view.features:
        if not one.used:
            continue
        classes = view.schema.target_kind == "class"
        x = one.values[view.places["train"]][chosen]
        score = told(x, targets[chosen], classes=classes, ordered=not one.texts)
        if score >= _WARN:
            found.append(_finding(one, score, same=(score >= _STOP or not classes) and _is_target(view, one)))
    return found


def _finding(one: Feature, score: float, *, same: bool) -> Finding:
    words = f"column {one.name} tells the target all but by itself (score {score:.4g} of 1)"
    if same:
        words = f"column {one.name} is the target in other words (score {score:.4g} of 1)"
    words += f"; if it is not known when predicting, leave it out: --data.columns.types {one.name}:drop"
    return Finding("give-away", "error" if same else "warning", words, column=one.name)


def _is_target(view: View, one: Feature) -> bool:
    """Whether the column has as few values as there are classes, or rises and falls with the target throughout."""
    x, targets = one.values[view.places["train"]], view.targets("train")
    assert targets is not None
    if view.schema.target_kind == "class":
        return len(np.unique(x)) <= len(np.unique(targets)) + 1
    from scipy.stats import spearmanr

    given = ~np.isnan(x)
    ranks: Any = spearmanr(x[given], targets[given])
    return one.kind in ("number", "date") and abs(float(ranks.statistic)) > 0.9999


def told(x: np.ndarray, y: np.ndarray, *, classes: bool, ordered: bool) -> float:
    """How well a column (n,) tells a target (n,) of rows it was not fitted to: 1 = entirely, 0 = as a constant does.

    classes: the target is class numbers; ordered: near values of the column mean the same, as of numbers

    >>> y = np.arange(100) % 2
    >>> [told(x, y, classes=True, ordered=True) for x in (np.where(y, 7.0, 3.0), np.ones(100))]
    [1.0, 0.0]
    """
    draw = np.random.default_rng(0).permutation(len(x))
    fit, held = draw[: len(x) // 2], draw[len(x) // 2 :]
    x = np.where(np.isnan(x), np.nanmin(x) - 1.0 if not np.isnan(x).all() else 0.0, x)
    grouped = not ordered or len(np.unique(x)) <= max(_GROUPS, len(x) // 20)
    found = _by_value(x, y, fit, held, classes) if grouped else _nearest(x, y, fit, held)
    constant = np.bincount(y[fit]).argmax() if classes else y[fit].mean()
    if classes:
        wrong, base = (found != y[held]).mean(), (constant != y[held]).mean()
    else:
        wrong, base = ((found - y[held]) ** 2).mean(), ((constant - y[held]) ** 2).mean()
    return float(1 - wrong / base) if base > 0 else 0.0


def _by_value(x: np.ndarray, y: np.ndarray, fit: np.ndarray, held: np.ndarray, classes: bool) -> np.ndarray:
    kinds, codes = np.unique(x, return_inverse=True)
    if classes:
        counts = np.zeros((len(kinds), int(y.max()) + 1))
        np.add.at(counts, (codes[fit], y[fit]), 1)
        counts[counts.sum(axis=1) == 0] = np.bincount(y[fit], minlength=counts.shape[1])
        return counts.argmax(axis=1)[codes[held]]
    sizes = np.bincount(codes[fit], minlength=len(kinds))
    sums = np.bincount(codes[fit], weights=y[fit], minlength=len(kinds))
    return np.where(sizes > 0, sums / np.maximum(sizes, 1), y[fit].mean())[codes[held]]


def _nearest(x: np.ndarray, y: np.ndarray, fit: np.ndarray, held: np.ndarray) -> np.ndarray:
    order = fit[np.argsort(x[fit], kind="stable")]
    known = x[order]
    right = np.clip(np.searchsorted(known, x[held]), 1, len(known) - 1)
    nearer = x[held] - known[right - 1] <= known[right] - x[held]
    return y[order[right - nearer]]
