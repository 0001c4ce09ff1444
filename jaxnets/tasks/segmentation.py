"""Segmentation: a class for every pixel, by cross-entropy; pixels of unknown class count nowhere."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxnets.tasks.counts import class_counts, count_metric, mean_iou
from jaxnets.tasks.mean import mean_metric
from jaxnets.types import Array, Batch, Task, experiment_dataclass


@experiment_dataclass
class Segmentation:
    """Config of `segmentation`."""

    ignore_index: int | None = 255  # the number of pixels that do not count, in training and in figures


def segmentation(num_classes: int, *, ignore_index: int | None = 255) -> Task:
    """Targets are class numbers (b h w), outputs logits (b h w c); the loss is the mean over pixels that count.

    Metrics over all pixels of a data set: accuracy, nll, miou (intersection over union, the mean over classes). An
    evaluation keeps of each image how many pixels of each class are true, found and both (b c). `predict` gives class
    and confidence (b h w).

    >>> task = segmentation(2)
    >>> batch = {"inputs": jnp.ones((1, 1, 2, 1)), "targets": jnp.array([[[1, 255]]]), "weight": jnp.ones(1)}
    >>> task.prepare(batch, train=True, key=None)[2].tolist()
    [[[1.0, 0.0]]]
    """

    def prepare(batch: Batch, /, *, train: bool, key: Array | None) -> tuple[Any, Any, Any]:
        targets = batch["targets"].astype(jnp.int32)
        weight = jnp.broadcast_to(batch["weight"][:, None, None], targets.shape)
        return batch["inputs"], targets, weight if ignore_index is None else weight * (targets != ignore_index)

    def nll(outputs: Any, targets: Any) -> Array:
        known = jnp.clip(targets, 0, num_classes - 1)  # others have the weight 0
        return optax.softmax_cross_entropy_with_integer_labels(outputs, known)

    def loss(outputs: Any, targets: Any, weight: Any, /) -> tuple[Array, Array]:
        return nll(outputs, targets), weight

    def right(outputs: Any, targets: Any) -> Array:
        return (outputs.argmax(axis=-1) == targets).astype(jnp.float32)

    def kept(outputs: Any, targets: Any, weight: Any, /) -> dict[str, Array]:
        return class_counts(targets, outputs.argmax(axis=-1), weight, num_classes=num_classes)

    def predict(outputs: Any, /) -> dict[str, Array]:
        return {"class": outputs.argmax(axis=-1), "confidence": jax.nn.softmax(outputs).max(axis=-1)}

    metrics = {
        "accuracy": mean_metric(right, larger_is_better=True),
        "nll": mean_metric(nll),
        "miou": count_metric(
            lambda outputs, targets: (targets, outputs.argmax(axis=-1)), mean_iou, num_classes=num_classes
        ),
    }
    return Task(prepare, loss, metrics, predict, kept)
