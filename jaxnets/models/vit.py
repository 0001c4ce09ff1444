"""Vision transformer (Dosovitskiy et al., 2020), pre-norm, class token, learned positions.

Departures: GELU in its tanh form; positions are sized by the images seen at init. Mean pooling, sine-cosine positions
and a tanh layer before the head are those of Beyer et al., "Better plain ViT baselines for ImageNet-1k", 2022.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnets.axes import named
from jaxnets.models.attention import BLOCK_RULES, Block
from jaxnets.models.layers import Dropout, drop_path_rates
from jaxnets.models.linen import from_linen
from jaxnets.models.stack import Remat, Stack
from jaxnets.types import Model, experiment_dataclass, number

RULES = BLOCK_RULES  # the head has few classes


@experiment_dataclass
class ViT:
    """Config of `vit`."""

    patch: int = 16  # pixels
    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp_width: int = 3072
    dropout: float | None = number(None)  # share of values set to 0 while training
    drop_path: float | None = number(None)  # share of examples that pass by the last block while training
    pool: Literal["cls", "mean"] = "cls"
    positions: Literal["learned", "sincos2d"] = "learned"
    head_width: int | None = None  # of a tanh layer before the head; None = there is none
    remat: Remat = "none"  # what of a layer the backward pass computes again: full, dots, dots_no_batch
    dtype: str = "float32"  # of the computation; params are float32


def vit(
    num_classes: int = 1000,
    *,
    patch: int = 16,
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    mlp_width: int = 3072,
    dropout: Any = None,
    drop_path: Any = None,
    pool: Literal["cls", "mean"] = "cls",
    positions: Literal["learned", "sincos2d"] = "learned",
    head_width: int | None = None,
    remat: Remat = "none",
    dtype: str = "float32",
    unroll: bool = False,
) -> Model:
    """A transformer on patches: (b h w c) -> (b num_classes).

    Raises ValueError if `heads` does not divide `width`, if sine-cosine positions need another width, or at init if
    `patch` does not divide the image.
    """
    if width % heads:
        raise ValueError(f"width {width} does not divide over {heads} heads; use a multiple")
    if positions == "sincos2d" and (width % 4 or width < 8):
        raise ValueError(f"width {width} cannot hold sincos2d positions; use a multiple of 4 from 8 on")
    make = partial(
        _ViT, num_classes, patch, width, depth, heads, mlp_width, dropout, drop_path, pool, positions, head_width,
        jnp.dtype(dtype),
    )  # fmt: skip
    return from_linen(make(unroll=unroll, remat=remat), unrolled=make(unroll=True))


def vit_ti16(num_classes: int = 1000, **more: Any) -> Model:
    """ViT-Ti/16: width 192, 12 layers, 3 heads."""
    return vit(num_classes, patch=16, width=192, depth=12, heads=3, mlp_width=768, **more)


def vit_s16(num_classes: int = 1000, **more: Any) -> Model:
    """ViT-S/16: width 384, 12 layers, 6 heads."""
    return vit(num_classes, patch=16, width=384, depth=12, heads=6, mlp_width=1536, **more)


def vit_b16(num_classes: int = 1000, **more: Any) -> Model:
    """ViT-B/16: width 768, 12 layers, 12 heads; 86 567 656 params for 1000 classes at 224 × 224."""
    return vit(num_classes, patch=16, width=768, depth=12, heads=12, mlp_width=3072, **more)


def sincos2d(height: int, width: int, channels: int, *, base: float = 10000.0) -> Float[Array, "t d"]:
    """Positions of a grid of height × width: sin(xω), cos(xω), sin(yω), cos(yω), ω_i = base^(-i / (channels/4 - 1)).

    >>> [round(float(number), 2) for number in sincos2d(2, 2, 8)[1]]  # y = 0, x = 1
    [0.84, 0.0, 0.54, 1.0, 0.0, 0.0, 1.0, 1.0]
    """
    frequency = base ** (-jnp.arange(channels // 4) / (channels // 4 - 1))
    y, x = (place.reshape(-1, 1) * frequency[None] for place in jnp.mgrid[:height, :width])  # t d/4
    return jnp.concatenate([jnp.sin(x), jnp.cos(x), jnp.sin(y), jnp.cos(y)], axis=1)


class _ViT(nn.Module):
    num_classes: int
    patch: int
    width: int
    depth: int
    heads: int
    mlp_width: int
    dropout: Any
    drop_path: Any
    pool: str
    positions: str
    head_width: int | None
    dtype: Any
    unroll: bool = False
    remat: Remat = "none"

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b k"]:
        b, h, w, c = x.shape
        p = self.patch
        if h % p or w % p:
            raise ValueError(f"patch {p} does not divide images of {h} × {w}; use a divisor")
        x = x.astype(self.dtype).reshape(b, h // p, p, w // p, p, c).transpose(0, 1, 3, 2, 4, 5)
        x = nn.Dense(self.width, dtype=self.dtype, name="patches")(x.reshape(b, -1, p * p * c))  # b t d
        if self.positions == "sincos2d":
            x = x + sincos2d(h // p, w // p, self.width)[None].astype(x.dtype)
        if self.pool == "cls":
            token = self.param("token", nn.initializers.zeros, (1, 1, self.width))
            x = jnp.concatenate([jnp.broadcast_to(token, (b, 1, self.width)).astype(x.dtype), x], axis=1)
        if self.positions == "learned":
            positions = self.param("positions", nn.initializers.normal(0.02), (1, x.shape[1], self.width))
            x = x + positions.astype(x.dtype)
        x = named(Dropout(self.dropout, name="dropout")(x, train=train), "batch", None, None)
        block = partial(Block, self.heads, self.heads, self.mlp_width, False, False, self.dropout, dtype=self.dtype)
        rates = drop_path_rates(self.drop_path, self.depth)
        x = Stack(block, self.depth, unroll=self.unroll, remat=self.remat, name="blocks")(x, train, rates)
        x = nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, name="norm")(x)
        x = x[:, 0] if self.pool == "cls" else x.mean(axis=1)  # b d
        if self.head_width is not None:
            x = nn.tanh(nn.Dense(self.head_width, dtype=self.dtype, name="before_head")(x))
        return nn.Dense(self.num_classes, dtype=self.dtype, name="head")(x).astype(jnp.float32)
