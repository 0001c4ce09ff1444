"""How sure a figure is, and the difference of two: 95 % intervals over the examples of the test split."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

Interval = tuple[float, float]
Table = Mapping[str, np.ndarray]  # the rows of an evaluation
_RESAMPLES = 1000
_Z = 1.959963984540054  # the 97.5 % point of the normal distribution


def wilson(right: int, total: int) -> Interval:
    """The interval of a share (Wilson, 1927), sound also near 0 and 1.

    >>> tuple(round(end, 4) for end in wilson(8, 10))
    (0.4902, 0.9433)
    """
    share, square = right / total, _Z**2
    centre = (share + square / (2 * total)) / (1 + square / total)
    half = _Z / (1 + square / total) * np.sqrt(share * (1 - share) / total + square / (4 * total**2))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def bootstrap(figure: Callable[[np.ndarray], float], total: int) -> Interval:
    """The 2.5 % and 97.5 % points of `figure(rows)` over resamples of the rows (Efron, 1979), always the same.

    >>> values = np.arange(100.0)
    >>> low, high = bootstrap(lambda rows: values[rows].mean(), 100)
    >>> 43 < low < 45 and 54 < high < 56
    True
    """
    draw = np.random.default_rng(0)
    found = [figure(draw.integers(0, total, total)) for _ in range(_RESAMPLES)]
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def newcombe(both: int, first: int, second: int, neither: int) -> Interval:
    """The interval of the difference of two paired shares, first - second (Newcombe, 1998, method 10).

    Of the same examples `both` are right, the `first` or the `second` alone, or `neither`. It has a width also where
    the two never differ.

    >>> tuple(round(end, 4) for end in newcombe(36, 12, 2, 0))
    (0.0569, 0.3404)
    """
    total = both + first + second + neither
    one, other = (both + first) / total, (both + second) / total
    (low_1, high_1), (low_2, high_2) = wilson(both + first, total), wilson(both + second, total)
    spread = math.sqrt((both + first) * (second + neither) * (both + second) * (first + neither))
    excess = both * neither - first * second
    excess = max(excess - total / 2, 0.0) if excess > 0 else excess
    together = excess / spread if spread else 0.0

    def distance(a: float, b: float) -> float:
        return math.sqrt(max(a * a - 2 * together * a * b + b * b, 0.0))

    difference = one - other
    low = difference - distance(one - low_1, high_2 - other)
    return max(low, -1.0), min(difference + distance(high_1 - one, other - low_2), 1.0)


def mcnemar(first: int, second: int) -> float:
    """The exact two-sided p-value (McNemar, 1947) of two that are right alone `first` and `second` times.

    >>> round(mcnemar(12, 2), 6), mcnemar(3, 3), mcnemar(0, 0)
    (0.012939, 1.0, 1.0)
    """
    total = first + second
    logs = [
        math.lgamma(total + 1) - math.lgamma(k + 1) - math.lgamma(total - k + 1) - total * math.log(2)
        for k in range(min(first, second) + 1)
    ]
    return min(1.0, 2 * sum(map(math.exp, logs)))


def of_table(table: Table) -> dict[str, Interval]:
    """The interval of every figure that follows from the rows of an evaluation."""
    total, found = len(table["loss"]), figures(table)
    spread = _bootstrap_all(found, total)
    if "class" in table:
        spread["accuracy"] = wilson(int(right(table).sum()), total)
    return spread


def _bootstrap_all(found: Mapping[str, Callable[[np.ndarray], float]], total: int) -> dict[str, Interval]:
    """`bootstrap` of each figure, all over the same resamples."""
    draw = np.random.default_rng(0)
    drawn = (draw.integers(0, total, total) for _ in range(_RESAMPLES))
    values = np.array([[figure(rows) for figure in found.values()] for rows in drawn])
    low, high = np.quantile(values, [0.025, 0.975], axis=0)
    return {name: (float(a), float(b)) for name, a, b in zip(found, low, high, strict=True)}


def of_difference(first: Table, second: Table, names: Sequence[str]) -> dict[str, tuple[float, Interval]]:
    """(first - second, its interval) of figures of two tables whose rows are the same examples, row by row."""
    one, other, total = figures(first), figures(second), len(first["loss"])
    rows = np.arange(total)
    differences = {name: _minus(one[name], other[name]) for name in names if name in one and name in other}
    spread = _bootstrap_all(differences, total)
    if "accuracy" in differences and "class" in first:
        spread["accuracy"] = newcombe(*alone(first, second))
    return {name: (differences[name](rows), interval) for name, interval in spread.items()}


def _minus(one: Callable[[np.ndarray], float], other: Callable[[np.ndarray], float]) -> Callable[[np.ndarray], float]:
    return lambda rows: float(one(rows) - other(rows))


def alone(first: Table, second: Table) -> tuple[int, int, int, int]:
    """Of the same examples, row by row, how many both have right, the first alone, the second alone, and neither."""
    a, b = right(first), right(second)
    return int((a & b).sum()), int((a & ~b).sum()), int((~a & b).sum()), int((~a & ~b).sum())


def right(table: Table) -> np.ndarray:
    """Which rows of a classification are right."""
    return table["class"] == labels(table["target"])


def figures(table: Table) -> dict[str, Callable[[np.ndarray], float]]:
    """Every figure that follows from the rows of an evaluation, as a function of the numbers of the rows."""
    total = len(table["loss"])
    if "class" in table:
        correct = right(table)
        likelihood = -np.log(np.maximum(table["probabilities"][np.arange(total), labels(table["target"])], 1e-30))
        return {"accuracy": lambda rows: correct[rows].mean(), "nll": lambda rows: likelihood[rows].mean()}
    if "value" in table:
        value, target = table["value"].reshape(total, -1), table["target"].reshape(total, -1)
        error = value.astype(np.float64) - target
        return {
            "rmse": lambda rows: np.sqrt(np.square(error[rows]).mean(axis=0)).mean(),
            "mae": lambda rows: np.abs(error[rows]).mean(),
            "r2": lambda rows: _r2(error[rows], target[rows]),
        } | _of_quantiles(table, target)
    if "labels" in table:
        equal = table["labels"] == table["target"]
        return {"accuracy": lambda rows: equal[rows].mean(), "exact": lambda rows: equal[rows].all(axis=1).mean()}
    if "hits" in table:
        return _of_pixels(table)
    loss = table["loss"]
    if "embedding" in table:
        return {"mse": lambda rows: loss[rows].mean()}
    if "similarity" in table:
        return {"loss": lambda rows: loss[rows].mean()}
    return {
        "nll": lambda rows: loss[rows].mean(),
        "bits_per_byte": lambda rows: loss[rows].mean() / np.log(2),
        "perplexity": lambda rows: np.exp(loss[rows].mean()),
    }


def levels(table: Table) -> dict[str, float]:
    """The columns of an evaluation that are quantiles, each with its level.

    >>> levels({"value": np.zeros(1), "q0.25": np.zeros(1)})
    {'q0.25': 0.25}
    """
    return {name: float(name[1:]) for name in table if re.fullmatch(r"q[0-9.e-]+", name)}


def _of_quantiles(table: Table, target: np.ndarray) -> dict[str, Callable[[np.ndarray], float]]:
    known = levels(table)
    if not known:
        return {}
    found = np.stack([table[name].reshape(target.shape) for name in known], axis=-1).astype(np.float64)
    error, level = target[..., None] - found, np.array(list(known.values()))
    losses = np.maximum(level * error, (level - 1) * error).mean(axis=-1)
    within = (found[..., 0] <= target) & (target <= found[..., -1])
    return {"pinball": lambda rows: losses[rows].mean(), "coverage": lambda rows: within[rows].mean()}


def _of_pixels(table: Table) -> dict[str, Callable[[np.ndarray], float]]:
    """Of images, each with its counts of pixels (classes,)."""
    hits, true, found = (table[name].astype(np.float64) for name in ("hits", "true", "found"))

    def overlap(rows: np.ndarray) -> float:
        both = hits[rows].sum(axis=0)
        union = true[rows].sum(axis=0) + found[rows].sum(axis=0) - both
        return (both[union > 0] / union[union > 0]).mean()

    return {"accuracy": lambda rows: hits[rows].sum() / true[rows].sum(), "miou": overlap}


def labels(target: np.ndarray) -> np.ndarray:
    """Class numbers, of class numbers or of probabilities."""
    return target if target.ndim == 1 else target.argmax(axis=-1)


def _r2(error: np.ndarray, target: np.ndarray) -> float:
    spread = np.square(target - target.mean(axis=0)).sum(axis=0)
    return float((1 - np.square(error).sum(axis=0) / np.where(spread > 0, spread, np.nan)).mean())
