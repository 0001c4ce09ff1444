"""Two examples of a batch made one, their labels and weights mixed by the same share.

The first goes with the last, the second with the last but one: examples come in random order, so that no draw is
needed, and a batch that is divided over chips is reversed by one exchange of parts, where a permutation would gather
all of it.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxnets.types import Array, Batch, experiment_dataclass, number


@experiment_dataclass
class Mixup:
    """λ·a + (1-λ)·b of two examples and of their labels, λ ~ Beta(α, α) (Zhang et al., 2017)."""

    alpha: float = number(0.2)


@experiment_dataclass
class CutMix:
    """Pastes 1 - λ of one image into another, labels mixed by area, λ ~ Beta(α, α) (Yun et al., 2019)."""

    alpha: float = number(1.0)


def mixup(key: Array, batch: Batch, *, alpha: Any, num_classes: int) -> Batch:
    """Each example mixed with another one of the batch; targets become probabilities (b c), weights mix too."""
    share = jax.random.beta(key, alpha, alpha)
    return {**batch, "inputs": _mixed(batch["inputs"], share), **_mixed_labels(batch, share, num_classes)}


def cutmix(key: Array, batch: Batch, *, alpha: Any, num_classes: int) -> Batch:
    """Each image with one rectangle, the same in all of the batch, from another; targets become probabilities (b c).

    The rectangle has the image's shape, √(1 - λ) of its sides and a uniform centre; what lies outside is cut off, and
    labels and weights mix by the pixels that are left.
    """
    images = batch["inputs"]
    inside = _rectangle(key, images.shape[1], images.shape[2], alpha)
    inputs = jnp.where(inside[None, :, :, None], images[::-1], images)
    return {**batch, "inputs": inputs, **_mixed_labels(batch, 1 - inside.mean(), num_classes)}


def cutmix_masks(key: Array, batch: Batch, *, alpha: Any) -> Batch:
    """`cutmix` of pictures with masks (b h w): each pixel takes its class along, and rows of weight 0 give none."""
    images, masks = batch["inputs"], batch["targets"]
    known = batch["weight"][::-1, None, None] > 0
    inside = _rectangle(key, images.shape[1], images.shape[2], alpha)[None] & known  # b h w
    inputs = jnp.where(inside[..., None], images[::-1], images)
    return {**batch, "inputs": inputs, "targets": jnp.where(inside, masks[::-1], masks)}


def _rectangle(key: Array, height: int, width: int, alpha: Any) -> Array:
    """(h w) True in a rectangle of the image's shape."""
    share_key, row_key, column_key = jax.random.split(key, 3)
    side = jnp.sqrt(1 - jax.random.beta(share_key, alpha, alpha))
    return _span(row_key, height, side)[:, None] & _span(column_key, width, side)[None]


def _span(key: Array, length: int, share: Array) -> Array:
    """(length,) True in `share` of the length around a uniform centre, cut at the ends."""
    size = jnp.floor(share * length)
    start = jax.random.randint(key, (), 0, length) - jnp.floor(size / 2)
    place = jnp.arange(length)
    return (place >= start) & (place < start + size)


def _mixed_labels(batch: Batch, share: Array, num_classes: int) -> dict[str, Array]:
    targets = batch["targets"]
    soft = jax.nn.one_hot(targets, num_classes) if num_classes and targets.ndim == 1 else targets
    return {"targets": _mixed(soft, share), "weight": _mixed(batch["weight"], share)}


def _mixed(leaf: Array, share: Array) -> Array:
    return share * leaf + (1 - share) * leaf[::-1]
