"""The cells of a table as embeddings: the input layer that the models of tables share.

source      Gorishniy et al., "On embeddings for numerical features in tabular deep learning", 2022 (PLR), and
            "Revisiting deep learning models for tabular data", 2021 (linear numbers, categories)

A number x becomes ReLU(W [sin 2πcx, cos 2πcx] + b), or w x + b without periodic features; W, b and the frequencies c
are its own, c is drawn from N(0, σ²) and learned. A category becomes a row of its table of embeddings, where unseen and
missing values have rows of their own. What is 0 or 1 (where a value is missing, which words a text has) stays a flag.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxnets.models.layers import Dropout


class Row(NamedTuple):
    """The parts of some rows; None where a table has no such columns."""

    numbers: Float[Array, "b n"] | None
    categories: Int[Array, "b m"] | None
    flags: Float[Array, "b f"] | None


def row_of(inputs: Any) -> Row:
    """The parts of a table's inputs; one array of any shape is numbers.

    >>> [part if part is None else part.shape for part in row_of(jnp.ones((2, 3, 4)))]
    [(2, 12), None, None]
    """
    if not isinstance(inputs, Mapping):
        inputs = {"numbers": inputs.reshape(inputs.shape[0], -1)}
    return Row(*(inputs.get(name) for name in Row._fields))


class Cells(nn.Module):
    """Numbers and categories of a row as vectors of one width: (b …) -> (b t d), numbers first.

    cardinalities: how many codes each category has
    sigma:         deviation of the frequencies at first; None = no periodic features
    frequencies:   of each number
    """

    cardinalities: tuple[int, ...]
    width: int
    sigma: Any = None
    frequencies: int = 16
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, row: Row) -> Float[Array, "b t d"]:
        found = []
        if row.numbers is not None:
            x = row.numbers.astype(jnp.float32)  # phases lose too much in fewer bits
            waves = self.sigma is not None
            x = Periodic(self.frequencies, self.sigma, name="periodic")(x) if waves else x[..., None]  # b n k
            x = Columns(self.width, dtype=self.dtype, name="numbers")(x)
            found.append(nn.relu(x) if waves else x)
        if row.categories is not None:
            found.append(Categories(self.cardinalities, self.width, self.dtype, name="categories")(row.categories))
        if not found:
            raise ValueError("a table without numbers and categories has no cells to embed; use mlp")
        return jnp.concatenate(found, axis=1)


class Periodic(nn.Module):
    """sin 2πcx and cos 2πcx with k learned frequencies c of each number: (b n) -> (b n 2k)."""

    frequencies: int
    sigma: Any

    @nn.compact
    def __call__(self, x: Float[Array, "b n"]) -> Float[Array, "b n k2"]:
        def init(key: Array, shape: tuple[int, ...]) -> Array:
            return self.sigma * nn.initializers.normal(1.0)(key, shape)

        c = self.param("frequency", init, (x.shape[1], self.frequencies))
        phase = 2 * np.pi * c[None] * x[..., None]
        return jnp.concatenate([jnp.sin(phase), jnp.cos(phase)], axis=-1)


class Columns(nn.Module):
    """A dense layer of its own for each column: (b n k) -> (b n d)."""

    width: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b n k"]) -> Float[Array, "b n d"]:
        _, n, k = x.shape
        bound = k**-0.5
        uniform = _uniform(bound)
        kernel = self.param("kernel", uniform, (n, k, self.width))
        bias = self.param("bias", uniform, (n, self.width))
        x, kernel, bias = (part.astype(self.dtype) for part in (x, kernel, bias))
        return jnp.einsum("bnk,nkd->bnd", x, kernel) + bias[None]


class Categories(nn.Module):
    """Embeddings of codes, one table for all columns: (b m) -> (b m d)."""

    cardinalities: tuple[int, ...]
    width: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, codes: Int[Array, "b m"]) -> Float[Array, "b m d"]:
        if codes.shape[1] != len(self.cardinalities):
            raise ValueError(f"{codes.shape[1]} categories, but {len(self.cardinalities)} cardinalities; give one each")
        first = np.cumsum([0, *self.cardinalities[:-1]])  # row of each column's code 0
        shape = (sum(self.cardinalities), self.width)
        table = self.param("embedding", _uniform(self.width**-0.5), shape)
        return jnp.take(table.astype(self.dtype), codes + first[None], axis=0)


class CellDropout(nn.Module):
    """Sets a share `rate` of whole cells to 0 and scales the rest, while training: (b t …) keeps its shape."""

    rate: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "b t ..."], *, train: bool) -> Float[Array, "b t ..."]:
        if self.rate is None:
            return x
        kept = Dropout(self.rate, name="cells")(jnp.ones((*x.shape[:2], *(1,) * (x.ndim - 2)), x.dtype), train=train)
        return x * kept


def _uniform(bound: float) -> Any:
    """U(-bound, bound), as the authors of both papers draw them."""
    draw = nn.initializers.uniform(2 * bound)
    return lambda key, shape: draw(key, shape) - bound
