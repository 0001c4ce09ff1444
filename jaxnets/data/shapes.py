"""Images of discs and rectangles over noise, with their masks: `synthetic:masks/HxWxC/CLASSES[/N]`.

Class 0 is the background. Each other class has a colour of its own, which noise covers, and odd ones are discs, even
ones rectangles; shapes may lie over each other, and the last one hides the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from jaxnets.data.reader import Leaf
from jaxnets.data.schema import Dataset, Split, moments, pixel_schema

if TYPE_CHECKING:
    from jaxnets.data.source import Data

_SHAPES = 4  # an image
_NOISE = 40.0  # deviation, of levels from 0 to 255
_FITTED = 256  # images of the train split that the moments are taken of


class Shapes:
    """Draws each row from its number alone (see Reader)."""

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        self._shape, self._classes = shape, classes
        self._colours = np.random.Generator(np.random.Philox(0)).uniform(40, 215, (classes, shape[2]))

    @property
    def leaves(self) -> Mapping[str, Leaf]:
        return {"inputs": Leaf(self._shape, "uint8"), "targets": Leaf(self._shape[:2], "int32")}

    def fill(self, rows: np.ndarray, out: Mapping[str, np.ndarray], draws: np.ndarray | None, /) -> None:
        for place, row in enumerate(rows):
            out["inputs"][place], out["targets"][place] = self._drawn(int(row))

    def _drawn(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        draw = np.random.Generator(np.random.Philox([row, 1]))
        height, width, _ = self._shape
        y, x = np.mgrid[:height, :width]
        mask = np.zeros((height, width), np.int32)
        for _ in range(_SHAPES):
            kind = int(draw.integers(1, self._classes))
            down, across = draw.uniform(0, height) - y, draw.uniform(0, width) - x
            half = draw.uniform(0.1, 0.3) * min(height, width)
            inside = np.hypot(down, across) < half if kind % 2 else np.maximum(abs(down), abs(across)) < half
            mask[inside] = kind
        levels = self._colours[mask] + draw.normal(0, _NOISE, self._shape)
        return np.clip(np.round(levels), 0, 255).astype(np.uint8), mask


def dataset(
    config: Data, shape: tuple[int, ...], classes: int, bounds: Mapping[str, tuple[int, int]], fingerprint: str
) -> Dataset:
    """The data set of these shapes; `bounds` gives the first row and the examples of each split."""
    reader = Shapes(shape, classes)
    splits = {split: Split({}, length, first=first, reader=reader) for split, (first, length) in bounds.items()}
    seen = np.zeros((min(_FITTED, splits["train"].length), *shape), np.uint8)
    out = {"inputs": seen, "targets": np.zeros((len(seen), *shape[:2]), np.int32)}
    reader.fill(np.arange(len(seen)), out, None)
    fitted = moments(seen) if config.standardize else ((), ())
    schema = pixel_schema(
        config.source,
        splits,
        shape=shape,
        classes=("background", *(f"{'disc' if kind % 2 else 'rectangle'} {kind}" for kind in range(1, classes))),
        fitted=fitted,
        fingerprint=fingerprint,
        target_kind="mask",
    )
    return Dataset(schema, splits)
