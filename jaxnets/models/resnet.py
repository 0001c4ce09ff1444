"""Residual networks (He et al., 2015), with the stride in the 3 × 3 convolution of a bottleneck (v1.5).

Departures: the last norm of each block starts at 0 (Goyal et al., 2017); `resnet9` is David Page's (2018) with one
residual block after the first and third stages. All blocks of a stage but its first are alike: their params are
stacked on axis 0 and scanned, unless `unroll=True`, which loops over slices of the same params.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnets.models.layers import BatchNorm, Conv, DropPath, drop_path_rates, max_pool
from jaxnets.models.linen import from_linen
from jaxnets.models.stack import Remat, Stack, rematerialised
from jaxnets.types import Model, experiment_dataclass, number

Stem = Literal["small", "imagenet"]
_HEAD_SCALE = 1 / 8  # Page's, of resnet9: the maximum over places is large at first, and so would be its logits


@experiment_dataclass
class ResNet9:
    """Config of `resnet9`."""

    width: int = 64  # channels of the first stage
    drop_path: float | None = number(None)  # share of examples that pass by the last block while training
    dtype: str = "float32"  # of the computation; params are float32


@experiment_dataclass
class ResNet18:
    """Config of `resnet18`."""

    stem: Stem = "small"  # small: 3 × 3 stride 1; imagenet: 7 × 7 stride 2 and a pool
    drop_path: float | None = number(None)  # share of examples that pass by the last block while training
    remat: Remat = "none"  # what of a layer the backward pass computes again: full, dots, dots_no_batch
    dtype: str = "float32"  # of the computation; params are float32


@experiment_dataclass
class ResNet34:
    """Config of `resnet34`."""

    stem: Stem = "small"  # small: 3 × 3 stride 1; imagenet: 7 × 7 stride 2 and a pool
    drop_path: float | None = number(None)  # share of examples that pass by the last block while training
    remat: Remat = "none"  # what of a layer the backward pass computes again: full, dots, dots_no_batch
    dtype: str = "float32"  # of the computation; params are float32


@experiment_dataclass
class ResNet50:
    """Config of `resnet50`."""

    stem: Stem = "imagenet"  # small: 3 × 3 stride 1; imagenet: 7 × 7 stride 2 and a pool
    drop_path: float | None = number(None)  # share of examples that pass by the last block while training
    remat: Remat = "none"  # what of a layer the backward pass computes again: full, dots, dots_no_batch
    dtype: str = "float32"  # of the computation; params are float32


def resnet9(num_classes: int, *, width: int = 64, drop_path: Any = None, dtype: str = "float32") -> Model:
    """Nine layers for small images: (b h w c) -> (b num_classes)."""
    make = partial(_ResNet9, num_classes, width, drop_path, jnp.dtype(dtype))
    return from_linen(make(), axis=make)


def resnet18(
    num_classes: int = 1000,
    *,
    stem: Stem = "small",
    drop_path: Any = None,
    remat: Remat = "none",
    dtype: str = "float32",
    unroll: bool = False,
) -> Model:
    """Eighteen layers of basic blocks: (b h w c) -> (b num_classes)."""
    return _resnet(num_classes, (2, 2, 2, 2), _Basic, stem, drop_path, remat, dtype, unroll)


def resnet34(
    num_classes: int = 1000,
    *,
    stem: Stem = "small",
    drop_path: Any = None,
    remat: Remat = "none",
    dtype: str = "float32",
    unroll: bool = False,
) -> Model:
    """Thirty-four layers of basic blocks: (b h w c) -> (b num_classes)."""
    return _resnet(num_classes, (3, 4, 6, 3), _Basic, stem, drop_path, remat, dtype, unroll)


def resnet50(
    num_classes: int = 1000,
    *,
    stem: Stem = "imagenet",
    drop_path: Any = None,
    remat: Remat = "none",
    dtype: str = "float32",
    unroll: bool = False,
) -> Model:
    """Fifty layers of bottleneck blocks: (b h w c) -> (b num_classes); 25 557 032 params for 1000 classes."""
    return _resnet(num_classes, (3, 4, 6, 3), _Bottleneck, stem, drop_path, remat, dtype, unroll)


def _resnet(
    num_classes: int,
    depths: tuple[int, ...],
    block: Any,
    stem: str,
    drop_path: Any,
    remat: Remat,
    dtype: str,
    unroll: bool,
) -> Model:
    make = partial(_ResNet, num_classes, depths, block, stem, drop_path, jnp.dtype(dtype))
    module = partial(make, unroll=unroll, remat=remat)
    return from_linen(module(), axis=lambda axis: module(axis=axis), unrolled=make(unroll=True))


class _Basic(nn.Module):
    channels: int
    stride: int = 1
    axis: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool, drop_path: Any = None) -> Float[Array, "b h2 w2 c2"]:
        norm = partial(BatchNorm, axis=self.axis, dtype=self.dtype)
        y = Conv(self.channels, stride=self.stride, padding=1, dtype=self.dtype, name="conv0")(x)
        y = nn.relu(norm(name="norm0")(y, train=train))
        y = Conv(self.channels, padding=1, dtype=self.dtype, name="conv1")(y)
        y = norm(scale_init=nn.initializers.zeros, name="norm1")(y, train=train)
        y = DropPath(drop_path, name="drop_path")(y, train=train)
        return nn.relu(_shortcut(self, x, y, norm, train) + y)


class _Bottleneck(nn.Module):
    channels: int
    stride: int = 1
    axis: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool, drop_path: Any = None) -> Float[Array, "b h2 w2 c2"]:
        norm = partial(BatchNorm, axis=self.axis, dtype=self.dtype)
        y = nn.relu(norm(name="norm0")(Conv(self.channels, kernel=1, dtype=self.dtype, name="conv0")(x), train=train))
        y = Conv(self.channels, stride=self.stride, padding=1, dtype=self.dtype, name="conv1")(y)
        y = nn.relu(norm(name="norm1")(y, train=train))
        y = Conv(4 * self.channels, kernel=1, dtype=self.dtype, name="conv2")(y)
        y = norm(scale_init=nn.initializers.zeros, name="norm2")(y, train=train)
        y = DropPath(drop_path, name="drop_path")(y, train=train)
        return nn.relu(_shortcut(self, x, y, norm, train) + y)


def _shortcut(block: Any, x: Array, y: Array, norm: Any, train: bool) -> Array:
    if x.shape == y.shape:
        return x
    x = Conv(y.shape[-1], kernel=1, stride=block.stride, dtype=block.dtype, name="shortcut")(x)
    return norm(name="shortcut_norm")(x, train=train)


class _ResNet(nn.Module):
    num_classes: int
    depths: tuple[int, ...]
    block: Any
    stem: str
    drop_path: Any
    dtype: Any
    axis: str | None = None
    unroll: bool = False
    remat: Remat = "none"

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b k"]:
        x = x.astype(self.dtype)
        small = self.stem == "small"
        x = Conv(64, kernel=3 if small else 7, stride=1 if small else 2, padding=1 if small else 3,
                 dtype=self.dtype, name="stem")(x)  # fmt: skip
        x = nn.relu(BatchNorm(axis=self.axis, dtype=self.dtype, name="stem_norm")(x, train=train))
        if not small:
            x = max_pool(x, 3, stride=2, padding=((1, 1), (1, 1)))  # b h/4 w/4 64
        rates = drop_path_rates(self.drop_path, sum(self.depths))
        for index, depth in enumerate(self.depths):
            first, rest = (None, None) if rates is None else (rates[0], rates[1:depth])
            rates = None if rates is None else rates[depth:]
            make = partial(self.block, 64 * 2**index, axis=self.axis, dtype=self.dtype)
            first_block = rematerialised(self.block, self.remat)
            make_first = partial(first_block, 64 * 2**index, axis=self.axis, dtype=self.dtype)
            x = make_first(stride=1 if index == 0 else 2, name=f"stage{index}_first")(x, train, first)
            x = Stack(make, depth - 1, unroll=self.unroll, remat=self.remat, name=f"stage{index}")(x, train, rest)
        x = x.mean(axis=(1, 2))  # b d
        return nn.Dense(self.num_classes, dtype=self.dtype, name="head")(x).astype(jnp.float32)


class _ResNet9(nn.Module):
    num_classes: int
    width: int
    drop_path: Any
    dtype: Any
    axis: str | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b k"]:
        def layer(x: Array, channels: int, name: str) -> Array:
            x = Conv(channels, dtype=self.dtype, name=name)(x)
            return nn.relu(BatchNorm(axis=self.axis, dtype=self.dtype, name=f"{name}_norm")(x, train=train))

        def residual(x: Array, channels: int, name: str, share: float) -> Array:
            y = layer(layer(x, channels, f"{name}a"), channels, f"{name}b")
            rate = None if self.drop_path is None else share * self.drop_path
            return x + DropPath(rate, name=f"{name}_drop_path")(y, train=train)

        width = self.width
        x = layer(x.astype(self.dtype), width, "stem")
        x = max_pool(layer(x, 2 * width, "layer1"), 2)  # b h/2 w/2 2d
        x = residual(x, 2 * width, "residual1", 0.5)
        x = max_pool(layer(x, 4 * width, "layer2"), 2)  # b h/4 w/4 4d
        x = max_pool(layer(x, 8 * width, "layer3"), 2)  # b h/8 w/8 8d
        x = residual(x, 8 * width, "residual3", 1.0)
        x = x.max(axis=(1, 2))  # b 8d
        return _HEAD_SCALE * nn.Dense(self.num_classes, dtype=self.dtype, name="head")(x).astype(jnp.float32)
