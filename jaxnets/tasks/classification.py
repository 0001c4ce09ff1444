"""Classification over classes with integer or soft labels: cross-entropy, or a loss that bears wrong labels.

Symbols: t target probabilities, p = softmax(outputs), both (b c); sums run over classes.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxnets.tasks.counts import balanced_accuracy, count_metric, f1
from jaxnets.tasks.distillation import Distillation
from jaxnets.tasks.mean import mean_metric
from jaxnets.tasks.ranking import class_scores, pr_auc, rank_metric, roc_auc
from jaxnets.types import Array, Batch, Metric, Task, experiment_dataclass, number, stage


@experiment_dataclass
class CrossEntropy:
    """-Σ t·log p."""


@experiment_dataclass
class GeneralizedCrossEntropy:
    """Σ t·(1 - p^q) / q: cross-entropy as q goes to 0, half the absolute error at 1 (Zhang and Sabuncu, 2018)."""

    q: float = number(0.7)


@experiment_dataclass
class SymmetricCrossEntropy:
    """α·(-Σ t·log p) + β·(-Σ p·log t), where log t is at least A (Wang et al., 2019)."""

    cross_weight: float = number(0.1)  # α
    reverse_weight: float = number(1.0)  # β
    log_zero: float = number(-4.0)  # A, in the place of log 0


ClassLoss = CrossEntropy | GeneralizedCrossEntropy | SymmetricCrossEntropy
_CROSS_ENTROPY = CrossEntropy()
_MOST_RANKED = 100  # classes whose scores are collected: ten times as many would fill the memory of a host


@experiment_dataclass
class Classification:
    """Config of `classification`, and of what it learns from beside labels."""

    loss: ClassLoss = stage(_CROSS_ENTROPY)
    label_smoothing: float | None = number(None)  # share of probability given to all classes alike
    class_weights: tuple[float, ...] | None = number(None)  # one a class, multiplies the weight of its examples
    distill: Distillation | None = stage(None)  # a finished run that teaches, too


def classification(
    num_classes: int,
    *,
    loss: ClassLoss = _CROSS_ENTROPY,
    label_smoothing: Any = None,
    class_weights: tuple[Any, ...] | None = None,
) -> Task:
    """One class of `num_classes`: targets are integers (b,) or probabilities (b c); outputs are logits (b c).

    With smoothing ε the target t becomes (1-ε)·t + ε/c in the loss alone. Metrics: accuracy, nll (unsmoothed: the log
    loss), balanced_accuracy, f1 (macro), and roc_auc and pr_auc (each class against the rest).
    Raises ValueError if labels are smoothed for another loss than cross-entropy.

    >>> task = classification(2)
    >>> losses, weights = task.loss(jnp.zeros((1, 2)), jnp.array([1]), jnp.ones(1))
    >>> round(float(losses[0]), 4)
    0.6931
    """
    if label_smoothing is not None and not isinstance(loss, CrossEntropy):
        raise ValueError(f"label_smoothing goes with CrossEntropy alone, not with {type(loss).__name__}; leave it None")

    def soft(targets: Array) -> Array:
        return jax.nn.one_hot(targets, num_classes) if targets.ndim == 1 else targets

    def weigh(targets: Array, weight: Array) -> Array:
        if class_weights is None:
            return weight
        return weight * (soft(targets) @ jnp.stack([jnp.asarray(one, jnp.float32) for one in class_weights]))

    def prepare(batch: Batch, /, *, train: bool, key: Array | None) -> tuple[Any, Any, Any]:
        return batch["inputs"], batch["targets"], batch["weight"]

    def losses(outputs: Any, targets: Any, weight: Any, /) -> tuple[Array, Array]:
        target = soft(targets)
        if label_smoothing is not None:
            target = (1.0 - label_smoothing) * target + label_smoothing / num_classes
        return _each(loss, outputs, target), weigh(targets, weight)

    def right(outputs: Any, targets: Any) -> Array:
        wanted = targets if targets.ndim == 1 else targets.argmax(axis=-1)
        return (outputs.argmax(axis=-1) == wanted).astype(jnp.float32)

    def predict(outputs: Any, /) -> dict[str, Array]:
        return {"probabilities": jax.nn.softmax(outputs), "class": outputs.argmax(axis=-1)}

    metrics = {
        "accuracy": mean_metric(right, larger_is_better=True),
        "nll": mean_metric(lambda outputs, targets: optax.softmax_cross_entropy(outputs, soft(targets))),
    }
    return Task(prepare, losses, metrics | class_metrics(num_classes), predict)


def class_metrics(num_classes: int) -> dict[str, Metric]:
    """What logits (b c) and class numbers (b,) are measured by beside accuracy and nll; scores are ranked up to
    100 classes.
    """

    def found(outputs: Any, targets: Any) -> tuple[Array, Array]:
        return targets if targets.ndim == 1 else targets.argmax(axis=-1), outputs.argmax(axis=-1)

    metrics = {
        "balanced_accuracy": count_metric(found, balanced_accuracy, num_classes=num_classes),
        "f1": count_metric(found, f1, num_classes=num_classes),
    }
    if num_classes > _MOST_RANKED:
        return metrics
    return metrics | {"roc_auc": rank_metric(class_scores, roc_auc), "pr_auc": rank_metric(class_scores, pr_auc)}


def _each(loss: ClassLoss, outputs: Array, target: Array) -> Array:
    """The loss (b,) of logits (b c) for probabilities (b c)."""
    match loss:
        case CrossEntropy():
            return optax.softmax_cross_entropy(outputs, target)
        case GeneralizedCrossEntropy(q=q):
            return -(target * jnp.expm1(q * jax.nn.log_softmax(outputs))).sum(axis=-1) / q
        case SymmetricCrossEntropy(cross_weight=cross, reverse_weight=reverse, log_zero=least):
            backward = -(jax.nn.softmax(outputs) * jnp.maximum(jnp.log(target), least)).sum(axis=-1)
            return cross * optax.softmax_cross_entropy(outputs, target) + reverse * backward
