"""Multilayer perceptron: any widths, any transfer function. Inputs of any shape are flattened after the batch axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnets.models.layers import Dropout, transfer
from jaxnets.models.linen import from_linen
from jaxnets.types import Model, experiment_dataclass, number


@experiment_dataclass
class MLP:
    """Config of `mlp`."""

    widths: tuple[int, ...] = (256, 256)
    activation: str = "relu"  # sigmoid, tanh, relu, gelu, silu, softmax, softplus, elu, identity
    dropout: float | None = number(None)  # share of hidden values set to 0 while training
    dtype: str = "float32"  # of the computation; params are float32


def mlp(
    num_outputs: int,
    *,
    widths: tuple[int, ...] = (256, 256),
    activation: str | Callable[[Array], Array] = "relu",
    dropout: Any = None,
    dtype: str = "float32",
) -> Model:
    """Dense layers of `widths`, each with a transfer function, then a linear head: (b …) -> (b num_outputs).

    >>> import jax
    >>> model = mlp(3, widths=(8,), activation=jax.nn.sigmoid)
    >>> params, state = model.init(jax.random.key(0), jnp.ones((1, 4)))
    >>> model.apply(params, state, jnp.ones((2, 4)))[0].shape
    (2, 3)
    """
    return from_linen(_MLP(num_outputs, tuple(widths), transfer(activation), dropout, jnp.dtype(dtype)))


class _MLP(nn.Module):
    num_outputs: int
    widths: tuple[int, ...]
    activation: Callable[[Array], Array]
    dropout: Any
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "b ..."], *, train: bool) -> Float[Array, "b c"]:
        x = x.reshape(x.shape[0], -1).astype(self.dtype)  # b d
        for index, width in enumerate(self.widths):
            x = nn.Dense(width, dtype=self.dtype, kernel_init=nn.initializers.he_normal(), name=f"dense{index}")(x)
            x = Dropout(self.dropout, name=f"dropout{index}")(self.activation(x), train=train)
        return nn.Dense(self.num_outputs, dtype=self.dtype, name="head")(x).astype(jnp.float32)
