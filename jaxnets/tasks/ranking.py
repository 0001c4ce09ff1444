"""Figures of the order of scores: they do not add up, so evaluation collects scores and the host computes exactly.

Classes, or labels, are each ranked against the rest; the figure is the mean over those that have examples of either
kind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.types import Array, Metric, PyTree

Curve = Callable[[np.ndarray, np.ndarray], float]  # (true, false), cumulated from the highest score on -> area


def rank_metric(scores: Callable[[PyTree, PyTree], tuple[Array, Array]], area: Curve) -> Metric:
    """`scores(outputs, targets)` gives scores (b c) and whether each is of a true one (b c), 0 or 1."""

    def update(outputs: PyTree, targets: PyTree, weight: PyTree, /) -> dict[str, Array]:
        values, true = scores(outputs, targets)
        return {"scores": values.astype(jnp.float32), "true": true.astype(jnp.float32), "weight": weight}

    def result(collected: PyTree, /) -> float:
        kept = np.asarray(collected["weight"]) > 0
        weight = np.asarray(collected["weight"], np.float64)[kept]
        columns = zip(np.asarray(collected["scores"])[kept].T, np.asarray(collected["true"])[kept].T, strict=True)
        areas = [area(*cumulated(values, true, weight)) for values, true in columns]
        finite = [value for value in areas if np.isfinite(value)]
        return float(np.mean(finite)) if finite else float("nan")

    return Metric(update, result, larger_is_better=True, collects=True)


def class_scores(outputs: Array, targets: Array) -> tuple[Array, Array]:
    """Logits (b c) and class numbers (b,), or their shares (b c), as scores against the rest.

    Of two classes the second stands for both. What is collected is the logarithm of a probability, or of the odds,
    since probabilities near 1 are equal where these are not.
    """
    true = jax.nn.one_hot(targets, outputs.shape[-1]) if targets.ndim == 1 else targets
    if outputs.shape[-1] == 2:
        return outputs[:, 1:] - outputs[:, :1], true[:, 1:]
    return jax.nn.log_softmax(outputs), true


def cumulated(scores: Any, true: Any, weight: Any) -> tuple[np.ndarray, np.ndarray]:
    """(true, false): the weight of either kind among scores of at least each different one, from the highest on.

    >>> cumulated(np.array([0.1, 0.9, 0.9]), np.array([0.0, 1.0, 0.0]), np.ones(3))
    (array([1., 1.]), array([1., 2.]))
    """
    order = np.argsort(-scores, kind="stable")
    scores, true, weight = scores[order], true[order], weight[order]
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1) if len(scores) else np.zeros(0, np.int64)
    return np.cumsum(weight * true)[last], np.cumsum(weight * (1.0 - true))[last]


def roc_auc(true: np.ndarray, false: np.ndarray) -> float:
    """The chance that a true one has a higher score than a false one, a tie counting half (Hanley and McNeil, 1982).

    NaN where there is no true or no false one.

    >>> roc_auc(*cumulated(np.array([0.1, 0.9, 0.9]), np.array([0.0, 1.0, 0.0]), np.ones(3)))
    0.75
    """
    if not len(true) or not true[-1] or not false[-1]:
        return float("nan")
    return float(np.trapezoid(np.append(0.0, true), np.append(0.0, false)) / (true[-1] * false[-1]))


def pr_auc(true: np.ndarray, false: np.ndarray) -> float:
    """Average precision: Σ (recall gained) · precision over the different scores. NaN where there is no true one.

    >>> pr_auc(*cumulated(np.array([0.1, 0.9, 0.9]), np.array([0.0, 1.0, 0.0]), np.ones(3)))
    0.5
    """
    if not len(true) or not true[-1]:
        return float("nan")
    return float((np.diff(true, prepend=0.0) / true[-1] * (true / (true + false))).sum())
