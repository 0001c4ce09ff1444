"""R(2+1)D (Tran et al., 2018): residual networks for clips whose convolutions are in space first, then in time.

Departures: the last norm of a branch begins at 0, as in `resnet`; `stem="small"` begins with a 3 × 3 kernel, no stride.
A convolution in time is one of two axes, frames and all pixels, so that both kinds are those of `layers.conv`.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnets.models.layers import BatchNorm, Conv, conv
from jaxnets.models.linen import from_linen
from jaxnets.models.stack import Remat, Stack, rematerialised
from jaxnets.types import Model, experiment_dataclass


@experiment_dataclass
class R2Plus1D:
    """Config of `r2plus1d`."""

    width: int = 64  # channels of the first stage
    depths: tuple[int, ...] = (2, 2, 2, 2)  # blocks of each stage
    stem: Literal["video", "small"] = "video"
    remat: Remat = "none"  # what of a layer the backward pass computes again: full, dots, dots_no_batch
    dtype: str = "float32"  # of the computation; params are float32


def r2plus1d(
    num_classes: int = 400,
    *,
    width: int = 64,
    depths: tuple[int, ...] = (2, 2, 2, 2),
    stem: Literal["video", "small"] = "video",
    remat: Remat = "none",
    dtype: str = "float32",
    unroll: bool = False,
) -> Model:
    """Clips (b t h w c) -> (b num_classes); as it is R(2+1)D-18, 31 505 325 params for 400 classes."""
    make = partial(_R2Plus1D, num_classes, width, tuple(depths), stem, jnp.dtype(dtype))
    module = partial(make, unroll=unroll, remat=remat)
    return from_linen(module(), axis=lambda axis: module(axis=axis), unrolled=make(unroll=True))


def between(channels: int, outputs: int) -> int:
    """Channels between space and time: as many as give the params of one 3 × 3 × 3 convolution.

    >>> between(64, 64), between(64, 128)
    (144, 230)
    """
    return 27 * channels * outputs // (9 * channels + 3 * outputs)


class _SpaceTime(nn.Module):
    """A convolution in space, norm and ReLU, a convolution in time; a stride is taken in both."""

    between: int
    channels: int
    kernel: int = 3
    stride: int = 1
    space_only: bool = False  # the stride
    axis: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b t h w c"], *, train: bool) -> Float[Array, "b t2 h2 w2 c2"]:
        b, t, h, w, c = x.shape
        padding = self.kernel // 2
        y = Conv(self.between, kernel=self.kernel, stride=self.stride, padding=padding, dtype=self.dtype, name="space")(
            x.reshape(b * t, h, w, c)
        )
        _, h, w, c = y.shape
        y = nn.relu(BatchNorm(axis=self.axis, dtype=self.dtype, name="norm")(y, train=train))
        y = nn.Conv(
            self.channels,
            (3, 1),
            strides=(1 if self.space_only else self.stride, 1),
            padding=((1, 1), (0, 0)),
            use_bias=False,
            dtype=self.dtype,
            kernel_init=nn.initializers.variance_scaling(2.0, "fan_out", "truncated_normal"),
            conv_general_dilated=conv,
            name="time",
        )(y.reshape(b, t, h * w, c))
        return y.reshape(b, y.shape[1], h, w, self.channels)


class _Block(nn.Module):
    """relu(x + two convolutions of it), each in space and time."""

    channels: int
    stride: int = 1
    axis: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b t h w c"], train: bool) -> Float[Array, "b t2 h2 w2 c2"]:
        norm = partial(BatchNorm, axis=self.axis, dtype=self.dtype)
        make = partial(_SpaceTime, between(x.shape[-1], self.channels), self.channels, axis=self.axis, dtype=self.dtype)
        y = nn.relu(norm(name="norm0")(make(stride=self.stride, name="conv0")(x, train=train), train=train))
        y = make(name="conv1")(y, train=train)
        y = norm(scale_init=nn.initializers.zeros, name="norm1")(y, train=train)
        if x.shape != y.shape:
            s = self.stride
            x = nn.Dense(self.channels, use_bias=False, dtype=self.dtype, name="shortcut")(x[:, ::s, ::s, ::s])
            x = norm(name="shortcut_norm")(x, train=train)
        return nn.relu(x + y)


class _R2Plus1D(nn.Module):
    num_classes: int
    width: int
    depths: tuple[int, ...]
    stem: str
    dtype: Any
    axis: str | None = None
    unroll: bool = False
    remat: Remat = "none"

    @nn.compact
    def __call__(self, x: Float[Array, "b t h w c"], *, train: bool) -> Float[Array, "b k"]:
        kernel, stride, inner = (3, 1, between(x.shape[-1], self.width)) if self.stem == "small" else (7, 2, 45)
        x = _SpaceTime(
            inner, self.width, kernel, stride, space_only=True, axis=self.axis, dtype=self.dtype, name="stem"
        )(x.astype(self.dtype), train=train)
        x = nn.relu(BatchNorm(axis=self.axis, dtype=self.dtype, name="stem_norm")(x, train=train))
        for index, depth in enumerate(self.depths):
            make = partial(_Block, self.width * 2**index, axis=self.axis, dtype=self.dtype)
            first = rematerialised(_Block, self.remat)
            make_first = partial(first, self.width * 2**index, axis=self.axis, dtype=self.dtype)
            x = make_first(stride=1 if index == 0 else 2, name=f"stage{index}_first")(x, train)
            x = Stack(make, depth - 1, unroll=self.unroll, remat=self.remat, name=f"stage{index}")(x, train)
        x = x.mean(axis=(1, 2, 3))  # b d
        return nn.Dense(self.num_classes, dtype=self.dtype, name="head")(x).astype(jnp.float32)
