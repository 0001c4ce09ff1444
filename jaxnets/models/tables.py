"""The rows of a table for models that take one array: numbers and flags as they are, categories one-hot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxnets.types import Array, Model, PyTree


def on_table(model: Model, cardinalities: tuple[int, ...]) -> Model:
    """`model`, which takes (b d), as a model of {"numbers": (b n), "categories": (b m), "flags": (b f)}.

    cardinalities: how many codes each category has; absent parts may be left out of the inputs
    """

    def flat(inputs: Any) -> Any:
        if all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(inputs)):
            return jax.eval_shape(lambda given: flatten(given, cardinalities), inputs)
        return flatten(inputs, cardinalities)

    def apply(params: PyTree, state: PyTree, inputs: PyTree, /, **how: Any) -> tuple[PyTree, PyTree]:
        return model.apply(params, state, flat(inputs), **how)

    def features(
        params: PyTree, state: PyTree, inputs: PyTree, /, *, taps: Mapping[str, Array] | None = None
    ) -> tuple[PyTree, dict[str, Array]]:
        assert model.features is not None
        return model.features(params, state, flat(inputs), taps=taps)

    return Model(
        lambda key, inputs, /: model.init(key, flat(inputs)), apply, None if model.features is None else features
    )


def flatten(inputs: Mapping[str, Any], cardinalities: tuple[int, ...]) -> Array:
    """(b d) of a table's parts.

    >>> flatten({"numbers": jnp.ones((1, 1)), "categories": jnp.array([[2, 0]])}, (3, 2)).tolist()
    [[1.0, 0.0, 0.0, 1.0, 1.0, 0.0]]
    """
    found = [inputs[name].astype(jnp.float32) for name in ("numbers", "flags") if name in inputs]
    if "categories" in inputs:
        codes = inputs["categories"]
        found += [jax.nn.one_hot(codes[:, i], size) for i, size in enumerate(cardinalities)]
    return jnp.concatenate(found, axis=-1)
