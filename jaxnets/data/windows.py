"""Windows into arrays in memory, cut when a batch is made: an array that is kept once and read at many places."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import numpy as np


@partial(jax.tree_util.register_dataclass, data_fields=["values", "starts"], meta_fields=["offset", "length"])
@dataclasses.dataclass(frozen=True, eq=False)
class Windows:
    """Row i is `values[starts[i] + offset : starts[i] + offset + length]`; rows are taken by an array of numbers.

    >>> windows = Windows(np.arange(10.0), np.array([0, 4]), offset=1, length=3)
    >>> windows[np.array([1, 0])].tolist()
    [[5.0, 6.0, 7.0], [1.0, 2.0, 3.0]]
    """

    values: Any  # (steps …)
    starts: Any  # (windows,)
    offset: int = 0
    length: int = 1

    def __getitem__(self, ids: Any) -> Any:
        """The windows (b length …) of these numbers (b,), as numpy or jax arrays, whichever is held."""
        like = jax.numpy if isinstance(self.values, jax.Array) else np
        starts = self.starts[ids]
        places = starts[:, None] + like.arange(self.offset, self.offset + self.length, dtype=starts.dtype)[None]
        return self.values[places]


def is_windows(leaf: Any) -> bool:
    """Whether a node of a tree of arrays is cut into rows, and so is a leaf where rows are taken."""
    return isinstance(leaf, Windows)
