"""Parts of images taken away."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxnets.types import Array, experiment_dataclass, number


@experiment_dataclass
class Cutout:
    """Sets a square to the mean (DeVries and Taylor, 2017)."""

    size: int = 8  # pixels


@experiment_dataclass
class RandomErasing:
    """Fills a rectangle with noise (Zhong et al., 2017), standard normal as the pixels themselves.

    Departures: the aspect is uniform in its logarithm, and a side that is too long is cut to the image's, instead of
    drawing again.
    """

    probability: float = number(0.5)  # of an image to lose a rectangle
    smallest: float = number(0.02)  # share of the area
    largest: float = number(0.4)  # share of the area
    aspect: float = number(0.3)  # height / width is between this and its inverse


def cutout(key: Array, images: Array, *, size: int) -> Array:
    """(b h w c) with a square of `size` pixels around a random centre set to 0; it may lie partly outside."""
    b, h, w, _ = images.shape
    row_key, column_key = jax.random.split(key)
    inside_rows = _near(jax.random.randint(row_key, (b,), 0, h), h, size)
    inside_columns = _near(jax.random.randint(column_key, (b,), 0, w), w, size)
    hole = inside_rows[:, :, None, None] & inside_columns[:, None, :, None]
    return jnp.where(hole, jnp.zeros_like(images), images)


def random_erasing(key: Array, images: Array, config: RandomErasing) -> Array:
    """(b h w c) with, at a chance, one rectangle of normal noise, wholly inside the image."""
    b, h, w, _ = images.shape
    chance, area_key, aspect_key, row_key, column_key, noise_key = jax.random.split(key, 6)
    area = jax.random.uniform(area_key, (b,), minval=config.smallest, maxval=config.largest)
    widest = -jnp.log(config.aspect)
    aspect = jnp.exp(jax.random.uniform(aspect_key, (b,), minval=-widest, maxval=widest))
    rows = _inside(row_key, jnp.sqrt(area * h * w * aspect), h)
    columns = _inside(column_key, jnp.sqrt(area * h * w / aspect), w)
    erased = jax.random.uniform(chance, (b, 1, 1)) < config.probability
    hole = erased & rows[:, :, None] & columns[:, None, :]
    return jnp.where(hole[..., None], jax.random.normal(noise_key, images.shape, images.dtype), images)


def _inside(key: Array, size: Array, length: int) -> Array:
    """(b length) True in `size` (b,) places, rounded, at least 1 and at most all, from a uniform start."""
    size = jnp.clip(jnp.round(size), 1, length)
    start = jnp.floor(jax.random.uniform(key, size.shape) * (length - size + 1))
    place = jnp.arange(length)[None]
    return (place >= start[:, None]) & (place < (start + size)[:, None])


def _near(centre: Array, length: int, size: int) -> Array:
    distance = jnp.arange(length)[None] - centre[:, None] + size // 2
    return (distance >= 0) & (distance < size)
