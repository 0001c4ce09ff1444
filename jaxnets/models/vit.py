"""Vision transformer (Dosovitskiy et al., 2020), pre-norm, class token, learned positions.

Departures: GELU in its tanh form; positions are sized by the images seen at init.
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
    remat: Remat = "none",
    dtype: str = "float32",
    unroll: bool = False,
) -> Model:
    """A transformer on patches: (b h w c) -> (b num_classes).

    Raises ValueError if `heads` does not divide `width`, or at init if `patch` does not divide the image.
    """
    if width % heads:
        raise ValueError(f"width {width} does not divide over {heads} heads; use a multiple")
    make = partial(_ViT, num_classes, patch, width, depth, heads, mlp_width, dropout, drop_path, pool, jnp.dtype(dtype))
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
        if self.pool == "cls":
            token = self.param("token", nn.initializers.zeros, (1, 1, self.width))
            x = jnp.concatenate([jnp.broadcast_to(token, (b, 1, self.width)).astype(x.dtype), x], axis=1)
        positions = self.param("positions", nn.initializers.normal(0.02), (1, x.shape[1], self.width))
        x = Dropout(self.dropout, name="dropout")(x + positions.astype(x.dtype), train=train)
        x = named(x, "batch", None, None)
        block = partial(Block, self.heads, self.heads, self.mlp_width, False, False, self.dropout, dtype=self.dtype)
        rates = drop_path_rates(self.drop_path, self.depth)
        x = Stack(block, self.depth, unroll=self.unroll, remat=self.remat, name="blocks")(x, train, rates)
        x = nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, name="norm")(x)
        x = x[:, 0] if self.pool == "cls" else x.mean(axis=1)  # b d
        return nn.Dense(self.num_classes, dtype=self.dtype, name="head")(x).astype(jnp.float32)
