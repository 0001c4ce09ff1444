"""Windows of time series for models, and what they say as values again: forecasts in the user's unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxnets.types import Array, Model, PyTree


def on_windows(
    model: Model,
    *,
    horizon: int,
    series: int = 1,
    quantiles: int = 1,
    flat: bool = False,
    anchor: Literal["level", "last"] = "level",
) -> Model:
    """`model` of scaled windows as a model of them with `level` and `spread` (b 1 c): (b horizon c quantiles) values.

    It is given {"past": (b t c), "future": (b t+horizon f) if there is one, "static": (b series), which series a window
    is of, if there are many}, or with `flat` all of them as (b d), the past minus its last value and that value; and
    gives (b horizon·quantiles c), or as many numbers in that order, in deviations of the series from its level or, so
    that a model that says 0 says that nothing changes, from the last value. ValueError if it gives another number.
    """

    def given(inputs: Any) -> Any:
        return _flat(_own(inputs, series)) if flat else _own(inputs, series)

    def shaped(inputs: Any) -> Any:
        abstract = all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(inputs))
        return jax.eval_shape(given, inputs) if abstract else given(inputs)

    def values(outputs: Array, inputs: Any) -> Array:
        found = _shaped(outputs, inputs, horizon=horizon, quantiles=quantiles)
        found = found if anchor == "level" else found + inputs["past"][:, -1:, :, None]
        return found * inputs["spread"][..., None] + inputs["level"][..., None]

    def apply(params: PyTree, state: PyTree, inputs: PyTree, /, **how: Any) -> tuple[PyTree, PyTree]:
        outputs, state = model.apply(params, state, given(inputs), **how)
        return values(outputs, inputs), state

    def features(
        params: PyTree, state: PyTree, inputs: PyTree, /, *, taps: Mapping[str, Array] | None = None
    ) -> tuple[PyTree, dict[str, Array]]:
        assert model.features is not None
        outputs, seen = model.features(params, state, given(inputs), taps=taps)
        return values(outputs, inputs), seen

    return Model(
        lambda key, inputs, /: model.init(key, shaped(inputs)), apply, None if model.features is None else features
    )


def _own(inputs: Mapping[str, Any], series: int) -> dict[str, Any]:
    """What a model sees of a window."""
    found = {name: inputs[name] for name in ("past", "future") if name in inputs}
    return found | ({"static": jax.nn.one_hot(inputs["series"], series)} if series > 1 else {})


def _flat(parts: Mapping[str, Any]) -> Array:
    last = parts["past"][:, -1:]
    found = [parts["past"] - last, last, *(part for name, part in parts.items() if name != "past")]
    return jnp.concatenate([part.reshape(part.shape[0], -1) for part in found], axis=1)  # b d


def _shaped(outputs: Array, inputs: Mapping[str, Any], *, horizon: int, quantiles: int) -> Array:
    b, _, c = inputs["past"].shape
    each = outputs.size if outputs.ndim < 2 else outputs.shape[1] * (outputs.shape[2] if outputs.ndim > 2 else 1)
    if outputs.ndim not in (2, 3) or each != horizon * quantiles * c:
        raise ValueError(
            f"its outputs are {outputs.shape}; they must be (b, {horizon * quantiles}, {c}): a value for each of "
            f"{horizon} steps, {quantiles} quantiles and {c} targets"
        )
    return outputs.reshape(b, horizon, quantiles, c).swapaxes(2, 3)  # b h c q


def past_of(inputs: Any) -> Array:
    """The past (b t c) of a window, which may be all that is given."""
    return inputs["past"] if isinstance(inputs, Mapping) else inputs
