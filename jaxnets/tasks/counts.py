"""Figures that follow from three counts a class: how often it was true, how often found, and how often both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.types import Array, Metric, PyTree

Found = Callable[[PyTree, PyTree], tuple[Array, Array]]  # (outputs, targets) -> numbers of true and of found classes


def class_counts(true: Array, found: Array, weight: Array, *, num_classes: int) -> dict[str, Array]:
    """Weighted counts (b c) of class numbers (b …), example by example; numbers outside the classes count nowhere.

    >>> counts = class_counts(jnp.array([[0, 1]]), jnp.array([[0, 0]]), jnp.ones((1, 2)), num_classes=2)
    >>> {name: count.tolist() for name, count in counts.items()}
    {'hits': [[1.0, 0.0]], 'true': [[1.0, 1.0]], 'found': [[2.0, 0.0]]}
    """

    def count(numbers: Array, weights: Array) -> Array:
        return jnp.zeros(num_classes).at[numbers.ravel()].add(weights.ravel(), mode="drop", wrap_negative_indices=False)

    each = jax.vmap(count)
    return {"hits": each(true, weight * (true == found)), "true": each(true, weight), "found": each(found, weight)}


def count_metric(found: Found, finish: Callable[[dict[str, np.ndarray]], float], *, num_classes: int) -> Metric:
    """A metric of class numbers (b …), whose `finish` makes a figure of the counts (c,) over all that was seen."""

    def update(outputs: PyTree, targets: PyTree, weight: PyTree, /) -> dict[str, Array]:
        true, guess = found(outputs, targets)
        counts = class_counts(true, guess, weight, num_classes=num_classes)
        return {name: each.sum(axis=0) for name, each in counts.items()}

    def result(sums: PyTree, /) -> float:
        return finish({name: np.asarray(count, np.float64) for name, count in sums.items()})

    return Metric(update, result, larger_is_better=True)


def label_metric(found: Found, finish: Callable[[dict[str, np.ndarray]], float]) -> Metric:
    """The same for labels (b c) of 0 and 1, of which an example may have any number; its weight is (b,)."""

    def update(outputs: PyTree, targets: PyTree, weight: PyTree, /) -> dict[str, Array]:
        true, guess = found(outputs, targets)
        counts = {"hits": true * guess, "true": true, "found": guess}
        return {name: (weight[:, None] * each).sum(axis=0) for name, each in counts.items()}

    def result(sums: PyTree, /) -> float:
        return finish({name: np.asarray(count, np.float64) for name, count in sums.items()})

    return Metric(update, result, larger_is_better=True)


def balanced_accuracy(counts: dict[str, Any]) -> float:
    """The mean over classes of the share of their examples that was found; classes that never came up are left out.

    >>> balanced_accuracy({"hits": np.array([1.0, 1.0]), "true": np.array([1.0, 2.0]), "found": np.array([2.0, 1.0])})
    0.75
    """
    return _mean(counts["hits"], counts["true"])


def f1(counts: dict[str, Any]) -> float:
    """The mean over classes of 2·hits / (true + found), the harmonic mean of precision and recall."""
    return _mean(2 * counts["hits"], counts["true"] + counts["found"])


def mean_iou(counts: dict[str, Any]) -> float:
    """The mean over classes of hits / (true + found - hits): intersection over union."""
    return _mean(counts["hits"], counts["true"] + counts["found"] - counts["hits"])


def _mean(part: np.ndarray, whole: np.ndarray) -> float:
    there = whole > 0
    return float((part[there] / whole[there]).mean()) if there.any() else float("nan")
