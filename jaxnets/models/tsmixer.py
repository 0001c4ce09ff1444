"""TSMixer (Chen et al., 2023), with what is known ahead: layers that mix steps, then layers that mix features.

The past, and of the columns that are known ahead their past, is projected on the steps to come; there it meets what is
known of them, and which series it is (TSMixer-Ext of the paper). Departures: layer norm over features instead of batch
norm over all of a batch, so that examples do not see each other; reversible instance normalisation around the whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxnets.axes import named
from jaxnets.models.layers import Dropout
from jaxnets.models.linen import from_linen
from jaxnets.models.revin import RevIN
from jaxnets.models.stack import Remat, Stack
from jaxnets.models.windows import past_of
from jaxnets.types import Model, experiment_dataclass, number


@experiment_dataclass
class TSMixer:
    """Config of `tsmixer`."""

    width: int = 64
    depth: int = 4
    mlp_width: int = 128
    dropout: float | None = number(None)  # share of values set to 0 while training
    revin: bool = True  # each window minus its mean, over its deviation, and back
    remat: Remat = "none"  # what of a layer the backward pass computes again: full, dots, dots_no_batch
    dtype: str = "float32"  # of the computation; params are float32


def tsmixer(
    num_outputs: int,
    *,
    width: int = 64,
    depth: int = 4,
    mlp_width: int = 128,
    dropout: Any = None,
    revin: bool = True,
    remat: Remat = "none",
    dtype: str = "float32",
    unroll: bool = False,
) -> Model:
    """Multilayer perceptrons over steps and features: (b t c), or {"past": (b t c), …}, -> (b num_outputs c).

    Beside the past it takes "future" (b t+h f), columns that are known over past and horizon, and "static" (b s).
    Raises ValueError at init if the h steps of the future do not divide `num_outputs`.
    """
    make = partial(_TSMixer, num_outputs, width, depth, mlp_width, dropout, revin, jnp.dtype(dtype))
    return from_linen(make(unroll=unroll, remat=remat), unrolled=make(unroll=True))


class _Mixer(nn.Module):
    """x + mlp over steps, then x + mlp over features, each of a normed x: (b h d) -> (b h d)."""

    mlp_width: int
    dropout: Any
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "b h d"], train: bool) -> Float[Array, "b h d"]:
        drop = partial(Dropout, self.dropout)
        y = nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, name="steps_norm")(x).swapaxes(1, 2)  # b d h
        y = nn.relu(nn.Dense(x.shape[1], dtype=self.dtype, name="steps")(y)).swapaxes(1, 2)
        x = x + drop(name="steps_dropout")(y, train=train)
        y = nn.LayerNorm(epsilon=1e-6, dtype=self.dtype, name="features_norm")(x)
        y = nn.relu(nn.Dense(self.mlp_width, dtype=self.dtype, name="in")(y))
        y = nn.Dense(x.shape[-1], dtype=self.dtype, name="out")(drop(name="in_dropout")(y, train=train))
        return named(x + drop(name="out_dropout")(y, train=train), "batch", None, None)


class _TSMixer(nn.Module):
    num_outputs: int
    width: int
    depth: int
    mlp_width: int
    dropout: Any
    revin: bool
    dtype: Any
    unroll: bool = False
    remat: Remat = "none"

    @nn.compact
    def __call__(self, inputs: Any, *, train: bool) -> Float[Array, "b k c"]:
        x = past_of(inputs).astype(jnp.float32)
        b, t, c = x.shape
        reversible = RevIN(c, name="revin") if self.revin else None
        statistics = None
        if reversible is not None:
            x, statistics = reversible.normalise(x)
        x = self._aligned(x, inputs if isinstance(inputs, Mapping) else {})
        mixer = partial(_Mixer, self.mlp_width, self.dropout, self.dtype)
        x = Stack(mixer, self.depth, unroll=self.unroll, remat=self.remat, name="blocks")(x, train)
        each = self.num_outputs // x.shape[1]
        y = nn.Dense(each * c, dtype=self.dtype, name="head")(x).astype(jnp.float32)
        y = y.reshape(b, self.num_outputs, c)
        return y if reversible is None else reversible.restore(y, statistics)

    def _aligned(self, x: Array, more: Mapping[str, Any]) -> Array:
        """All that is known (b h d) at the steps to come."""
        b, t, _ = x.shape
        dense = partial(nn.Dense, dtype=self.dtype)
        future = more.get("future")
        steps = self.num_outputs if future is None else future.shape[1] - t
        if self.num_outputs % steps:
            raise ValueError(f"{self.num_outputs} outputs do not divide over the {steps} steps of the future")
        if future is not None:
            x = jnp.concatenate([x, future[:, :t]], axis=-1)
        x = dense(steps, name="past")(x.astype(self.dtype).swapaxes(1, 2)).swapaxes(1, 2)  # b h c
        parts = [dense(self.width, name="past_features")(x)]
        if future is not None:
            parts.append(dense(self.width, name="future")(future[:, t:].astype(self.dtype)))
        if "static" in more:
            static = dense(self.width, use_bias=False, name="static")(more["static"].astype(self.dtype))
            parts.append(jnp.broadcast_to(static[:, None], (b, steps, self.width)))
        return named(dense(self.width, name="together")(jnp.concatenate(parts, axis=-1)), "batch", None, None)
