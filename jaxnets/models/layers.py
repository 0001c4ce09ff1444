"""Shared pieces of the models: convolution, dropout and drop path of traced rates, batch norm over devices, pooling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxnets.axes import platform

_NHWC = ("NHWC", "HWIO", "NHWC")
TRANSFERS: dict[str, Callable[[Array], Array]] = {
    "sigmoid": nn.sigmoid,
    "tanh": nn.tanh,
    "relu": nn.relu,
    "gelu": nn.gelu,
    "silu": nn.silu,
    "softmax": nn.softmax,
    "softplus": nn.softplus,
    "elu": nn.elu,
    "identity": lambda x: x,
}


def transfer(function: str | Callable[[Array], Array]) -> Callable[[Array], Array]:
    """A transfer function by its name or as it is. Raises ValueError naming the allowed ones.

    >>> float(transfer("relu")(jnp.float32(-1.0)))
    0.0
    """
    if callable(function):
        return function
    if function not in TRANSFERS:
        raise ValueError(f"activation {function!r} is not known; use one of {', '.join(TRANSFERS)} or pass a function")
    return TRANSFERS[function]


def conv(
    lhs: Float[Array, "b h w c"],
    rhs: Float[Array, "kh kw i o"],
    window_strides: Sequence[int],
    padding: Any,
    *,
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    precision: Any = None,
    **more: Any,
) -> Float[Array, "b h2 w2 o"]:
    """A convolution, NHWC × HWIO, whose two gradients are NHWC × HWIO convolutions again.

    XLA on CPU leaves the weight gradient of a stock convolution inside any loop on its naive path, up to 100 times
    slower (jax issue 12868); this can go when that is fixed. Grouped and dilated convolutions, other backends and
    other layouts take the stock one. The signature is that of `lax.conv_general_dilated`, so that `flax.linen.Conv`
    takes it as `conv_general_dilated=`.
    """
    dilated = any(d != 1 for d in (*(lhs_dilation or ()), *(rhs_dilation or ())))
    if dilated or feature_group_count != 1 or lhs.ndim != 4 or platform() != "cpu":
        return lax.conv_general_dilated(
            lhs,
            rhs,
            window_strides,
            padding,
            lhs_dilation=lhs_dilation,
            rhs_dilation=rhs_dilation,
            dimension_numbers=dimension_numbers,
            feature_group_count=feature_group_count,
            precision=precision,
            **more,
        )
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(lhs.shape[1:3], rhs.shape[:2], window_strides, padding)
    (top, bottom), (left, right) = padding
    return _conv(lhs, rhs, tuple(window_strides), ((int(top), int(bottom)), (int(left), int(right))))


Pads = tuple[tuple[int, int], tuple[int, int]]


def _plain(x: Any, w: Any, strides: Any, pads: Any, *, lhs_dilation: Any = None, rhs_dilation: Any = None) -> Any:
    return lax.conv_general_dilated(
        x, w, strides, pads, lhs_dilation=lhs_dilation, rhs_dilation=rhs_dilation, dimension_numbers=_NHWC
    )


def _conv_forward(x: Any, w: Any, strides: tuple[int, int], pads: Pads) -> Any:
    return _conv(x, w, strides, pads), (x, w)


def _conv_backward(strides: tuple[int, int], pads: Pads, saved: Any, g: Any) -> Any:
    x, w = saved
    kernel, size, out = w.shape[:2], x.shape[1:3], g.shape[1:3]
    # dx: the gradient spread by the strides, against the kernel flipped in space with its channels swapped.
    before = [k - 1 - low for k, (low, _) in zip(kernel, pads, strict=True)]
    spread = [(o - 1) * s + 1 for o, s in zip(out, strides, strict=True)]
    after = [n + k - 1 - d - b for n, k, d, b in zip(size, kernel, spread, before, strict=True)]
    flipped = w[::-1, ::-1].swapaxes(2, 3)
    dx = _plain(g, flipped, (1, 1), list(zip(before, after, strict=True)), lhs_dilation=strides)
    # dw: inputs against gradients, with the channels as batch and the batch as channels.
    lows = [low for low, _ in pads]
    highs = [d + k - 1 - n - low for n, k, d, low in zip(size, kernel, spread, lows, strict=True)]
    dw = _plain(
        x.transpose(3, 1, 2, 0),
        g.transpose(1, 2, 0, 3),
        (1, 1),
        list(zip(lows, highs, strict=True)),
        rhs_dilation=strides,
    )
    return dx.astype(x.dtype), dw.transpose(1, 2, 0, 3).astype(w.dtype)


def _conv_function(x: Any, w: Any, strides: tuple[int, int], pads: Pads) -> Any:
    return _plain(x, w, strides, pads)


_conv = jax.custom_vjp(_conv_function, nondiff_argnums=(2, 3))
_conv.defvjp(_conv_forward, _conv_backward)


class Conv(nn.Module):
    """A 2-d convolution, He-initialised, with `conv` underneath."""

    features: int
    kernel: int = 3
    stride: int = 1
    bias: bool = False
    padding: Any = "SAME"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 o"]:
        return nn.Conv(
            self.features,
            (self.kernel, self.kernel),
            strides=self.stride,
            padding=self.padding,
            use_bias=self.bias,
            dtype=self.dtype,
            kernel_init=nn.initializers.variance_scaling(2.0, "fan_out", "truncated_normal"),
            conv_general_dilated=conv,
            name="conv",
        )(x)


class Dropout(nn.Module):
    """Sets a share `rate` of the values to 0 and scales the rest, while training.

    `rate` may be a traced number; `None` leaves it out of the graph.
    """

    rate: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "..."], *, train: bool) -> Float[Array, "..."]:
        if not train or self.rate is None:
            return x
        if not self.has_rng("dropout"):
            raise ValueError("dropout needs randomness while training: pass key=... to apply")
        keep = 1.0 - self.rate
        mask = jax.random.uniform(self.make_rng("dropout"), x.shape) < keep
        return jnp.where(mask, x / jnp.asarray(keep, x.dtype), jnp.zeros_like(x))


class DropPath(nn.Module):
    """Stochastic depth (Huang et al., 2016): sets a share `rate` of the examples to 0 and scales the rest in training.

    Put around a residual branch it leaves out the layer. `rate` may be a traced number; `None` leaves it out of the
    graph.
    """

    rate: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "b ..."], *, train: bool) -> Float[Array, "b ..."]:
        if not train or self.rate is None:
            return x
        if not self.has_rng("dropout"):
            raise ValueError("drop path needs randomness while training: pass key=... to apply")
        keep = 1.0 - self.rate
        mask = jax.random.uniform(self.make_rng("dropout"), (x.shape[0],) + (1,) * (x.ndim - 1)) < keep
        return jnp.where(mask, x / jnp.asarray(keep, x.dtype), jnp.zeros_like(x))


def drop_path_rates(last: Any, depth: int) -> Any:
    """(depth,) rates that grow linearly to `last`: layer l of 1 … L has last · l / L; None if `last` is None.

    >>> drop_path_rates(0.2, 4).tolist()
    [0.05..., 0.1..., 0.15..., 0.2...]
    """
    return None if last is None else last * jnp.arange(1, depth + 1) / depth


class BatchNorm(nn.Module):
    """Batch normalisation (Ioffe and Szegedy, 2015) with float32 statistics, over a device axis where there is one.

    The axis is the one given to `apply`: it is passed down as the module's `axis`.
    """

    axis: str | None = None
    momentum: float = 0.9
    scale_init: Any = nn.initializers.ones
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "..."], *, train: bool) -> Float[Array, "..."]:
        return nn.BatchNorm(
            use_running_average=not train,
            momentum=self.momentum,
            epsilon=1e-5,
            dtype=self.dtype,
            scale_init=self.scale_init,
            axis_name=None if self.is_initializing() else self.axis,
            name="norm",
        )(x)


def max_pool(x: Float[Array, "b h w c"], size: int, *, stride: int | None = None, padding: Any = "VALID") -> Array:
    """The largest value of each window."""
    return nn.max_pool(x, window_shape=(size, size), strides=(stride or size, stride or size), padding=padding)
