"""Classification: cross-entropy over classes, with integer or soft labels."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxnets.tasks.mean import mean_metric
from jaxnets.types import Array, Batch, Task, experiment_dataclass, number


@experiment_dataclass
class Classification:
    """Config of `classification`."""

    label_smoothing: float | None = number(None)  # share of probability given to all classes alike
    class_weights: tuple[float, ...] | None = number(None)  # one a class, multiplies the weight of its examples


def classification(
    num_classes: int, *, label_smoothing: Any = None, class_weights: tuple[Any, ...] | None = None
) -> Task:
    """One class of `num_classes`: targets are integers (b,) or probabilities (b c); outputs are logits (b c).

    With smoothing ε the target p becomes (1-ε)·p + ε/c in the loss alone. Metrics: accuracy, nll (unsmoothed).

    >>> task = classification(2)
    >>> losses, weights = task.loss(jnp.zeros((1, 2)), jnp.array([1]), jnp.ones(1))
    >>> round(float(losses[0]), 4)
    0.6931
    """

    def soft(targets: Array) -> Array:
        return jax.nn.one_hot(targets, num_classes) if targets.ndim == 1 else targets

    def weigh(targets: Array, weight: Array) -> Array:
        if class_weights is None:
            return weight
        return weight * (soft(targets) @ jnp.stack([jnp.asarray(one, jnp.float32) for one in class_weights]))

    def prepare(batch: Batch, /, *, train: bool, key: Array | None) -> tuple[Any, Any, Any]:
        return batch["inputs"], batch["targets"], batch["weight"]

    def loss(outputs: Any, targets: Any, weight: Any, /) -> tuple[Array, Array]:
        target = soft(targets)
        if label_smoothing is not None:
            target = (1.0 - label_smoothing) * target + label_smoothing / num_classes
        return optax.softmax_cross_entropy(outputs, target), weigh(targets, weight)

    def right(outputs: Any, targets: Any) -> Array:
        wanted = targets if targets.ndim == 1 else targets.argmax(axis=-1)
        return (outputs.argmax(axis=-1) == wanted).astype(jnp.float32)

    def predict(outputs: Any, /) -> dict[str, Array]:
        return {"probabilities": jax.nn.softmax(outputs), "class": outputs.argmax(axis=-1)}

    metrics = {
        "accuracy": mean_metric(right),
        "nll": mean_metric(lambda outputs, targets: optax.softmax_cross_entropy(outputs, soft(targets))),
    }
    return Task(prepare, loss, metrics, predict)
