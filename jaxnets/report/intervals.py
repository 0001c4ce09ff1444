"""How sure a figure is: 95 % intervals over the examples of the test split."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

Interval = tuple[float, float]
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


def of_table(table: Mapping[str, np.ndarray]) -> dict[str, Interval]:
    """The interval of every figure that follows from the rows of an evaluation."""
    total = len(table["loss"])
    found: dict[str, Interval] = {}
    if "class" in table:
        right = table["class"] == _labels(table["target"])
        found["accuracy"] = wilson(int(right.sum()), total)
        likelihood = -np.log(np.maximum(table["probabilities"][np.arange(total), _labels(table["target"])], 1e-30))
        found["nll"] = bootstrap(lambda rows: likelihood[rows].mean(), total)
    elif "value" in table:
        value, target = table["value"].reshape(total, -1), table["target"].reshape(total, -1)
        error = value.astype(np.float64) - target
        found["rmse"] = bootstrap(lambda rows: np.sqrt(np.square(error[rows]).mean(axis=0)).mean(), total)
        found["mae"] = bootstrap(lambda rows: np.abs(error[rows]).mean(), total)
        found["r2"] = bootstrap(lambda rows: _r2(error[rows], target[rows]), total)
    else:
        loss = table["loss"]
        found["nll"] = bootstrap(lambda rows: loss[rows].mean(), total)
        found["bits_per_byte"] = (found["nll"][0] / np.log(2), found["nll"][1] / np.log(2))
        found["perplexity"] = (float(np.exp(found["nll"][0])), float(np.exp(found["nll"][1])))
    return found


def _labels(target: np.ndarray) -> np.ndarray:
    return target if target.ndim == 1 else target.argmax(axis=-1)


def _r2(error: np.ndarray, target: np.ndarray) -> float:
    spread = np.square(target - target.mean(axis=0)).sum(axis=0)
    return float((1 - np.square(error).sum(axis=0) / np.where(spread > 0, spread, np.nan)).mean())
