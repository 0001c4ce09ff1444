"""Multi-label classification: each example has any number of labels, none and all among them.

Symbols: z the logit of a label, y whether the example has it (0 or 1), a the weight of labels that it has:

    -(a·y·log σ(z) + (1 - y)·log σ(-z)), averaged over labels
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxnets.tasks.counts import f1, label_metric
from jaxnets.tasks.mean import mean_metric
from jaxnets.tasks.ranking import pr_auc, rank_metric, roc_auc
from jaxnets.types import Array, Batch, Task, experiment_dataclass, number


@experiment_dataclass
class MultiLabel:
    """Config of `multi_label`."""

    positive_weight: float | None = number(None)  # a: above 1 it finds rare labels more often, and more in vain


def multi_label(*, positive_weight: Any = None) -> Task:
    """Any of c labels: targets are 0 and 1 (b c), outputs logits (b c); a label is found where its logit is above 0.

    Metrics: accuracy (of labels: 1 - the Hamming loss), exact (all labels of an example are right), nll (a label,
    unweighted), and macro over labels f1, roc_auc and pr_auc.

    >>> task = multi_label()
    >>> losses, weights = task.loss(jnp.zeros((1, 2)), jnp.array([[1.0, 0.0]]), jnp.ones(1))
    >>> round(float(losses[0]), 4)
    0.6931
    """

    def prepare(batch: Batch, /, *, train: bool, key: Array | None) -> tuple[Any, Any, Any]:
        return batch["inputs"], batch["targets"].astype(jnp.float32), batch["weight"]

    def loss(outputs: Any, targets: Any, weight: Any, /) -> tuple[Array, Array]:
        return _nll(outputs, targets, 1.0 if positive_weight is None else positive_weight), weight

    def right(outputs: Any, targets: Any) -> Array:
        return (_found(outputs) == targets).astype(jnp.float32)

    def predict(outputs: Any, /) -> dict[str, Array]:
        return {"probabilities": jax.nn.sigmoid(outputs), "labels": _found(outputs).astype(jnp.uint8)}

    def scores(outputs: Any, targets: Any) -> tuple[Array, Array]:
        return outputs, targets

    metrics = {
        "accuracy": mean_metric(lambda outputs, targets: right(outputs, targets).mean(axis=-1), larger_is_better=True),
        "exact": mean_metric(lambda outputs, targets: right(outputs, targets).min(axis=-1), larger_is_better=True),
        "nll": mean_metric(lambda outputs, targets: _nll(outputs, targets, 1.0)),
        "f1": label_metric(lambda outputs, targets: (targets, _found(outputs)), f1),
        "roc_auc": rank_metric(scores, roc_auc),
        "pr_auc": rank_metric(scores, pr_auc),
    }
    return Task(prepare, loss, metrics, predict)


def _found(outputs: Array) -> Array:
    return (outputs > 0).astype(jnp.float32)


def _nll(outputs: Array, targets: Array, positive_weight: Any) -> Array:
    """(b,) of logits and labels (b c)."""
    there = positive_weight * targets * jax.nn.log_sigmoid(outputs)
    return -(there + (1.0 - targets) * jax.nn.log_sigmoid(-outputs)).mean(axis=-1)
