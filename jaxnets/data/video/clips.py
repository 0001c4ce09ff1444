"""A file of video as a clip of fixed shape: frames at even distances, all cut by one box; what is none is refused.

Arrays (.npy, t h w or t h w c) are mapped, so that only the frames of the clip are read; other files are decoded where
the clip is (see decoding.py), and nothing else is kept of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8

from jaxnets.data.draws import Draw
from jaxnets.data.pictures import centre_box, random_box
from jaxnets.data.video.decoding import BadClip, film, frames_at
from jaxnets.types import experiment_dataclass

SUFFIXES = (".npy", ".mp4", ".mov", ".avi", ".mkv", ".webm", ".gif")


@experiment_dataclass
class Video:
    """How files of video become clips of one shape."""

    frames: int = 16  # of a clip; a file with fewer ends in repetitions of its last
    step: int = 1  # frames of the file from one of the clip to the next
    size: int = 112  # pixels a side
    area: float = 1.0  # least share of a frame that a random cut keeps while training; 1 = all see the middle
    centre: float = 1.0  # share of the shorter side that evaluation sees


def read_clip(path: Path, config: Video, draw: Draw | None = None) -> UInt8[np.ndarray, "t s s 3"]:
    """A clip of a file: with `draw` a random part and a random cut, else the middle of both.

    Raises BadClip for what is no video, OSError for a file that cannot be opened.
    """
    total, at = _array(path) if path.suffix.lower() == ".npy" else _encoded(path)
    if not total:
        raise BadClip("holds no frames")
    pictures = at(places(total, config, draw))
    width, height = pictures[0].size
    if any(picture.size != (width, height) for picture in pictures):
        raise BadClip("has frames of different sizes")
    box = centre_box(width, height, config.centre)
    if draw is not None and config.area < 1:
        box = random_box(width, height, config.area, draw, config.centre)
    return np.stack([_cut(picture, config.size, box) for picture in pictures])


def places(total: int, config: Video, draw: Draw | None = None) -> Int64[np.ndarray, "t"]:
    """Which of `total` frames make the clip.

    >>> places(9, Video(frames=3, step=2)).tolist(), places(2, Video(frames=3)).tolist()
    ([2, 4, 6], [0, 1, 1])
    """
    spare = max(0, total - (config.step * (config.frames - 1) + 1))
    start = spare // 2 if draw is None else draw.integers(0, spare + 1)
    return np.minimum(start + config.step * np.arange(config.frames, dtype=np.int64), total - 1)


def _cut(picture: Any, size: int, box: tuple[float, float, float, float]) -> np.ndarray:
    from PIL import Image

    if picture.size == (size, size) and box == (0, 0, size, size):
        return np.asarray(picture, np.uint8)
    return np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0), np.uint8)


_Frames = tuple[int, Callable[[np.ndarray], Sequence[Any]]]  # how many there are, and those at some places


def _array(path: Path) -> _Frames:
    from PIL import Image

    try:
        frames = np.lib.format.open_memmap(path, mode="r")
    except ValueError as error:
        raise BadClip(f"not a plain array ({error})") from error
    channels = {3: 1, 4: frames.shape[-1] if frames.ndim else 0}.get(frames.ndim)
    if frames.dtype != np.uint8 or channels not in (1, 3) or 0 in frames.shape[1:]:
        raise BadClip(f"holds {frames.dtype} of shape {frames.shape}, not uint8 of (frames, height, width, 1 or 3)")
    shape = frames.shape[1:3] if channels == 1 else frames.shape[1:]
    return len(frames), lambda wanted: [Image.fromarray(frames[i].reshape(shape)).convert("RGB") for i in wanted]


def _encoded(path: Path) -> _Frames:
    known = film(path)
    return known.total, partial(frames_at, known)
