"""Encoded pictures as arrays of one size: cut at random while training, around the centre in evaluation.

The same cut is made of a picture and of its mask, whose numbers are never mixed with each other.
"""

from __future__ import annotations

import io
import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from jaxnets.data.draws import Draw
from jaxnets.types import experiment_dataclass

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_ASPECT = 4 / 3  # width / height of a random cut is between this and its inverse
_TRIES = 10
_MOST_PIXELS = 1 << 26  # 8192 × 8192; what claims to be larger is refused before it is unpacked


@experiment_dataclass
class Images:
    """How encoded images become arrays of one shape, and in which order they are read."""

    size: int = 224  # pixels a side
    area: float = 0.08  # least share of an image that a random cut keeps; 1 = none is cut, all see the middle
    centre: float = 0.875  # share of the shorter side that evaluation sees: 224 of 256 pixels
    column: str | None = None  # of a table of pairs, that holds paths or encoded images; none = image, path, file, …
    keep_gib: float = 2.0  # memory that decoded pictures may take, if all of a source fit; 0 = each is decoded anew
    pool: int = 4096  # examples that are shuffled among each other; their row groups are held in memory


class BadPicture(ValueError):
    """Bytes that are no picture, or none that can be used; the message says why."""


class Decoded(NamedTuple):
    """A picture in memory, and the class numbers of its pixels if it has a mask: images of Pillow."""

    whole: Any
    mask: Any = None


def cut(encoded: Any, config: Images, draw: Draw | None) -> UInt8[np.ndarray, "s s 3"]:
    """A picture from its file's bytes, as an array (see `cut_out`). BadPicture if they cannot be read."""
    return cut_out(decoded(encoded), config, draw)[0]


def decoded(encoded: Any, mask: Any = None) -> Decoded:
    """A picture, and its mask if there is one, from their files' bytes. BadPicture if they cannot be read."""
    whole = opened(encoded, "RGB")
    if mask is None:
        return Decoded(whole)
    numbers = opened(mask, None)
    if numbers.size != whole.size:
        raise BadPicture(f"the mask has {numbers.size} pixels, its picture {whole.size}")
    return Decoded(whole, numbers)


def cut_out(
    picture: Decoded, config: Images, draw: Draw | None
) -> tuple[UInt8[np.ndarray, "s s 3"], UInt8[np.ndarray, "s s"] | None]:
    """A part of a picture scaled to `config.size`, and the same part of its mask.

    draw: what to draw the part from; None = the middle
    """
    from PIL import Image

    width, height = picture.whole.size
    box = centre_box(width, height, config.centre)
    if draw is not None and config.area < 1:
        box = random_box(width, height, config.area, draw, config.centre)
    side = (config.size, config.size)
    pixels = np.asarray(picture.whole.resize(side, Image.Resampling.BILINEAR, box=box, reducing_gap=2.0), np.uint8)
    if picture.mask is None:
        return pixels, None
    return pixels, np.asarray(picture.mask.resize(side, Image.Resampling.NEAREST, box=box), np.uint8)


def opened(encoded: Any, mode: str | None) -> Any:
    """A picture in memory, as `mode`; "grey or colour" = as it is; with None, as the numbers of its one channel."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(encoded)) as picture:
            width, height = picture.size
            if width * height > _MOST_PIXELS:
                raise BadPicture(f"it claims {width} × {height} pixels; at most {_MOST_PIXELS} are unpacked")
            if mode is None and picture.mode not in ("1", "L", "P"):
                raise BadPicture(f"a mask of mode {picture.mode}; give one channel of class numbers from 0 to 255")
            picture.load()
            if mode == "grey or colour":
                mode = "L" if picture.mode in ("1", "L", "I", "I;16") else "RGB"
            if picture.mode == mode:
                return picture  # to convert it would copy it
            return picture.convert(mode or "L") if mode or picture.mode == "1" else picture
    except BadPicture:
        raise
    except UnidentifiedImageError as error:
        raise BadPicture("its bytes are no picture of a kind that is known") from error
    except Exception as error:  # whatever the decoders of foreign bytes raise, bombs among them
        raise BadPicture(str(error) or type(error).__name__) from error


def centre_box(width: int, height: int, share: float) -> tuple[float, float, float, float]:
    """(left, upper, right, lower) of the square in the middle, `share` of the shorter side.

    >>> centre_box(320, 256, 0.875)
    (48.0, 16.0, 272.0, 240.0)
    """
    side = share * min(width, height)
    left, upper = (width - side) / 2, (height - side) / 2
    return left, upper, left + side, upper + side


def random_box(width: int, height: int, least: float, draw: Draw, centre: float) -> tuple[float, float, float, float]:
    """A box of uniform area from `least` to 1, log-uniform aspect and uniform place; the centre if ten do not fit."""
    for _ in range(_TRIES):
        area = draw.uniform(least, 1.0) * width * height
        aspect = math.exp(draw.uniform(-math.log(_ASPECT), math.log(_ASPECT)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, upper = draw.integers(0, width - w + 1), draw.integers(0, height - h + 1)
            return float(left), float(upper), float(left + w), float(upper + h)
    return centre_box(width, height, centre)
