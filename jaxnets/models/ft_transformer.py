"""FT-Transformer (Gorishniy et al., "Revisiting deep learning models for tabular data", 2021): a token a cell.

Departures: blocks are those of `vit`, with GELU where the paper has ReGLU and a norm before the first attention; the
flags of a row (what is missing, words of texts) are one token together; numbers may have periodic features
(Gorishniy et al., 2022).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnets.axes import named
from jaxnets.models.attention import BLOCK_RULES, Block
from jaxnets.models.cells import Cells, row_of
from jaxnets.models.layers import Dropout, drop_path_rates
from jaxnets.models.linen import from_linen
from jaxnets.models.stack import Remat, Stack
from jaxnets.types import Model, experiment_dataclass, number

RULES = BLOCK_RULES


@experiment_dataclass
class FTTransformer:
    """Config of `ft_transformer`."""

    width: int = 192
    depth: int = 3
    heads: int = 8
    mlp_width: int = 384
    frequencies: int = 16  # periodic features of a number
    sigma: float | None = number(None)  # their deviation at first: larger sees finer; None = no periodic features
    dropout: float | None = number(None)  # share of values set to 0 while training
    drop_path: float | None = number(None)  # share of examples that pass by the last block while training
    remat: Remat = "none"  # what of a layer the backward pass computes again: full, dots, dots_no_batch
    dtype: str = "float32"  # of the computation; params are float32


def ft_transformer(
    num_outputs: int,
    *,
    cardinalities: tuple[int, ...] = (),
    width: int = 192,
    depth: int = 3,
    heads: int = 8,
    mlp_width: int = 384,
    frequencies: int = 16,
    sigma: Any = None,
    dropout: Any = None,
    drop_path: Any = None,
    remat: Remat = "none",
    dtype: str = "float32",
    unroll: bool = False,
) -> Model:
    """{"numbers": (b n), "categories": (b m), "flags": (b f)}, or one array (b …) of numbers -> (b num_outputs).

    cardinalities: how many codes each category has. Raises ValueError if `heads` does not divide `width`.

    >>> import jax
    >>> model = ft_transformer(3, cardinalities=(4,), width=8, depth=1, heads=2, mlp_width=8)
    >>> row = {"numbers": jnp.ones((2, 5)), "categories": jnp.array([[1], [3]])}
    >>> params, state = model.init(jax.random.key(0), row)
    >>> model.apply(params, state, row)[0].shape
    (2, 3)
    """
    if width % heads:
        raise ValueError(f"width {width} does not divide over {heads} heads; use a multiple")
    cells = (tuple(cardinalities), width, sigma, frequencies)
    make = partial(_FTTransformer, num_outputs, cells, depth, heads, mlp_width, dropout, drop_path, jnp.dtype(dtype))
    return from_linen(make(unroll=unroll, remat=remat), unrolled=make(unroll=True))


class _FTTransformer(nn.Module):
    num_outputs: int
    cells: tuple[Any, ...]
    depth: int
    heads: int
    mlp_width: int
    dropout: Any
    drop_path: Any
    dtype: Any
    unroll: bool = False
    remat: Remat = "none"

    @nn.compact
    def __call__(self, inputs: Any, *, train: bool) -> Float[Array, "b c"]:
        row, width = row_of(inputs), self.cells[1]
        x = Cells(*self.cells, dtype=self.dtype, name="cells")(row)  # b t d
        first = self.param("token", nn.initializers.normal(0.02), (1, 1, width)).astype(x.dtype)
        tokens = [jnp.broadcast_to(first, (x.shape[0], 1, width)), x]
        if row.flags is not None:
            tokens.append(nn.Dense(width, dtype=self.dtype, name="flags")(row.flags.astype(self.dtype))[:, None])
        x = named(jnp.concatenate(tokens, axis=1), "batch", None, None)
        x = Dropout(self.dropout, name="dropout")(x, train=train)
        block = partial(Block, self.heads, self.heads, self.mlp_width, False, False, self.dropout, dtype=self.dtype)
        rates = drop_path_rates(self.drop_path, self.depth)
        x = Stack(block, self.depth, unroll=self.unroll, remat=self.remat, name="blocks")(x, train, rates)
        x = nn.relu(nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, name="norm")(x[:, 0]))  # b d
        return nn.Dense(self.num_outputs, dtype=self.dtype, name="head")(x).astype(jnp.float32)
