"""A small residual network (He et al., 2015) on a log-mel spectrogram, for words, notes and noises.

Departures: the first convolution halves time and frequency, and so does every stage after the first; the last norm of
each block starts at 0 (Goyal et al., 2017); time and frequency are averaged at the end, so clips may have any length.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnets.models.layers import BatchNorm, Dropout, conv
from jaxnets.models.linen import from_linen
from jaxnets.types import Model, experiment_dataclass, number


@experiment_dataclass
class AudioResNet:
    """Config of `audio_resnet`."""

    width: int = 32  # channels of the first stage, doubled at each that follows
    depths: tuple[int, ...] = (1, 1, 1)  # blocks of each stage
    dropout: float | None = number(None)  # share of the averaged values set to 0 while training
    dtype: str = "float32"  # of the computation; params are float32


def audio_resnet(
    num_classes: int,
    *,
    width: int = 32,
    depths: tuple[int, ...] = (1, 1, 1),
    dropout: Any = None,
    dtype: str = "float32",
) -> Model:
    """Blocks of two 3 × 3 convolutions on a spectrogram, frames × bands: (b n m) -> (b num_classes)."""
    make = partial(_AudioResNet, num_classes, width, tuple(depths), dropout, jnp.dtype(dtype))
    return from_linen(make(), axis=make)


class Residual(nn.Module):
    """Two convolutions of one kernel around which the input passes by; strides are those of the first.

    kernel, strides: of height and width; waves have a width of 1
    """

    channels: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    axis: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], *, train: bool) -> Float[Array, "b h2 w2 c2"]:
        norm = partial(BatchNorm, axis=self.axis, dtype=self.dtype)
        layer = partial(convolution, dtype=self.dtype)
        y = layer(self.channels, self.kernel, self.strides, name="conv0")(x)
        y = nn.relu(norm(name="norm0")(y, train=train))
        y = layer(self.channels, self.kernel, (1, 1), name="conv1")(y)
        y = norm(scale_init=nn.initializers.zeros, name="norm1")(y, train=train)
        if x.shape != y.shape:
            x = layer(self.channels, (1, 1), self.strides, name="shortcut")(x)
            x = norm(name="shortcut_norm")(x, train=train)
        return nn.relu(x + y)


def convolution(channels: int, kernel: tuple[int, int], strides: tuple[int, int], *, dtype: Any, name: str) -> nn.Conv:
    """A convolution without bias, He-initialised, with `layers.conv` underneath."""
    return nn.Conv(
        channels,
        kernel,
        strides=strides,
        use_bias=False,
        dtype=dtype,
        kernel_init=nn.initializers.variance_scaling(2.0, "fan_out", "truncated_normal"),
        conv_general_dilated=conv,
        name=name,
    )


class _AudioResNet(nn.Module):
    num_classes: int
    width: int
    depths: tuple[int, ...]
    dropout: Any
    dtype: Any
    axis: str | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "b n m"], *, train: bool) -> Float[Array, "b k"]:
        x = x[..., None].astype(self.dtype)  # b n m 1
        x = convolution(self.width, (3, 3), (2, 2), dtype=self.dtype, name="stem")(x)  # b n/2 m/2 d
        x = nn.relu(BatchNorm(axis=self.axis, dtype=self.dtype, name="stem_norm")(x, train=train))
        for stage, depth in enumerate(self.depths):
            for block in range(depth):
                strides = (2, 2) if stage and not block else (1, 1)
                channels = self.width * 2**stage
                name = f"stage{stage}_block{block}"
                x = Residual(channels, (3, 3), strides, self.axis, self.dtype, name=name)(x, train=train)
        x = Dropout(self.dropout, name="dropout")(x.mean(axis=(1, 2)), train=train)  # b d
        return nn.Dense(self.num_classes, dtype=self.dtype, name="head")(x).astype(jnp.float32)
