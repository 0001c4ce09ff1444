"""A residual network on the samples themselves, with convolutions in time alone (after Dai et al., 2017, "M34-res").

Departures: kernels of 9 samples and a stride of 4 at every stage, so that few layers see a word; far narrower; the last
norm of each block starts at 0 (Goyal et al., 2017).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnets.models.audio_resnet import Residual, convolution
from jaxnets.models.layers import BatchNorm, Dropout
from jaxnets.models.linen import from_linen
from jaxnets.types import Model, experiment_dataclass, number

_STEM, _KERNEL, _STRIDE = (80, 1), (9, 1), (4, 1)  # samples


@experiment_dataclass
class WaveformResNet:
    """Config of `waveform_resnet`."""

    width: int = 32  # channels of the first stage, doubled at each that follows
    depths: tuple[int, ...] = (1, 1, 1, 1)  # blocks of each stage
    dropout: float | None = number(None)  # share of the averaged values set to 0 while training
    dtype: str = "float32"  # of the computation; params are float32


def waveform_resnet(
    num_classes: int,
    *,
    width: int = 32,
    depths: tuple[int, ...] = (1, 1, 1, 1),
    dropout: Any = None,
    dtype: str = "float32",
) -> Model:
    """Blocks of two convolutions in time; every stage sees a quarter of the steps: (b t) -> (b num_classes)."""
    make = partial(_WaveformResNet, num_classes, width, tuple(depths), dropout, jnp.dtype(dtype))
    return from_linen(make(), axis=make)


class _WaveformResNet(nn.Module):
    num_classes: int
    width: int
    depths: tuple[int, ...]
    dropout: Any
    dtype: Any
    axis: str | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "b t"], *, train: bool) -> Float[Array, "b k"]:
        x = x[:, :, None, None].astype(self.dtype)  # b t 1 1
        x = convolution(self.width, _STEM, _STRIDE, dtype=self.dtype, name="stem")(x)  # b t/4 1 d
        x = nn.relu(BatchNorm(axis=self.axis, dtype=self.dtype, name="stem_norm")(x, train=train))
        for stage, depth in enumerate(self.depths):
            for block in range(depth):
                strides = (1, 1) if block else _STRIDE
                channels = self.width * 2**stage
                name = f"stage{stage}_block{block}"
                x = Residual(channels, _KERNEL, strides, self.axis, self.dtype, name=name)(x, train=train)
        x = Dropout(self.dropout, name="dropout")(x.mean(axis=(1, 2)), train=train)  # b d
        return nn.Dense(self.num_classes, dtype=self.dtype, name="head")(x).astype(jnp.float32)
