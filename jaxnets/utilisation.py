"""How much of a device a run uses: model-FLOPs utilisation against a matrix product measured on the same device.

    utilisation = FLOPs a step × steps a second / (devices × FLOPs a second of the matrix product)

FLOPs a step are those of the traced step (`jaxnets.flops`): forward, backward, update and whatever is computed again,
a multiply-add being two. The peak is that of one large square product in the dtype the model computes
in, so a step that is nothing but such products has 100 %; a data sheet's peak is higher.
"""

from __future__ import annotations

import functools
import time

import jax
import jax.numpy as jnp

_SIZES = {"cpu": 1024, "gpu": 8192, "tpu": 8192}  # rows and columns of the product
_REPEATS = 5


@functools.cache
def matrix_peak(dtype: str = "float32") -> float:
    """FLOPs a second of one square matrix product on the first device: the best of five, in `dtype`.

    >>> matrix_peak() > 1e8
    True
    """
    size = _SIZES.get(jax.default_backend(), 2048)
    square = jax.device_put(jnp.ones((size, size), dtype), jax.devices()[0])
    product = jax.jit(lambda a: a @ a).lower(square).compile()
    seconds = []
    for _ in range(_REPEATS + 1):
        began = time.perf_counter()
        product(square).block_until_ready()
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / min(seconds[1:])


def seconds_at_peak(flops: float, *, devices: int, dtype: str = "float32") -> float | None:
    """Seconds that a step of `flops` would take at the peak of all devices; None where FLOPs are not known."""
    return flops / (devices * matrix_peak(dtype)) if flops > 0 else None
