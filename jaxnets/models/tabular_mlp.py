"""A multilayer perceptron on the cells of a table: embedded numbers and categories, and an ensemble inside one net.

source      Gorishniy et al., "On embeddings for numerical features in tabular deep learning", 2022 (MLP-PLR), and
            "TabM: advancing tabular deep learning with parameter-efficient ensembling", 2024 (members)
departures  numbers go in as they are, too, beside their embedding. Where TabM shows every example to all members, a
            step shows each to one, by its place in the shuffled batch, so that a step costs what one net does; in
            evaluation the outputs of all are averaged. Members share all layers but the scale of their inputs and
            their head.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnets.models.cells import CellDropout, Cells, row_of
from jaxnets.models.layers import Dropout, transfer
from jaxnets.models.linen import from_linen
from jaxnets.types import Model, experiment_dataclass, number


@experiment_dataclass
class TabularMLP:
    """Config of `tabular_mlp`."""

    widths: tuple[int, ...] = (256, 256)
    activation: str = "relu"  # sigmoid, tanh, relu, gelu, silu, softmax, softplus, elu, identity
    cell_width: int = 16  # of the embedding of a number or category
    frequencies: int = 16  # periodic features of a number
    sigma: float | None = number(0.1)  # their deviation at first: larger sees finer; None = no periodic features
    members: int = 1  # nets that share most of their params, averaged
    dropout: float | None = number(None)  # share of hidden values set to 0 while training
    cell_dropout: float | None = number(None)  # share of whole cells set to 0 while training
    dtype: str = "float32"  # of the computation; params are float32


def tabular_mlp(
    num_outputs: int,
    *,
    cardinalities: tuple[int, ...] = (),
    widths: tuple[int, ...] = (256, 256),
    activation: str | Callable[[Array], Array] = "relu",
    cell_width: int = 16,
    frequencies: int = 16,
    sigma: Any = 0.1,
    members: int = 1,
    dropout: Any = None,
    cell_dropout: Any = None,
    dtype: str = "float32",
) -> Model:
    """{"numbers": (b n), "categories": (b m), "flags": (b f)}, or one array (b …) of numbers -> (b num_outputs).

    cardinalities: how many codes each category has. Raises ValueError at init if they are not as many as categories.

    >>> model = tabular_mlp(3, cardinalities=(4,), widths=(8,))
    >>> row = {"numbers": jnp.ones((2, 5)), "categories": jnp.array([[1], [3]])}
    >>> params, state = model.init(jax.random.key(0), row)
    >>> model.apply(params, state, row)[0].shape
    (2, 3)
    """
    cells = (tuple(cardinalities), cell_width, sigma, frequencies)
    layers = (tuple(widths), transfer(activation), dropout, cell_dropout)
    return from_linen(_TabularMLP(num_outputs, cells, layers, members, jnp.dtype(dtype)))


class _TabularMLP(nn.Module):
    num_outputs: int
    cells: tuple[Any, ...]
    layers: tuple[Any, ...]
    members: int
    dtype: Any

    @nn.compact
    def __call__(self, inputs: Any, *, train: bool) -> Float[Array, "b c"]:
        widths, activation, dropout, cell_dropout = self.layers
        row = row_of(inputs)
        x = Cells(*self.cells, dtype=self.dtype, name="cells")(row)  # b t d
        x = CellDropout(cell_dropout, name="cell_dropout")(x, train=train)
        plain = [part.astype(self.dtype) for part in (row.numbers, row.flags) if part is not None]  # b n, b f
        plain = [CellDropout(cell_dropout, name=f"plain_dropout{i}")(y, train=train) for i, y in enumerate(plain)]
        x = jnp.concatenate([x.reshape(x.shape[0], -1), *plain], axis=-1)  # b d
        if self.members > 1:
            x = Apart(self.members, name="apart")(x, train=train)  # b d, or b k d
        for index, width in enumerate(widths):
            x = nn.Dense(width, dtype=self.dtype, kernel_init=nn.initializers.he_normal(), name=f"dense{index}")(x)
            x = Dropout(dropout, name=f"dropout{index}")(activation(x), train=train)
        y = nn.Dense(self.members * self.num_outputs, dtype=self.dtype, name="head")(x).astype(jnp.float32)
        return y if self.members == 1 else averaged(y, self.members, train=train)


class Apart(nn.Module):
    """Inputs scaled by each member in its own way: (b d) -> (b k d); in training each row by one: (b d) -> (b d)."""

    members: int

    @nn.compact
    def __call__(self, x: Float[Array, "b d"], *, train: bool) -> Float[Array, "b *k d"]:
        scale = self.param("scale", nn.initializers.normal(1.0), (self.members, x.shape[1])).astype(x.dtype)
        return x * (turns(x.shape[0], self.members).astype(x.dtype) @ scale) if train else x[:, None] * scale[None]


def averaged(y: Float[Array, "b *k mc"], members: int, *, train: bool) -> Float[Array, "b c"]:
    """What the head of each member says of its own hidden values: their mean, or in training that of a row's member."""
    y = y.reshape(*y.shape[:-1], members, -1)  # b m c, or b k m c
    if train:
        return (y * turns(y.shape[0], members)[..., None]).sum(axis=1)
    return jnp.einsum("bkkc->bc", y) / members


def turns(length: int, members: int) -> Float[Array, "b m"]:
    """Whose turn each row is: one after the other.

    >>> turns(3, 2).tolist()
    [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
    """
    return jax.nn.one_hot(jnp.arange(length) % members, members)
