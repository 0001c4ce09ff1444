"""Reversible instance normalisation (Kim et al., 2022): a window minus its mean over its deviation, and back again.

A level or a spread that moves away from what was trained on is so taken out before a model and put back behind it.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

_LEAST = 1e-5  # added to the variance


class RevIN(nn.Module):
    """`normalise` and `restore` with one scale and shift a channel, learned; statistics are those of the past."""

    channels: int

    def setup(self) -> None:
        self.scale = self.param("scale", nn.initializers.ones, (self.channels,))
        self.shift = self.param("shift", nn.initializers.zeros, (self.channels,))

    def normalise(self, x: Float[Array, "b t c"]) -> tuple[Float[Array, "b t c"], Any]:
        """(window, its statistics) over its steps."""
        mean = x.mean(axis=1, keepdims=True)
        std = jnp.sqrt(x.var(axis=1, keepdims=True) + _LEAST)
        return (x - mean) / std * self.scale[None, None] + self.shift[None, None], (mean, std)

    def restore(self, y: Float[Array, "b h c"], statistics: Any) -> Float[Array, "b h c"]:
        """Forecasts of a normalised window as those of the window."""
        mean, std = statistics
        return (y - self.shift[None, None]) / (self.scale[None, None] + _LEAST) * std + mean
