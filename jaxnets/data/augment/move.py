"""Images mirrored and shifted."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp

from jaxnets.types import Array, experiment_dataclass


@experiment_dataclass
class Flip:
    """Mirrors half of the images left to right."""


@experiment_dataclass
class Crop:
    """Shifts each image by up to `padding` pixels."""

    padding: int = 4  # pixels
    fill: Literal["mean", "reflect"] = "mean"  # what comes in from outside: the mean, or the image mirrored at its edge


def flip(key: Array, images: Array) -> Array:
    """(b h w c) with each image mirrored at a chance of one half."""
    mirrored = jax.random.bernoulli(key, shape=(images.shape[0], 1, 1, 1))
    return jnp.where(mirrored, images[:, :, ::-1], images)


def crop(key: Array, images: Array, *, padding: int, fill: Literal["mean", "reflect"] = "mean") -> Array:
    """(b h w c) cut at a random place from the image padded by `padding` pixels of 0, or of itself mirrored."""
    b, h, w, _ = images.shape
    around = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    padded = jnp.pad(images, around, mode="constant" if fill == "mean" else "reflect")
    starts = jax.random.randint(key, (2, b), 0, 2 * padding + 1)
    rows = starts[0][:, None] + jnp.arange(h)[None]  # b h
    columns = starts[1][:, None] + jnp.arange(w)[None]  # b w
    return padded[jnp.arange(b)[:, None, None], rows[:, :, None], columns[:, None, :]]
