"""What a source of examples gives before it is split: inputs, targets and their names, in memory."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np

from jaxnets.data.reader import Reader


class Table(NamedTuple):
    """Arrays with one row an example.

    inputs:  (n h w c) uint8 images or (n features) float32
    targets: (n,) int32 class numbers, or (n k) float32 where `classes` is empty
    splits:  {name: (first row, last row + 1)} where the source has splits of its own
    """

    inputs: np.ndarray
    targets: np.ndarray
    classes: tuple[str, ...]
    feature_names: tuple[str, ...]
    target_names: tuple[str, ...]
    splits: dict[str, tuple[int, int]]
    files: dict[str, str]  # {name: sha256} of what was read
    fingerprint: str
    origins: tuple[tuple[str, int], ...] = ()  # (file, its first row), in order; none = the source is one thing
    reader: Reader | None = None  # what reads the inputs by their rows while training, where they stay in their file


def fingerprint_arrays(*arrays: np.ndarray) -> str:
    """One sha256 for arrays: shapes, dtypes and content, however they are stored."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.shape}{array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
