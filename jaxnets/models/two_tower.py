"""Two towers into one space, for images and their texts (Radford et al., 2021), at the size of small data.

Departures from the paper: the image tower is a small convolutional network (cnn.py), the text tower an encoder that
takes the mean over its tokens (text_encoder.py). The temperature of the similarities is learned, and its inverse is
held at 100 at most, as there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array

from jaxnets.models.cnn import ConvNet
from jaxnets.models.linen import from_linen
from jaxnets.models.text_encoder import Encoder
from jaxnets.types import Model, experiment_dataclass, number

_MOST = math.log(100.0)  # of the logarithm of the scale


@experiment_dataclass
class TwoTower:
    """Config of `two_tower`; the vocabulary is that of the data."""

    embedding: int = 64  # numbers that an image, or a text, is told by
    channels: tuple[int, ...] = (32, 64)  # of the image tower: of each convolution, after which the sides are halved
    hidden: int = 256  # of the image tower: its layer before the embedding
    width: int = 64  # of the text tower
    depth: int = 2  # layers of the text tower; 0 = a bag of tokens
    heads: int = 4  # of the text tower
    temperature: float = number(0.07)  # at the beginning, then learned
    dropout: float | None = number(None)  # share of values set to 0 while training, in both towers
    dtype: str = "float32"  # of the computation; params are float32


def two_tower(
    *,
    vocabulary_size: int,
    embedding: int = 64,
    channels: tuple[int, ...] = (32, 64),
    hidden: int = 256,
    width: int = 64,
    depth: int = 2,
    heads: int = 4,
    temperature: Any = 0.07,
    dropout: Any = None,
    dtype: str = "float32",
    unroll: bool = False,
) -> Model:
    """{"image": (b h w c), "text": (b t), 0 behind its end} -> {"image", "text": (b embedding), "scale": (b,)}.

    scale: 1 / temperature, learned from where `temperature` begins

    Raises ValueError if heads do not divide width into even parts, and at init if the image is too small to be halved
    `len(channels)` times.

    >>> import jax
    >>> pairs = {"image": jnp.ones((2, 8, 8, 1)), "text": jnp.array([[1, 2], [3, 0]])}
    >>> model = two_tower(vocabulary_size=5, embedding=4, channels=(2,), width=8)
    >>> params, state = jax.jit(model.init)(jax.random.key(0), pairs)
    >>> outputs, _ = jax.jit(model.apply)(params, state, pairs)
    >>> outputs["image"].shape, outputs["text"].shape, round(float(outputs["scale"][0]), 2)
    ((2, 4), (2, 4), 14.29)
    """
    if depth and (width % heads or (width // heads) % 2):
        raise ValueError(f"width {width} must divide over heads {heads} into even numbers; use a multiple of 2 × heads")

    def make(unroll: bool) -> nn.Module:
        return _TwoTower(
            embedding, vocabulary_size, tuple(channels), hidden, width, depth, heads, temperature, dropout,
            jnp.dtype(dtype), unroll,
        )  # fmt: skip

    return from_linen(make(unroll), unrolled=make(True))


class _TwoTower(nn.Module):
    embedding: int
    vocabulary_size: int
    channels: tuple[int, ...]
    hidden: int
    width: int
    depth: int
    heads: int
    temperature: Any
    dropout: Any
    dtype: Any
    unroll: bool = False

    @nn.compact
    def __call__(self, pairs: Mapping[str, Array], *, train: bool) -> dict[str, Array]:
        pictures = ConvNet(self.embedding, self.channels, self.hidden, self.dropout, self.dtype, name="image")
        texts = Encoder(
            self.embedding, self.vocabulary_size, self.width, self.depth, self.heads, 4 * self.width, "mean", 1, 1,
            None, self.dropout, None, self.dtype, self.unroll, name="text",
        )  # fmt: skip
        image, text = pictures(pairs["image"], train=train), texts(pairs["text"], train=train)
        first = -jnp.log(jnp.asarray(self.temperature, jnp.float32))
        scale = jnp.exp(jnp.minimum(self.param("scale", lambda _: first), _MOST))
        return {"image": image, "text": text, "scale": jnp.broadcast_to(scale, image.shape[:1])}
