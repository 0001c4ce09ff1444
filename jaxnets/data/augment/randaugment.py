"""RandAugment (Cubuk et al., 2019): a few operations drawn for each image, all at one magnitude."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxnets.data.augment.levels import (
    TOP,
    blended,
    equalized,
    from_levels,
    grey,
    looked_up,
    posterized,
    smooth,
    solarized,
    stretched,
    to_levels,
)
from jaxnets.types import Array, experiment_dataclass, number

# The paper's fourteen. An image has one place in this list at a time, so that the whole batch goes through one look-up,
# one blend and one resampling, whatever each image has drawn.
COLOURS = (
    "identity", "autocontrast", "equalize", "solarize", "posterize", "brightness", "contrast", "color", "sharpness",
)  # fmt: skip
MOVES = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")

# What the largest magnitude is, as in AutoAugment; smaller ones are in proportion.
_MAGNITUDES = 10.0
_BITS = 4.0  # taken away by posterize
_FACTOR = 0.9  # brightness, contrast, color and sharpness: by 1 - this or 1 + this
_SHEAR = 0.3  # pixels a pixel
_SHIFT = 150 / 331  # of a side
_TURN = jnp.pi / 6  # radians


@experiment_dataclass
class RandAugment:
    """Each image goes through `operations` of fourteen, drawn with replacement, each to the one side or the other.

    identity, autocontrast, equalize, solarize, posterize, brightness, contrast, color, sharpness; shear_x, shear_y,
    translate_x, translate_y, rotate. Departures: what comes in from outside is the mean, and moves are bilinear and
    around the centre.
    """

    operations: int = 2
    magnitude: float = number(9.0)  # from 0 to 10
    moves: bool = True  # shear, translate and rotate, too


def rand_augment(
    key: Array, images: Array, config: RandAugment, *, mean: Sequence[float], std: Sequence[float]
) -> Array:
    """(b h w c) standardised by `mean` and `std`, in whole levels, after each image's own operations."""
    levels = to_levels(images, mean, std)
    fill = to_levels(jnp.zeros((1, 1, 1, images.shape[3])), mean, std)
    choices = len(COLOURS) + (len(MOVES) if config.moves else 0)
    for number_key in jax.random.split(key, config.operations):
        which, side = jax.random.split(number_key)
        chosen = jax.random.randint(which, (images.shape[0],), 0, choices)
        signs = jax.random.rademacher(side, chosen.shape, jnp.float32)
        levels = recoloured(levels, chosen, signs, config.magnitude)
        if config.moves:
            levels = moved(levels, chosen, signs, config.magnitude, fill)
    return from_levels(levels, mean, std)


def recoloured(levels: Array, chosen: Array, signs: Array, magnitude: Any) -> Array:
    """(b h w c) levels after the colour operation that each image has chosen (b,), its place in COLOURS + MOVES."""

    def place(name: str) -> Array:
        return (chosen == COLOURS.index(name))[:, None, None]

    share = magnitude / _MAGNITUDES
    tables = {
        "autocontrast": stretched(levels),
        "equalize": equalized(levels),
        "solarize": solarized((TOP + 1) * (1 - share)),
        "posterize": posterized(8 - jnp.round(_BITS * share).astype(jnp.int32)),
    }
    table = jnp.arange(TOP + 1)[None, :, None]
    for name, one in tables.items():
        table = jnp.where(place(name), one, table)
    levels = looked_up(levels, table)

    greys = grey(levels)
    others = {
        "brightness": jnp.zeros_like(levels),
        "contrast": jnp.round(greys.mean(axis=(1, 2, 3), keepdims=True)).astype(jnp.int32),
        "color": greys,
        "sharpness": smooth(levels),
    }
    other = levels
    for name, one in others.items():
        other = jnp.where(place(name)[..., None], one, other)
    return blended(other, levels, 1 + _FACTOR * share * signs[:, None, None, None])


def moved(levels: Array, chosen: Array, signs: Array, magnitude: Any, fill: Array) -> Array:
    """(b h w c) levels after the move that each image has chosen (b,); `fill` (1 1 1 c) comes in from outside.

    The pixel (y, x) reads at the centre + matrix · ((y, x) - centre) + shift.
    """
    _, h, w, _ = levels.shape
    amounts = magnitude / _MAGNITUDES * signs

    def amount(name: str, largest: float) -> Array:
        return jnp.where(chosen == len(COLOURS) + MOVES.index(name), largest * amounts, 0.0)

    turn, shear_x, shear_y = amount("rotate", _TURN), amount("shear_x", _SHEAR), amount("shear_y", _SHEAR)
    y, x = (part.ravel() for part in jnp.mgrid[:h, :w])
    y, x = (y - (h - 1) / 2)[None], (x - (w - 1) / 2)[None]  # 1 hw
    cosine, sine = jnp.cos(turn)[:, None], jnp.sin(turn)[:, None]
    rows = cosine * y + (shear_y[:, None] - sine) * x + (h - 1) / 2 + amount("translate_y", _SHIFT * h)[:, None]
    columns = (shear_x[:, None] + sine) * y + cosine * x + (w - 1) / 2 + amount("translate_x", _SHIFT * w)[:, None]
    sample = jax.vmap(jax.vmap(_sampled, in_axes=(2, None, None), out_axes=1))  # of a channel, of an image
    found = sample((levels - fill).astype(jnp.float32), rows, columns)  # b hw c
    return jnp.round(found).astype(jnp.int32).reshape(levels.shape) + fill


def _sampled(image: Array, rows: Array, columns: Array) -> Array:
    """(n,) values of (h w) between pixels, bilinear; outside is 0."""
    return jax.scipy.ndimage.map_coordinates(image, [rows, columns], order=1, mode="constant", cval=0.0)
