"""Autoencoder (Hinton and Salakhutdinov, 2006): dense layers down to an embedding, and the same widths up again.

Departure from the paper: the layers are trained together, from He initialisation, without pretraining.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnets.models.layers import transfer
from jaxnets.models.linen import from_linen
from jaxnets.types import Model, experiment_dataclass


@experiment_dataclass
class Autoencoder:
    """Config of `autoencoder`."""

    embedding: int = 16  # numbers that an example is told by
    widths: tuple[int, ...] = (256,)  # of the layers before the embedding; after it they stand in reverse
    activation: str = "gelu"  # sigmoid, tanh, relu, gelu, silu, softmax, softplus, elu, identity
    dtype: str = "float32"  # of the computation; params are float32


def autoencoder(
    num_outputs: int,
    *,
    embedding: int = 16,
    widths: tuple[int, ...] = (256,),
    activation: str | Callable[[Array], Array] = "gelu",
    dtype: str = "float32",
) -> Model:
    """(b …) -> {"embedding": (b embedding), "reconstruction": (b num_outputs)}; inputs are flattened.

    >>> import jax
    >>> model = autoencoder(4, embedding=2, widths=(8,))
    >>> params, state = model.init(jax.random.key(0), jnp.ones((1, 2, 2)))
    >>> outputs, _ = model.apply(params, state, jnp.ones((3, 2, 2)))
    >>> outputs["embedding"].shape, outputs["reconstruction"].shape
    ((3, 2), (3, 4))
    """
    module = _Autoencoder(num_outputs, embedding, tuple(widths), transfer(activation), jnp.dtype(dtype))
    return from_linen(module)


class _Autoencoder(nn.Module):
    num_outputs: int
    embedding: int
    widths: tuple[int, ...]
    activation: Callable[[Array], Array]
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "b ..."], *, train: bool) -> dict[str, Array]:
        def layer(x: Array, width: int, name: str) -> Array:
            he = nn.initializers.he_normal()
            return self.activation(nn.Dense(width, dtype=self.dtype, kernel_init=he, name=name)(x))

        x = x.reshape(x.shape[0], -1).astype(self.dtype)  # b n
        for index, width in enumerate(self.widths):
            x = layer(x, width, f"encoder_dense{index}")
        x = embedding = nn.Dense(self.embedding, dtype=self.dtype, name="embedding")(x)  # b d
        for index, width in enumerate(reversed(self.widths)):
            x = layer(x, width, f"decoder_dense{index}")
        x = nn.Dense(self.num_outputs, dtype=self.dtype, name="head")(x)
        return {"embedding": embedding.astype(jnp.float32), "reconstruction": x.astype(jnp.float32)}
