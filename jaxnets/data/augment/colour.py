"""Colours moved at random, on standardised images."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxnets.types import Array, experiment_dataclass, number


@experiment_dataclass
class ColorJitter:
    """Brightness, contrast, saturation and hue of each image, each by a uniform draw of its own (Howard, 2013).

    Only operations that mean the same on standardised images: no clipping, since these have no least and no largest
    value; what needs levels stands in `levels`. Brightness is an offset (0 is grey there, so that a factor
    would be contrast), and hue turns around the grey axis, which is linear. `None` leaves an operation out.
    """

    brightness: float | None = number(0.4)  # largest offset, in deviations
    contrast: float | None = number(0.4)  # around the image's mean, by a factor from 1 - this to 1 + this
    saturation: float | None = number(0.4)  # around each pixel's grey, by a factor from 1 - this to 1 + this
    hue: float | None = number(None)  # largest turn, as a share of the circle; images of three channels


def color_jitter(key: Array, images: Array, config: ColorJitter) -> Array:
    """(b h w c) in other colours. Raises ValueError if hue is asked of images without three channels."""
    keys = jax.random.split(key, 4)
    if config.brightness is not None:
        images = images + _drawn(keys[0], images, config.brightness)
    if config.contrast is not None:
        images = _away_from(
            images.mean(axis=(1, 2, 3), keepdims=True), images, _drawn(keys[1], images, config.contrast)
        )
    if config.saturation is not None:
        images = _away_from(images.mean(axis=3, keepdims=True), images, _drawn(keys[2], images, config.saturation))
    if config.hue is not None:
        images = _turned(images, 2 * jnp.pi * _drawn(keys[3], images, config.hue))
    return images


def _drawn(key: Array, images: Array, largest: Any) -> Array:
    """(b 1 1 1), uniform from -largest to largest."""
    return jax.random.uniform(key, (images.shape[0], 1, 1, 1), images.dtype, -1.0, 1.0) * largest


def _away_from(centre: Array, images: Array, more: Array) -> Array:
    return centre + (1 + more) * (images - centre)


def _turned(images: Array, angle: Array) -> Array:
    """Each pixel turned around the axis (1, 1, 1) by `angle` (b 1 1 1): Rodrigues' formula."""
    if images.shape[-1] != 3:
        raise ValueError(f"hue needs three channels, not {images.shape[-1]}; leave it None")
    grey = images.mean(axis=3, keepdims=True)
    across = (jnp.roll(images, 1, axis=3) - jnp.roll(images, -1, axis=3)) / 3**0.5  # axis × pixel
    return grey + jnp.cos(angle) * (images - grey) + jnp.sin(angle) * across
