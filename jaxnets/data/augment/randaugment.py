"""RandAugment (Cubuk et al., 2019): a few operations drawn for each image, all at one magnitude."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
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
    for chosen, signs in _draws(key, images.shape[0], config):
        levels = recoloured(levels, chosen, signs, config.magnitude)
        if config.moves:
            levels = moved(levels, chosen, signs, config.magnitude, fill)
    return from_levels(levels, mean, std)


def moved_masks(key: Array, masks: Array, config: RandAugment, *, outside: int) -> Array:
    """(b h w) masks after the moves that `rand_augment` makes with this key, each pixel the nearest one's class."""
    if not config.moves:
        return masks
    _, h, w = masks.shape
    nearest = jax.vmap(functools.partial(_sampled, order=0))
    for chosen, signs in _draws(key, masks.shape[0], config):
        found = nearest((masks - outside).astype(jnp.int32), *_read_at(chosen, signs, config.magnitude, h, w))
        masks = found.reshape(masks.shape).astype(masks.dtype) + outside
    return masks


def _draws(key: Array, count: int, config: RandAugment) -> Iterator[tuple[Array, Array]]:
    """(the place of its operation in COLOURS + MOVES, the side) of each image, (b,) both, once for each operation."""
    choices = len(COLOURS) + (len(MOVES) if config.moves else 0)
    for number_key in jax.random.split(key, config.operations):
        which, side = jax.random.split(number_key)
        yield jax.random.randint(which, (count,), 0, choices), jax.random.rademacher(side, (count,), jnp.float32)


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
    """(b h w c) levels after the move that each image has chosen (b,); `fill` (1 1 1 c) comes in from outside."""
    _, h, w, _ = levels.shape
    sample = jax.vmap(jax.vmap(_sampled, in_axes=(2, None, None), out_axes=1))  # of a channel, of an image
    found = sample((levels - fill).astype(jnp.float32), *_read_at(chosen, signs, magnitude, h, w))  # b hw c
    return jnp.round(found).astype(jnp.int32).reshape(levels.shape) + fill


def _read_at(chosen: Array, signs: Array, magnitude: Any, h: int, w: int) -> tuple[Array, Array]:
    """(rows, columns) (b hw) that each pixel is read at after the move that its image has chosen (b,).

    The pixel (y, x) reads at the centre + matrix · ((y, x) - centre) + shift.
    """
    amounts = magnitude / _MAGNITUDES * signs

    def amount(name: str, largest: float) -> Array:
        return jnp.where(chosen == len(COLOURS) + MOVES.index(name), largest * amounts, 0.0)

    turn, shear_x, shear_y = amount("rotate", _TURN), amount("shear_x", _SHEAR), amount("shear_y", _SHEAR)
    y, x = (part.ravel() for part in jnp.mgrid[:h, :w])
    y, x = (y - (h - 1) / 2)[None], (x - (w - 1) / 2)[None]  # 1 hw
    cosine, sine = jnp.cos(turn)[:, None], jnp.sin(turn)[:, None]
    rows = cosine * y + (shear_y[:, None] - sine) * x + (h - 1) / 2 + amount("translate_y", _SHIFT * h)[:, None]
    columns = (shear_x[:, None] + sine) * y + cosine * x + (w - 1) / 2 + amount("translate_x", _SHIFT * w)[:, None]
    return rows, columns


def _sampled(image: Array, rows: Array, columns: Array, order: int = 1) -> Array:
    """(n,) values of (h w) between pixels, bilinear, or the nearest ones with `order` 0; outside is 0."""
    return jax.scipy.ndimage.map_coordinates(image, [rows, columns], order=order, mode="constant", cval=0.0)
