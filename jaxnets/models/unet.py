"""U-Net (Ronneberger et al., 2015): down to a coarse view of an image and up again, each level joined to its like.

Departures from the paper: padded convolutions, so that outputs have the size of the image; batch norm; upsampling by
repeated pixels and a convolution, which leaves no chequered pattern, in place of transposed convolutions.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnets.models.layers import BatchNorm, Conv, max_pool
from jaxnets.models.linen import from_linen
from jaxnets.types import Model, experiment_dataclass


@experiment_dataclass
class UNet:
    """Config of `unet`."""

    width: int = 32  # channels of the first level; each level down has twice as many
    depth: int = 4  # how often the image is halved
    dtype: str = "float32"  # of the computation; params are float32


def unet(num_classes: int, *, width: int = 32, depth: int = 4, dtype: str = "float32") -> Model:
    """Logits of every pixel: (b h w c) -> (b h w num_classes).

    Raises ValueError at init if the sides of the image are not multiples of 2 to the power of `depth`.
    """
    make = partial(_UNet, num_classes, width, depth, jnp.dtype(dtype))
    return from_linen(make(), axis=make)


class _Block(nn.Module):
    """Two convolutions, each with batch norm and ReLU."""

    channels: int
    axis: str | None
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b h w c2"]:
        for index in range(2):
            x = Conv(self.channels, dtype=self.dtype, name=f"conv{index}")(x)
            x = nn.relu(BatchNorm(axis=self.axis, dtype=self.dtype, name=f"norm{index}")(x, train=train))
        return x


class _UNet(nn.Module):
    num_classes: int
    width: int
    depth: int
    dtype: Any
    axis: str | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b h w k"]:
        unit = 2**self.depth
        if x.shape[1] % unit or x.shape[2] % unit:
            raise ValueError(f"images of {x.shape[1:3]} cannot be halved {self.depth} times; give multiples of {unit}")
        block = partial(_Block, axis=self.axis, dtype=self.dtype)
        x, levels = x.astype(self.dtype), []
        for level in range(self.depth):
            x = block(self.width * 2**level, name=f"down{level}")(x, train)
            levels.append(x)
            x = max_pool(x, 2)  # b h/2 w/2 c
        x = block(self.width * 2**self.depth, name="middle")(x, train)
        for level in reversed(range(self.depth)):
            channels = self.width * 2**level
            x = Conv(channels, bias=True, dtype=self.dtype, name=f"wider{level}")(_doubled(x))
            x = block(channels, name=f"up{level}")(jnp.concatenate([levels[level], x], axis=-1), train)
        return nn.Dense(self.num_classes, dtype=self.dtype, name="head")(x).astype(jnp.float32)


def _doubled(x: Array) -> Array:
    """Each pixel four times: (b h w c) -> (b 2h 2w c)."""
    return x.repeat(2, axis=1).repeat(2, axis=2)
