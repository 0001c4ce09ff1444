"""Two towers into one space, for images and their texts (Radford et al., 2021), at the size of small data.

Departures from the paper: the image tower is a small convolutional network; the text tower gives each token with its
place to a dense layer and takes the mean. The scale of the similarities is learned, and held at 100 at most, as there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxnets.models.layers import Conv, max_pool
from jaxnets.models.linen import from_linen
from jaxnets.types import Model

_NORMAL = nn.initializers.normal(0.02)
_FIRST, _MOST = math.log(1 / 0.07), math.log(100.0)  # of the logarithm of the scale


def two_tower(
    num_outputs: int,
    *,
    vocabulary_size: int,
    channels: tuple[int, ...] = (32, 64),
    width: int = 64,
    dtype: str = "float32",
) -> Model:
    """{"image": (b h w c), "text": (b t), 0 behind its end} -> {"image", "text": (b num_outputs), "scale": (b,)}.

    Raises ValueError at init if the image is too small to be halved `len(channels)` times.

    >>> import jax
    >>> pairs = {"image": jnp.ones((2, 8, 8, 1)), "text": jnp.array([[1, 2], [3, 0]])}
    >>> model = two_tower(4, vocabulary_size=5, channels=(2,), width=8)
    >>> outputs, _ = model.apply(*model.init(jax.random.key(0), pairs), pairs)
    >>> outputs["image"].shape, outputs["text"].shape, round(float(outputs["scale"][0]), 2)
    ((2, 4), (2, 4), 14.29)
    """
    return from_linen(_TwoTower(num_outputs, vocabulary_size, tuple(channels), width, jnp.dtype(dtype)))


class _ImageTower(nn.Module):
    num_outputs: int
    channels: tuple[int, ...]
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b d"]:
        if min(x.shape[1:3]) < 2 ** len(self.channels):
            raise ValueError(f"images of {x.shape[1:3]} cannot be halved {len(self.channels)} times; give fewer")
        x = x.astype(self.dtype)
        for index, channels in enumerate(self.channels):
            x = max_pool(nn.relu(Conv(channels, bias=True, dtype=self.dtype, name=f"conv{index}")(x)), 2)
        x = x.reshape(x.shape[0], -1)
        return nn.Dense(self.num_outputs, dtype=self.dtype, name="head")(x).astype(jnp.float32)


class _TextTower(nn.Module):
    num_outputs: int
    vocabulary_size: int
    width: int
    dtype: Any

    @nn.compact
    def __call__(self, tokens: Int[Array, "b t"]) -> Float[Array, "b d"]:
        there = (tokens > 0)[..., None].astype(self.dtype)  # b t 1
        x = nn.Embed(self.vocabulary_size, self.width, embedding_init=_NORMAL, dtype=self.dtype, name="embed")(tokens)
        places = self.param("places", _NORMAL, (tokens.shape[1], self.width))
        x = x + places[None].astype(self.dtype)
        x = nn.gelu(nn.Dense(self.width, dtype=self.dtype, name="dense")(x))
        x = (x * there).sum(axis=1) / jnp.maximum(there.sum(axis=1), 1)  # b d
        return nn.Dense(self.num_outputs, dtype=self.dtype, name="head")(x).astype(jnp.float32)


class _TwoTower(nn.Module):
    num_outputs: int
    vocabulary_size: int
    channels: tuple[int, ...]
    width: int
    dtype: Any

    @nn.compact
    def __call__(self, pairs: Mapping[str, Array], *, train: bool) -> dict[str, Array]:
        image = _ImageTower(self.num_outputs, self.channels, self.dtype, name="image")(pairs["image"])
        text = _TextTower(self.num_outputs, self.vocabulary_size, self.width, self.dtype, name="text")(pairs["text"])
        scale = jnp.exp(jnp.minimum(self.param("scale", nn.initializers.constant(_FIRST), ()), _MOST))
        return {"image": image, "text": text, "scale": jnp.broadcast_to(scale, image.shape[:1])}
