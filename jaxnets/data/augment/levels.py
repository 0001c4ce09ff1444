"""Operations on the 256 levels of an image, the same as Pillow's, and each one as an augmentation of its own.

Batches are standardised: `to_levels` takes them back to whole levels from 0 to 255, `from_levels` forth again. What a
level becomes wherever it stands is a table (b 256 c), 1 in place of b or c where all examples or channels share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxnets.types import Array, experiment_dataclass, number

TOP = 255  # the highest level


@experiment_dataclass
class Posterize:
    """Keeps the highest `bits` of each level, in a share of the images."""

    bits: int = number(4)  # of 8
    probability: float = number(0.5)  # of an image


@experiment_dataclass
class Solarize:
    """Inverts the levels from `threshold` on, in a share of the images."""

    threshold: float = number(128.0)  # a level; 256 inverts none
    probability: float = number(0.5)  # of an image


@experiment_dataclass
class Invert:
    """Level v becomes 255 - v, in a share of the images."""

    probability: float = number(0.5)  # of an image


@experiment_dataclass
class AutoContrast:
    """Spreads each channel from its least to its highest level over 0 to 255, in a share of the images."""

    probability: float = number(0.5)  # of an image


@experiment_dataclass
class Equalize:
    """Makes the levels of each channel equally frequent, in a share of the images.

    As in Pillow, images whose pixels without those of the highest level are fewer than 255 stay as they are.
    """

    probability: float = number(0.5)  # of an image


@experiment_dataclass
class Sharpness:
    """Sharpens or smooths each image by a uniform draw of its own."""

    change: float = number(0.9)  # away from the smoothed image by a factor from 1 - this to 1 + this


LevelOperation = Posterize | Solarize | Invert | AutoContrast | Equalize | Sharpness


def on_levels(
    key: Array, images: Array, stage: LevelOperation, *, mean: Sequence[float], std: Sequence[float]
) -> Array:
    """(b h w c) standardised by `mean` and `std`, after `stage`; images that are not drawn stay bit for bit."""
    levels = to_levels(images, mean, std)
    draws = jax.random.uniform(key, (images.shape[0], 1, 1, 1))
    if isinstance(stage, Sharpness):
        return from_levels(blended(smooth(levels), levels, 1 + stage.change * (2 * draws - 1)), mean, std)
    match stage:
        case Posterize(bits=bits):
            table = posterized(bits)
        case Solarize(threshold=threshold):
            table = solarized(threshold)
        case Invert():
            table = TOP - _same()
        case AutoContrast():
            table = stretched(levels)
        case Equalize():
            table = equalized(levels)
    return jnp.where(draws < stage.probability, from_levels(looked_up(levels, table), mean, std), images)


def to_levels(images: Array, mean: Sequence[float], std: Sequence[float]) -> Array:
    """(b h w c) whole levels from 0 to 255 of standardised images; nothing to undo where `mean` is empty."""
    if mean:
        images = images * _channels(std) + _channels(mean)
    return jnp.clip(jnp.round(images * TOP), 0, TOP).astype(jnp.int32)


def from_levels(levels: Array, mean: Sequence[float], std: Sequence[float]) -> Array:
    """(b h w c) standardised images of levels: what `preprocess` makes of them."""
    images = levels.astype(jnp.float32) / TOP
    return (images - _channels(mean)) / _channels(std) if mean else images


def posterized(bits: Any) -> Array:
    """The table (b 256 1) that keeps the highest `bits` (b 1 1) or () of 8."""
    return _same() >> (8 - bits) << (8 - bits)


def solarized(threshold: Any) -> Array:
    """The table (b 256 1) that inverts levels from `threshold` (b 1 1) or () on."""
    return jnp.where(_same() < threshold, _same(), TOP - _same())


def stretched(levels: Array) -> Array:
    """The table (b 256 c) of autocontrast: each channel's least level to 0 and its highest to 255."""
    low, high = levels.min(axis=(1, 2))[:, None], levels.max(axis=(1, 2))[:, None]  # b 1 c
    table = jnp.clip((_same() - low) * TOP // jnp.maximum(high - low, 1), 0, TOP)
    return jnp.where(high > low, table, _same())


def equalized(levels: Array) -> Array:
    """The table (b 256 c) of Pillow's equalize: (pixels below + half a step) / step, in whole numbers.

    A step is 1/255 of a channel's pixels, without those of its highest level.
    """
    b, h, w, c = levels.shape
    counts = jax.vmap(lambda pixels: jnp.bincount(pixels, length=TOP + 1))(
        jnp.moveaxis(levels, 3, 1).reshape(b * c, -1)
    )
    counts = counts.reshape(b, c, -1).swapaxes(1, 2)  # b 256 c
    highest = jnp.take_along_axis(counts, levels.max(axis=(1, 2))[:, None], axis=1)  # b 1 c
    step = (h * w - highest) // TOP
    table = jnp.clip((jnp.cumsum(counts, axis=1) - counts + step // 2) // jnp.maximum(step, 1), 0, TOP)
    return jnp.where(step > 0, table, _same())


def looked_up(levels: Array, table: Array) -> Array:
    """(b h w c) with each level replaced by that of a table."""
    b, h, w, c = levels.shape
    tables = jnp.broadcast_to(table, (b, TOP + 1, c))
    return jnp.take_along_axis(tables, levels.reshape(b, h * w, c), axis=1).reshape(levels.shape)


def blended(other: Array, levels: Array, factor: Any) -> Array:
    """other + factor · (levels - other), to the nearest level; a factor above 1 leads away from `other`."""
    return jnp.clip(jnp.round(other + factor * (levels - other)), 0, TOP).astype(jnp.int32)


def grey(levels: Array) -> Array:
    """(b h w 1) the luma of three channels (ITU-R 601, to the nearest level), the mean of any other number."""
    if levels.shape[3] != 3:
        return jnp.round(levels.mean(axis=3, keepdims=True)).astype(jnp.int32)
    red, green, blue = jnp.split(levels, 3, axis=3)
    return (19595 * red + 38470 * green + 7471 * blue + (1 << 15)) >> 16


def smooth(levels: Array) -> Array:
    """(b h w c) means of 3 × 3 pixels, the middle one five times, to the nearest level; the outermost stay."""
    _, h, w, _ = levels.shape
    padded = jnp.pad(levels, ((0, 0), (1, 1), (1, 1), (0, 0)))
    around = sum(padded[:, i : i + h, j : j + w] for i in range(3) for j in range(3))
    inner = jnp.pad(jnp.ones((max(h - 2, 0), max(w - 2, 0)), bool), ((1, min(h - 1, 1)), (1, min(w - 1, 1))))
    return jnp.where(inner[None, :, :, None], (around + 4 * levels + 6) // 13, levels)


def _same() -> Array:
    """The table (1 256 1) that changes nothing."""
    return jnp.arange(TOP + 1)[None, :, None]


def _channels(values: Sequence[float]) -> Array:
    return jnp.asarray(values, jnp.float32).reshape(1, 1, 1, -1)
