"""Language modelling: the next token at every position."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxnets.tasks.distillation import Distillation
from jaxnets.tasks.mean import mean_metric
from jaxnets.types import Array, Batch, Task, experiment_dataclass, number, stage


@experiment_dataclass
class LanguageModelling:
    """Config of `language_modelling`, and of what it learns from beside the text."""

    label_smoothing: float | None = number(None)  # share of probability given to all tokens alike
    distill: Distillation | None = stage(None)  # a finished run that teaches, too


def language_modelling(vocabulary_size: int, *, separator: int | None = None, label_smoothing: Any = None) -> Task:
    """`batch["inputs"]` holds windows of t + 1 tokens; outputs are logits (b t v); the loss is a mean over tokens.

    An optional `batch["mask"]` (b t+1) is 0 where a token does not count, and a `separator` of documents counts nothing
    behind another. Metrics: nll (nats a token), perplexity,
    bits_per_byte (for tokens that are bytes), accuracy.
    """

    def prepare(batch: Batch, /, *, train: bool, key: Array | None) -> tuple[Any, Any, Any]:
        tokens = batch["inputs"].astype(jnp.int32)
        weight = jnp.broadcast_to(batch["weight"][:, None], tokens[:, 1:].shape)
        if "mask" in batch:
            weight = weight * batch["mask"][:, 1:]
        if separator is not None:
            weight = weight * ((tokens[:, :-1] != separator) | (tokens[:, 1:] != separator))
        return tokens[:, :-1], tokens[:, 1:], weight

    def nll(outputs: Any, targets: Any) -> Array:
        return optax.softmax_cross_entropy_with_integer_labels(outputs, targets)

    def loss(outputs: Any, targets: Any, weight: Any, /) -> tuple[Array, Array]:
        each = nll(outputs, targets)
        if label_smoothing is not None:
            uniform = jax.nn.logsumexp(outputs, axis=-1) - outputs.mean(axis=-1)
            each = (1.0 - label_smoothing) * each + label_smoothing * uniform
        return each, weight

    def right(outputs: Any, targets: Any) -> Array:
        return (outputs.argmax(axis=-1) == targets).astype(jnp.float32)

    metrics = {
        "nll": mean_metric(nll),
        "perplexity": mean_metric(nll, finish=lambda mean: math.exp(min(mean, 700.0))),
        "bits_per_byte": mean_metric(nll, finish=lambda mean: mean / math.log(2)),
        "accuracy": mean_metric(right),
    }
    return Task(prepare, loss, metrics, lambda outputs: {"probabilities": jax.nn.softmax(outputs)})
