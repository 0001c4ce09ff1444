"""Flax modules as pure functions: `from_linen` and `from_nnx` make a `Model` of a module of one's own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxnets.models.stack import unrolled_path
from jaxnets.types import VIEW, Array, Model, PyTree


def from_linen(
    module: nn.Module,
    *,
    train: str | None = "train",
    axis: Callable[[str | None], nn.Module] | None = None,
    unrolled: nn.Module | None = None,
    cache: Callable[[int, int], PyTree] | None = None,
) -> Model:
    """A `Model` of a Linen module.

    train:    the call's keyword that says whether it trains, or None if it has none
    axis:     `device axis -> module`, for modules whose batch norm takes it
    unrolled: the same module without `nn.scan` or `nn.remat`, for `features`; default: the module itself
    cache:    `(batch, length) -> state`

    >>> model = from_linen(nn.Dense(2), train=None)
    >>> params, state = model.init(jax.random.key(0), jnp.ones((1, 3)))
    >>> model.apply(params, state, jnp.ones((4, 3)))[0].shape
    (4, 2)
    """

    def mode(value: bool) -> dict[str, Any]:
        return {} if train is None else {train: value}

    def init(key: Array, inputs: PyTree, /) -> tuple[PyTree, PyTree]:
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), inputs)
        variables = dict(module.init({"params": key}, zeros, **mode(False)))
        params = variables.pop("params", {})
        variables.pop("intermediates", None)
        return params, variables

    def apply(
        params: PyTree,
        state: PyTree,
        inputs: PyTree,
        /,
        *,
        train: bool = False,
        key: Array | None = None,
        axis: str | None = None,
    ) -> tuple[PyTree, PyTree]:
        own = module if with_axis is None or axis is None else with_axis(axis)
        rngs = {"dropout": key} if key is not None else {}
        moves = [name for name in state if train or name == "cache"]
        outputs, moved = own.apply({"params": params, **state}, inputs, rngs=rngs, mutable=moves, **mode(train))
        return outputs, {**state, **moved}

    def features(
        params: PyTree, state: PyTree, inputs: PyTree, /, *, taps: Mapping[str, Array] | None = None
    ) -> tuple[PyTree, dict[str, Array]]:
        seen: dict[str, Array] = {}

        def see(call: Any, arguments: Any, keywords: Any, context: nn.module.InterceptorContext) -> Any:
            path = ".".join(name for name in (*unrolled_path.get(), *context.module.path) if name != "layer")
            with jax.named_scope(VIEW + path) if path else contextlib.nullcontext():
                outputs = call(*arguments, **keywords)
            if context.method_name != "__call__" or not path or not isinstance(outputs, jax.Array):
                return outputs
            if taps and path in taps:
                outputs = outputs + taps[path]
            seen[path] = outputs
            return outputs

        with nn.intercept_methods(see):
            outputs = (unrolled or module).apply({"params": params, **state}, inputs, **mode(False))
        unknown = [path for path in taps or () if path not in seen]
        if unknown:
            raise ValueError(f"taps at {', '.join(unknown)}: there is no such view; there are {', '.join(seen)}")
        return outputs, seen

    with_axis = axis
    return Model(init, apply, features, cache)


def from_nnx(make: Callable[..., Any]) -> Model:
    """A `Model` of an NNX module: `make(rngs) -> module`; params are its `nnx.Param`s, state all else but random keys.

    >>> from flax import nnx
    >>> model = from_nnx(lambda rngs: nnx.Linear(3, 2, rngs=rngs))
    >>> params, state = model.init(jax.random.key(0), jnp.ones((1, 3)))
    >>> model.apply(params, state, jnp.ones((4, 3)))[0].shape
    (4, 2)
    """
    from flax import nnx

    def split(key: Array) -> Any:
        return nnx.split(make(nnx.Rngs(params=key, dropout=key)), nnx.Param, nnx.RngState, ...)

    def plain(state: Any) -> PyTree:
        return {"/".join(map(str, path)): value for path, value in nnx.to_flat_state(nnx.as_pure(state))}

    def init(key: Array, inputs: PyTree, /) -> tuple[PyTree, PyTree]:
        _, params, _, rest = split(key)
        return plain(params), plain(rest)

    def apply(
        params: PyTree,
        state: PyTree,
        inputs: PyTree,
        /,
        *,
        train: bool = False,
        key: Array | None = None,
        axis: str | None = None,
    ) -> tuple[PyTree, PyTree]:
        graph, old_params, rngs, old_rest = split(jax.random.key(0) if key is None else key)
        if train and key is None and jax.tree.leaves(rngs):
            raise ValueError("this module draws random numbers while training: pass key=... to apply")
        module = nnx.merge(graph, _filled(old_params, params), rngs, _filled(old_rest, state))
        module.train() if train else module.eval()
        outputs = module(inputs)
        if not train:
            return outputs, state
        _, _, _, rest = nnx.split(module, nnx.Param, nnx.RngState, ...)
        return outputs, plain(rest)

    def _filled(template: Any, values: PyTree) -> Any:
        flat = nnx.to_flat_state(template)
        filled = [(path, leaf.replace(values["/".join(map(str, path))])) for path, leaf in flat]
        return nnx.from_flat_state(filled)

    return Model(init, apply)
