"""Augmentation: pure functions of a key and a preprocessed batch, on the device, inside the compiled step."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxnets.types import Array, Batch, experiment_dataclass, number


@experiment_dataclass
class Flip:
    """Mirrors half of the images left to right."""


@experiment_dataclass
class Crop:
    """Shifts each image by up to `padding` pixels, filling with the mean."""

    padding: int = 4  # pixels


@experiment_dataclass
class Cutout:
    """Sets a square to the mean (DeVries and Taylor, 2017)."""

    size: int = 8  # pixels


@experiment_dataclass
class Mixup:
    """λ·a + (1-λ)·b of two examples and of their labels, λ ~ Beta(α, α) (Zhang et al., 2017)."""

    alpha: float = number(0.2)


Augmentation = Flip | Crop | Cutout | Mixup


def augment(stages: tuple[Augmentation, ...], key: Array, batch: Batch, *, num_classes: int) -> Batch:
    """The batch after all `stages` in order; images are (b h w c) and standardised, so the mean is 0."""
    for index, stage in enumerate(stages):
        own = jax.random.fold_in(key, index)
        match stage:
            case Flip():
                batch = {**batch, "inputs": flip(own, batch["inputs"])}
            case Crop(padding=padding):
                batch = {**batch, "inputs": crop(own, batch["inputs"], padding=padding)}
            case Cutout(size=size):
                batch = {**batch, "inputs": cutout(own, batch["inputs"], size=size)}
            case Mixup(alpha=alpha):
                batch = mixup(own, batch, alpha=alpha, num_classes=num_classes)
    return batch


def flip(key: Array, images: Array) -> Array:
    """(b h w c) with each image mirrored at a chance of one half."""
    mirrored = jax.random.bernoulli(key, shape=(images.shape[0], 1, 1, 1))
    return jnp.where(mirrored, images[:, :, ::-1], images)


def crop(key: Array, images: Array, *, padding: int) -> Array:
    """(b h w c) cut at a random place from the image padded by `padding` pixels of 0."""
    b, h, w, _ = images.shape
    padded = jnp.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    starts = jax.random.randint(key, (2, b), 0, 2 * padding + 1)
    rows = starts[0][:, None] + jnp.arange(h)[None]  # b h
    columns = starts[1][:, None] + jnp.arange(w)[None]  # b w
    return padded[jnp.arange(b)[:, None, None], rows[:, :, None], columns[:, None, :]]


def cutout(key: Array, images: Array, *, size: int) -> Array:
    """(b h w c) with a square of `size` pixels around a random centre set to 0; it may lie partly outside."""
    b, h, w, _ = images.shape
    row_key, column_key = jax.random.split(key)
    inside_rows = _near(jax.random.randint(row_key, (b,), 0, h), h, size)
    inside_columns = _near(jax.random.randint(column_key, (b,), 0, w), w, size)
    hole = inside_rows[:, :, None, None] & inside_columns[:, None, :, None]
    return jnp.where(hole, jnp.zeros_like(images), images)


def _near(centre: Array, length: int, size: int) -> Array:
    distance = jnp.arange(length)[None] - centre[:, None] + size // 2
    return (distance >= 0) & (distance < size)


def mixup(key: Array, batch: Batch, *, alpha: Any, num_classes: int) -> Batch:
    """Each example mixed with another one of the batch; targets become probabilities (b c), weights mix too."""
    share_key, order_key = jax.random.split(key)
    inputs, targets, weight = batch["inputs"], batch["targets"], batch["weight"]
    share = jax.random.beta(share_key, alpha, alpha)
    other = jax.random.permutation(order_key, inputs.shape[0])
    soft = jax.nn.one_hot(targets, num_classes) if num_classes and targets.ndim == 1 else targets
    mixed = [share * leaf + (1 - share) * leaf[other] for leaf in (inputs, soft, weight)]
    return {**batch, "inputs": mixed[0], "targets": mixed[1], "weight": mixed[2]}
