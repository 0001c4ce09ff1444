"""`synthetic:moving_digits/FRAMESxHEIGHTxWIDTH[/N]`: real handwritten digits that move in one of eight directions.

Each clip is drawn from the number of its row alone: which digit, where it begins, one or two pixels a frame, and noise.
What leaves the picture comes back on the other side, so that a single frame says nothing of the direction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from jaxnets.data.builtin.sklearn_files import read_gz
from jaxnets.data.reader import Leaf
from jaxnets.data.schema import Dataset, Split, moments, pixel_schema
from jaxnets.errors import ConfigError

if TYPE_CHECKING:
    from jaxnets.data.source import Data

DIRECTIONS = {  # (rows down, columns right) a frame
    "right": (0, 1), "down right": (1, 1), "down": (1, 0), "down left": (1, -1),
    "left": (0, -1), "up left": (-1, -1), "up": (-1, 0), "up right": (-1, 1),
}  # fmt: skip
_STEPS = np.array(list(DIRECTIONS.values()))
_NOISE = 40.0  # levels of 255, deviation
_SIDE = 8  # pixels of a digit
_MOMENT_CLIPS = 256
_SHARES = {"train": (0.0, 0.8), "valid": (0.8, 0.9), "test": (0.9, 1.0)}  # of the digits: no part shows another's


class MovingDigits:
    """Clips (t h w 1) by their row (see Reader); the direction is row modulo 8."""

    def __init__(self, digits: np.ndarray, shape: tuple[int, int, int]) -> None:
        self._digits, self._shape = digits, shape

    @property
    def leaves(self) -> Mapping[str, Leaf]:
        return {"inputs": Leaf((*self._shape, 1), "uint8")}

    def fill(self, rows: np.ndarray, out: Mapping[str, np.ndarray], draws: np.ndarray | None, /) -> None:
        for place, row in enumerate(rows):
            out["inputs"][place] = self._clip(int(row))

    def _clip(self, row: int) -> np.ndarray:
        frames, height, width = self._shape
        draw = np.random.Generator(np.random.Philox(row))
        canvas = np.zeros((height, width), np.float32)
        canvas[:_SIDE, :_SIDE] = self._digits[draw.integers(len(self._digits))]
        start, speed = draw.integers(0, (height, width)), draw.integers(1, 3)
        steps = start + speed * np.arange(frames)[:, None] * _STEPS[row % len(_STEPS)]
        clip = np.stack([np.roll(canvas, step, axis=(0, 1)) for step in steps])
        noisy = clip + _NOISE * draw.standard_normal(clip.shape, np.float32)
        return np.clip(np.round(noisy), 0, 255).astype(np.uint8)[..., None]


def read(config: Data, shape: tuple[int, ...], bounds: Mapping[str, tuple[int, int]]) -> Dataset:
    """Clips of (frames, height, width); bounds: {split: (first row, clips)}. ConfigError where no digit fits in."""
    frames, height, width = shape
    if min(height, width) < _SIDE:
        raise ConfigError(
            f"data.source {config.source!r}: a digit has {_SIDE} × {_SIDE} pixels; give at least so many, "
            "as in synthetic:moving_digits/6x16x16"
        )
    digits = read_gz("digits.csv.gz", delimiter=",")[:, :64].reshape(-1, _SIDE, _SIDE).astype(np.float32) * (255 / 16)
    splits = {}
    for name, (first, length) in bounds.items():
        low, high = (round(share * len(digits)) for share in _SHARES[name])
        targets = ((first + np.arange(length)) % len(DIRECTIONS)).astype(np.int32)
        reader = MovingDigits(digits[low:high], (frames, height, width))
        splits[name] = Split({"targets": targets}, length, first=first, reader=reader)
    fitted = _fitted(splits["train"]) if config.standardize else ((), ())
    schema = pixel_schema(
        config.source,
        splits,
        shape=(frames, height, width, 1),
        classes=DIRECTIONS,
        fitted=fitted,
        fingerprint=hashlib.sha256(config.source.encode()).hexdigest(),
    )
    return Dataset(schema, splits)


def _fitted(train: Split) -> tuple[tuple[float, ...], tuple[float, ...]]:
    assert train.reader is not None
    rows = train.row(np.arange(min(train.length, _MOMENT_CLIPS)))
    out = {"inputs": np.zeros((len(rows), *train.reader.leaves["inputs"].shape), np.uint8)}
    train.reader.fill(rows, out, None)
    return moments(out["inputs"])
