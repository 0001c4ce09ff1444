"""LeNet-like convolutional network (LeCun et al., 1998), with 3 × 3 kernels, ReLU, max pooling and dropout."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnets.models.layers import Conv, Dropout, max_pool
from jaxnets.models.linen import from_linen
from jaxnets.types import Model, experiment_dataclass, number


@experiment_dataclass
class CNN:
    """Config of `cnn`."""

    channels: tuple[int, ...] = (32, 64)
    hidden: int = 256
    dropout: float | None = number(None)  # share of hidden values set to 0 while training
    dtype: str = "float32"  # of the computation; params are float32


def cnn(
    num_classes: int,
    *,
    channels: tuple[int, ...] = (32, 64),
    hidden: int = 256,
    dropout: Any = None,
    dtype: str = "float32",
) -> Model:
    """Convolution, ReLU, 2 × 2 max pool for each of `channels`; one hidden layer; head: (b h w c) -> (b num_classes).

    Raises ValueError at init if the image is too small to be halved `len(channels)` times.
    """
    return from_linen(ConvNet(num_classes, tuple(channels), hidden, dropout, jnp.dtype(dtype)))


class ConvNet(nn.Module):
    """`cnn` as a module, to be a part of another."""

    num_classes: int
    channels: tuple[int, ...]
    hidden: int
    dropout: Any
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b k"]:
        if min(x.shape[1:3]) < 2 ** len(self.channels):
            raise ValueError(
                f"images of {x.shape[1:3]} cannot be halved {len(self.channels)} times; give fewer channels"
            )
        x = x.astype(self.dtype)
        for index, channels in enumerate(self.channels):
            x = nn.relu(Conv(channels, bias=True, dtype=self.dtype, name=f"conv{index}")(x))
            x = max_pool(x, 2)  # b h/2 w/2 c
        x = x.reshape(x.shape[0], -1)  # b d
        x = nn.relu(nn.Dense(self.hidden, dtype=self.dtype, kernel_init=nn.initializers.he_normal(), name="dense")(x))
        x = Dropout(self.dropout, name="dropout")(x, train=train)
        return nn.Dense(self.num_classes, dtype=self.dtype, name="head")(x).astype(jnp.float32)
