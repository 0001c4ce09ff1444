"""Examples out of nothing: `synthetic:image/HxWxC/CLASSES[/N]`, the same with masks, `synthetic:tokens/VOCABULARY[/N]`,
`synthetic:moving_digits/FRAMESxHxW[/N]`, `synthetic:captions/HxW[/N]`.

Noise in the shape of real data, so that every recipe can be tried, compiled and timed without its files. N train
examples, and up to 1024 in each of the other splits; memory does not grow with N.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from jaxnets.data import captions, moving, shapes
from jaxnets.data.reader import Leaf
from jaxnets.data.schema import Dataset, Split, pixel_schema
from jaxnets.data.text import check_window, token_schema
from jaxnets.errors import ConfigError

if TYPE_CHECKING:
    from jaxnets.data.source import Data

_EXAMPLES = 65536  # of the train split, where no number is given
_FEWER = 1024  # of the others, at most
_NOISE = 1 << 22  # values that are drawn, once; every example is a piece of them
_UNIFORM_STD = ((256**2 - 1) / 12) ** 0.5 / 255  # of levels from 0 to 255, each as likely


class Noise:
    """Rows cut out of one array of noise (see Reader), each at a place of its own: as fast as a copy."""

    def __init__(self, name: str, leaf: Leaf, *, largest: int) -> None:
        self._name, self._leaf = name, leaf
        size = math.prod(leaf.shape)
        draw = np.random.Generator(np.random.Philox(0))
        self._noise = draw.integers(0, largest + 1, _NOISE + size, np.dtype(leaf.dtype))

    @property
    def leaves(self) -> Mapping[str, Leaf]:
        return {self._name: self._leaf}

    def fill(self, rows: np.ndarray, out: Mapping[str, np.ndarray], draws: np.ndarray | None, /) -> None:
        size = math.prod(self._leaf.shape)
        for place, row in enumerate(rows):
            start = int(row) * 2654435761 % _NOISE  # Knuth's multiplicative hash
            out[self._name][place] = self._noise[start : start + size].reshape(self._leaf.shape)


def read(config: Data, name: str) -> Dataset:
    """The data set that the words behind `synthetic:` describe; ConfigError if they describe none."""
    match name.split("/"):
        case ["image", shape, classes, *more] if len(more) <= 1:
            sides = _whole(config, shape.split("x"))
            if len(sides) == 3:
                return _images(config, sides, _whole(config, [classes])[0], _count(config, more))
        case ["masks", shape, classes, *more] if len(more) <= 1:
            sides, (number,) = _whole(config, shape.split("x")), _whole(config, [classes])
            if len(sides) == 3 and number > 1:
                return shapes.dataset(config, sides, number, _bounds(_count(config, more)), _fingerprint(config))
        case ["moving_digits", shape, *more] if len(more) <= 1:
            sides = _whole(config, shape.split("x"))
            if len(sides) == 3:
                return moving.read(config, sides, _bounds(_count(config, more)))
        case ["captions", shape, *more] if len(more) <= 1:
            sides = _whole(config, shape.split("x"))
            if len(sides) == 2:
                return captions.read(config, sides, _bounds(_count(config, more)))
        case ["tokens", vocabulary, *more] if len(more) <= 1:
            return _tokens(config, _whole(config, [vocabulary])[0], _count(config, more))
    raise _refused(config)


def _whole(config: Data, words: list[str]) -> tuple[int, ...]:
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise _refused(config)
    return tuple(map(int, words))


def _count(config: Data, words: list[str]) -> int:
    return _whole(config, words)[0] if words else _EXAMPLES


def _refused(config: Data) -> ConfigError:
    return ConfigError(
        f"data.source {config.source!r} is not allowed; give synthetic:image/HEIGHTxWIDTHxCHANNELS/CLASSES or "
        "synthetic:tokens/VOCABULARY, or masks in the place of image, of whole numbers above 0 (of masks at least 2 "
        "classes), and /N behind it for N train examples, as in synthetic:image/224x224x3/1000/4096; or "
        "synthetic:moving_digits/FRAMESxHEIGHTxWIDTH, or synthetic:captions/HEIGHTxWIDTH"
    )


def _bounds(count: int) -> dict[str, tuple[int, int]]:
    """{split: (first row, examples)}, one after the other."""
    fewer = min(count, _FEWER)
    return {"train": (0, count), "valid": (count, fewer), "test": (count + fewer, fewer)}


def _images(config: Data, shape: tuple[int, ...], classes: int, count: int) -> Dataset:
    reader = Noise("inputs", Leaf(shape, "uint8"), largest=255)
    splits = {
        split: Split({"targets": np.arange(length, dtype=np.int32) % classes}, length, first=first, reader=reader)
        for split, (first, length) in _bounds(count).items()
    }
    fitted = ((0.5,) * shape[-1], (_UNIFORM_STD,) * shape[-1]) if config.standardize else ((), ())
    schema = pixel_schema(
        config.source,
        splits,
        shape=shape,
        classes=map(str, range(classes)),
        fitted=fitted,
        fingerprint=_fingerprint(config),
    )
    return Dataset(schema, splits)


def _tokens(config: Data, vocabulary: int, count: int) -> Dataset:
    window = check_window(config)
    reader = Noise("inputs", Leaf((window + 1,), "int32"), largest=vocabulary - 1)
    splits = {
        split: Split({}, length, window, window, first=first * window, reader=reader)
        for split, (first, length) in _bounds(count).items()
    }
    return Dataset(token_schema(config, splits, vocabulary=vocabulary, fingerprint=_fingerprint(config)), splits)


def _fingerprint(config: Data) -> str:
    return hashlib.sha256(config.source.encode()).hexdigest()
