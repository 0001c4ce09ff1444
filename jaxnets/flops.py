"""FLOPs of a function, from its jaxpr: of all devices together, whatever they are.

A multiply-add is two. Matrix products and convolutions are counted exactly, and of a convolution only where its kernel
meets an input, not what a padding or a dilation leaves out; other arithmetic is one for each element that it gives, a
reduction one for each that it takes. Exponentials and their like, random bits and moves of data are not counted, nor
is what nothing reads.

XLA's own count (`cost_analysis`) takes the body of every loop once, so that a scanned stack of layers is one layer; and
it has none for devices that are not there. Here a scan is its body times its length. A loop whose trip count is an
input counts as one trip, so that a block of steps says what one step costs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr
from jax.interpreters.partial_eval import dce_jaxpr

# fmt: off
_ELEMENTWISE = frozenset((
    "add", "add_any", "sub", "mul", "div", "rem", "max", "min", "neg", "abs", "sign", "floor", "ceil", "round", "clamp",
    "select_n", "square", "sqrt", "rsqrt", "integer_pow", "eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not", "xor",
))
_REDUCTIONS = frozenset((
    "reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or", "argmax", "argmin",
    "cumsum", "cummax", "cumprod",
))
# fmt: on


def flops(jaxpr: Any) -> float:
    """Of one call of what `jaxpr` is the trace of.

    >>> import jax
    >>> layers = jax.ShapeDtypeStruct((12, 4, 4), "float32")
    >>> scanned = lambda x, layers: jax.lax.scan(lambda x, w: (x @ w, None), x, layers)[0]
    >>> flops(jax.make_jaxpr(scanned)(jax.ShapeDtypeStruct((8, 4), "float32"), layers)) == 12 * 2 * 8 * 4 * 4
    True
    """
    used, _ = dce_jaxpr(jaxpr.jaxpr, [True] * len(jaxpr.jaxpr.outvars))
    return _of_jaxpr(used)


def primitives(jaxpr: Any) -> set[str]:
    """The names of all primitives in a jaxpr, of its parts as well.

    >>> import jax
    >>> "dot_general" in primitives(jax.make_jaxpr(jax.jit(lambda x: x @ x))(jax.numpy.eye(2)))
    True
    """
    inner = getattr(jaxpr, "jaxpr", jaxpr)
    found = {equation.primitive.name for equation in inner.eqns}
    return found.union(*(primitives(part) for equation in inner.eqns for part in _parts(equation.params)))


def _of_jaxpr(jaxpr: Any) -> float:
    inner = jaxpr.jaxpr if isinstance(jaxpr, ClosedJaxpr) else jaxpr
    return sum((_of_equation(equation) for equation in inner.eqns), 0.0)


def _of_equation(equation: Any) -> float:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        return 2.0 * _size(equation.outvars[0]) * _contracted(equation)
    if name == "conv_general_dilated":
        return 2.0 * _multiplications(equation)
    if name in _ELEMENTWISE:
        return float(_size(equation.outvars[0]))
    if name in _REDUCTIONS:
        return float(_size(equation.invars[0]))
    parts = [_of_jaxpr(part) for part in _parts(params)]
    if name == "cond":
        return max(parts)
    return _repeats(name, params) * sum(parts, 0.0)


def _repeats(name: str, params: Any) -> int:
    """How often the parts of an equation run, over all devices."""
    match name:
        case "scan":
            return params["length"]
        case "shard_map":
            return params["mesh"].size
        case "xla_pmap":
            return params["global_axis_size"]
    return 1


def _parts(params: Any) -> Iterator[Any]:
    """The jaxprs among the params of an equation."""
    for value in params.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            if isinstance(one, ClosedJaxpr | Jaxpr):
                yield one


def _size(variable: Any) -> int:
    return math.prod(variable.aval.shape)


def _contracted(equation: Any) -> int:
    (axes, _), _ = equation.params["dimension_numbers"]
    return math.prod(equation.invars[0].aval.shape[axis] for axis in axes)


def _multiplications(equation: Any) -> int:
    """Of a convolution: over batch, features and, in each dimension of space, where kernel and input meet."""
    lhs, rhs, out = (variable.aval.shape for variable in (*equation.invars, *equation.outvars))
    params, numbers = equation.params, equation.params["dimension_numbers"]
    (batch, features, *places), (_, inputs, *kernel) = numbers.out_spec, numbers.rhs_spec
    total = out[batch] * out[features] * rhs[inputs]
    for index, (here, within, before) in enumerate(zip(places, kernel, numbers.lhs_spec[2:], strict=True)):
        total *= _meetings(
            lhs[before],
            rhs[within],
            out[here],
            stride=params["window_strides"][index],
            low=params["padding"][index][0],
            spread=params["lhs_dilation"][index],
            reach=params["rhs_dilation"][index],
        )
    return total


def _meetings(size: int, kernel: int, out: int, *, stride: int, low: int, spread: int, reach: int) -> int:
    """Pairs of an output and a place of the kernel that falls on an input.

    >>> _meetings(4, 3, 4, stride=1, low=1, spread=1, reach=1)
    10
    """
    at = np.arange(out)[:, None] * stride - low + np.arange(kernel)[None] * reach
    return int(((at >= 0) & (at <= (size - 1) * spread) & (at % spread == 0)).sum())
