"""From ids to batches: one gather, on the device inside the compiled step or on the host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxnets.data.schema import Split
from jaxnets.data.windows import is_windows
from jaxnets.errors import ConfigError

if TYPE_CHECKING:
    from jaxnets.data.source import Data

_ON_DEVICE = 2 << 30  # bytes: a train split up to this size lives on the device


def gather(arrays: Mapping[str, Any], ids: Any, *, window: int | None, stride: int = 1) -> dict[str, Any]:
    """The batch of these example ids, from numpy or jax arrays: inputs, targets, weight (all 1), id.

    >>> batch = gather({"tokens": np.arange(9)}, np.array([0, 1]), window=3, stride=4)
    >>> batch["inputs"].tolist()
    [[0, 1, 2, 3], [4, 5, 6, 7]]
    """
    like = jax.numpy if isinstance(ids, jax.Array) else np
    batch = {"id": ids, "weight": like.ones(ids.shape, "float32")}
    if window is None:
        return batch | jax.tree.map(lambda array: array[ids], dict(arrays), is_leaf=is_windows)
    places = (ids * stride)[:, None] + like.arange(window + 1, dtype=ids.dtype)[None]
    return batch | {"inputs": arrays["tokens"][places].astype("int32")}


def evaluation_ids(length: int, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(ids, weight) batches that cover each example once; the last is padded with example 0 at weight 0.

    >>> [(ids.tolist(), weight.tolist()) for ids, weight in evaluation_ids(3, 2)]
    [([0, 1], [1.0, 1.0]), ([2, 0], [1.0, 0.0])]
    """
    for start in range(0, length, batch_size):
        ids = np.arange(start, start + batch_size, dtype=np.int32)
        real = ids < length
        yield np.where(real, ids, 0).astype(np.int32), real.astype(np.float32)


def fits_on_device(config: Data, split: Split) -> bool:
    """Whether the split's arrays are kept on the device and gathered there. Raises ConfigError if they cannot be."""
    if split.reader is not None:
        if config.placement == "device":
            raise ConfigError(f"data.placement device, but {config.source} is read while training; use auto or host")
        return False
    if config.placement != "auto":
        return config.placement == "device"
    return sum(array.nbytes for array in jax.tree.leaves(split.arrays)) <= _ON_DEVICE
