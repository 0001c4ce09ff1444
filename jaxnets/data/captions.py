"""`synthetic:captions/HxW[/N]`: two coloured shapes under noise, and a text that says which, how large and where.

"a small red circle above a large blue square": 2 sizes × 8 colours × 4 shapes, twice, and two relations make 8,192
texts, one for each scene. A row's scene follows from its number alone; places and noise differ wherever it comes again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jaxnets.data.pairs import IMAGE, Pairs, dataset
from jaxnets.data.reader import Bad, Leaf
from jaxnets.data.schema import Dataset
from jaxnets.errors import ConfigError

if TYPE_CHECKING:
    from jaxnets.data.source import Data

SIZES = {"small": 0.11, "large": 0.19}  # half the width, of the picture's shorter side
COLOURS = {
    "red": (220, 40, 40), "green": (40, 180, 60), "blue": (60, 90, 240), "yellow": (235, 220, 50),
    "cyan": (60, 215, 220), "purple": (175, 60, 205), "white": (240, 240, 240), "grey": (125, 125, 125),
}  # fmt: skip
SHAPES = ("circle", "square", "triangle", "cross")
RELATIONS = ("above", "left of")  # of the first to the second; below and right of would say the same
_BACKGROUND, _NOISE = 25.0, 25.0  # levels from 0 to 255, and their deviation
_SLACK = 0.06  # of a side: how far from the middle of its place a shape may stand
_LEAST = 16  # pixels a side, below which shapes are not told apart


class Thing(NamedTuple):
    """One shape: what is said of it."""

    size: str
    colour: str
    shape: str


class Scene(NamedTuple):
    """Two shapes, the first `relation` the second."""

    first: Thing
    relation: str
    second: Thing

    @property
    def text(self) -> str:
        """What is said of it.

        >>> Scene(Thing("small", "red", "cross"), "left of", Thing("large", "grey", "circle")).text
        'a small red cross left of a large grey circle'
        """
        return f"a {' '.join(self.first)} {self.relation} a {' '.join(self.second)}"


class Scenes:
    """Pictures (h w 3) by their row (see Reader)."""

    def __init__(self, height: int, width: int) -> None:
        self._height, self._width = height, width

    @property
    def leaves(self) -> Mapping[str, Leaf]:
        return {IMAGE: Leaf((self._height, self._width, 3), "uint8")}

    def fill(self, rows: np.ndarray, out: Mapping[str, np.ndarray], draws: np.ndarray | None, /) -> None:
        for place, row in enumerate(rows):
            out[IMAGE][place] = self._drawn(int(row))

    def _drawn(self, row: int) -> np.ndarray:
        scene, draw = scene_of(row), np.random.Generator(np.random.Philox([row, 5]))
        levels = np.full((self._height, self._width, 3), _BACKGROUND)
        for along, thing in ((0.25, scene.first), (0.75, scene.second)):
            down, across = (along, 0.5) if scene.relation == "above" else (0.5, along)
            slack = draw.uniform(-_SLACK, _SLACK, 2)
            middle = (down + slack[0]) * self._height, (across + slack[1]) * self._width
            levels[self._inside(thing, *middle)] = COLOURS[thing.colour]
        levels += draw.normal(0, _NOISE, levels.shape)
        return np.clip(np.round(levels), 0, 255).astype(np.uint8)

    def _inside(self, thing: Thing, down: float, across: float) -> np.ndarray:
        """(h w) which pixels are of a shape around this place."""
        half = SIZES[thing.size] * min(self._height, self._width)
        y, x = np.mgrid[: self._height, : self._width] + 0.5
        y, x = (y - down) / half, (x - across) / half
        square = np.maximum(abs(y), abs(x)) < 1
        match thing.shape:
            case "circle":
                return np.hypot(y, x) < 1
            case "triangle":
                return square & (abs(x) < (y + 1) / 2)
            case "cross":
                return square & (np.minimum(abs(y), abs(x)) < 1 / 3)
        return square


def scene_of(row: int) -> Scene:
    """What a row shows: each scene as likely."""
    draw = np.random.Generator(np.random.Philox([row, 4]))
    things = [
        Thing(*(words[draw.integers(len(words))] for words in (tuple(SIZES), tuple(COLOURS), SHAPES))) for _ in range(2)
    ]
    return Scene(things[0], RELATIONS[draw.integers(len(RELATIONS))], things[1])


def read(config: Data, shape: tuple[int, ...], bounds: Mapping[str, tuple[int, int]]) -> Dataset:
    """Pairs of pictures of (height, width); bounds: {split: (first row, pairs)}. ConfigError where no shape fits in."""
    height, width = shape
    if min(shape) < _LEAST:
        raise ConfigError(
            f"data.source {config.source!r}: shapes need {_LEAST} × {_LEAST} pixels; give at least so many, as in "
            "synthetic:captions/32x32"
        )
    reader, found = Scenes(height, width), {}
    for name, (first, length) in bounds.items():
        rows = np.arange(first, first + length)
        texts = [scene_of(int(row)).text for row in rows]
        found[name] = Pairs(texts, rows, rows, reader, ((config.source, 0),), lambda row: f"{config.source}, row {row}")
    hashes = {"source": hashlib.sha256(config.source.encode()).hexdigest()}
    return dataset(config, found, hashes, Bad("stop", most=0))
