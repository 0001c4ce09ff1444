"""PatchTST (Nie et al., 2023): each channel on its own as words of several steps, a transformer, one linear head.

Departures: blocks are pre-norm with layer norm, not post-norm with batch norm; GELU in its tanh form; attention does
not hand its scores on from layer to layer.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxnets.axes import named
from jaxnets.models.attention import BLOCK_RULES, Block
from jaxnets.models.layers import Dropout
from jaxnets.models.linen import from_linen
from jaxnets.models.revin import RevIN
from jaxnets.models.stack import Remat, Stack
from jaxnets.models.windows import past_of
from jaxnets.types import Model, experiment_dataclass, number

RULES = BLOCK_RULES


@experiment_dataclass
class PatchTST:
    """Config of `patchtst`."""

    patch: int = 16  # steps of a word
    stride: int = 8  # steps from one word to the next
    width: int = 128
    depth: int = 3
    heads: int = 16
    mlp_width: int = 256
    dropout: float | None = number(None)  # share of values set to 0 while training
    revin: bool = True  # each window minus its mean, over its deviation, and back
    remat: Remat = "none"  # what of a layer the backward pass computes again: full, dots, dots_no_batch
    dtype: str = "float32"  # of the computation; params are float32


def patchtst(
    num_outputs: int,
    *,
    patch: int = 16,
    stride: int = 8,
    width: int = 128,
    depth: int = 3,
    heads: int = 16,
    mlp_width: int = 256,
    dropout: Any = None,
    revin: bool = True,
    remat: Remat = "none",
    dtype: str = "float32",
    unroll: bool = False,
) -> Model:
    """A transformer on words of each channel's past: (b t c), or {"past": (b t c), …}, -> (b num_outputs c).

    Columns that are known ahead are not seen. Raises ValueError if `heads` does not divide `width`, or at init if the
    past is shorter than `patch`.
    """
    if width % heads:
        raise ValueError(f"width {width} does not divide over {heads} heads; use a multiple")
    make = partial(
        _PatchTST, num_outputs, patch, stride, width, depth, heads, mlp_width, dropout, revin, jnp.dtype(dtype)
    )
    return from_linen(make(unroll=unroll, remat=remat), unrolled=make(unroll=True))


def words(length: int, patch: int, stride: int) -> np.ndarray:
    """(words patch) the steps of each word of a past that is longer by `stride`, its last step being repeated.

    >>> words(4, 2, 2).tolist()
    [[0, 1], [2, 3], [3, 3]]
    """
    count = (length + stride - patch) // stride + 1
    steps = np.arange(count)[:, None] * stride + np.arange(patch)[None]
    return np.minimum(steps, length - 1)


class _PatchTST(nn.Module):
    num_outputs: int
    patch: int
    stride: int
    width: int
    depth: int
    heads: int
    mlp_width: int
    dropout: Any
    revin: bool
    dtype: Any
    unroll: bool = False
    remat: Remat = "none"

    @nn.compact
    def __call__(self, inputs: Any, *, train: bool) -> Float[Array, "b k c"]:
        x = past_of(inputs).astype(jnp.float32)
        b, t, c = x.shape
        if t < self.patch:
            raise ValueError(f"patch {self.patch} is longer than a past of {t} steps; use at most {t}")
        reversible = RevIN(c, name="revin") if self.revin else None
        statistics = None
        if reversible is not None:
            x, statistics = reversible.normalise(x)
        x = x.swapaxes(1, 2).reshape(b * c, t)[:, words(t, self.patch, self.stride)]  # b·c n patch
        x = nn.Dense(self.width, dtype=self.dtype, name="patches")(x.astype(self.dtype))
        positions = self.param("positions", nn.initializers.normal(0.02), (1, x.shape[1], self.width))
        x = Dropout(self.dropout, name="dropout")(x + positions.astype(x.dtype), train=train)
        x = named(x, "batch", None, None)
        block = partial(Block, self.heads, self.heads, self.mlp_width, False, False, self.dropout, dtype=self.dtype)
        x = Stack(block, self.depth, unroll=self.unroll, remat=self.remat, name="blocks")(x, train)
        x = nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, name="norm")(x)
        y = nn.Dense(self.num_outputs, dtype=self.dtype, name="head")(x.reshape(b * c, -1)).astype(jnp.float32)
        y = y.reshape(b, c, self.num_outputs).swapaxes(1, 2)  # b k c
        return y if reversible is None else reversible.restore(y, statistics)
