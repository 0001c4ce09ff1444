"""What models of time series promise beyond the contracts: levels, what is known ahead, values in the user's unit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.models import mlp, on_windows, patchtst, tsmixer
from jaxnets.models.patchtst import words

draw = np.random.default_rng(0)


def window(*, future=True):
    """Four windows of 8 steps and 3 to come, two targets, two known columns, of five series."""
    parts = {"past": (4, 8, 2), "future": (4, 11, 2), "level": (4, 1, 2), "spread": (4, 1, 2)}
    found = {name: jnp.asarray(draw.normal(size=shape), jnp.float32) for name, shape in parts.items()}
    found |= {"series": jnp.asarray([0, 4, 1, 1]), "spread": jnp.abs(found["spread"]) + 0.5}
    return found if future else {name: leaf for name, leaf in found.items() if name != "future"}


MODELS = {
    "patchtst": (lambda n: patchtst(n, patch=4, stride=2, width=8, depth=1, heads=2, mlp_width=8), False),
    "tsmixer": (lambda n: tsmixer(n, width=8, depth=1, mlp_width=8), False),
    "mlp": (lambda n: mlp(2 * n, widths=(8,)), True),
}


@pytest.fixture(scope="module", params=MODELS)
def built(request):
    make, flat = MODELS[request.param]
    model = on_windows(make(6), horizon=3, series=5, quantiles=2, flat=flat)
    inputs = window()
    params, state = jax.jit(model.init)(jax.random.key(0), inputs)
    return request.param, model, jax.tree.map(lambda leaf: leaf + 0.1, params), state, inputs


def test_forecasts_are_in_the_unit_of_the_series(built):
    name, model, params, state, inputs = built
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), inputs)
    found = jax.eval_shape(lambda key: model.init(key, shapes)[0], jax.random.key(0))
    assert jax.tree.map(lambda leaf: leaf.shape, found) == jax.tree.map(lambda leaf: leaf.shape, params)
    outputs, _ = model.apply(params, state, inputs)
    assert outputs.shape == (4, 3, 2, 2)
    moved = {**inputs, "level": inputs["level"] + 100.0, "spread": inputs["spread"] * 2.0}
    expected = 2.0 * (outputs - inputs["level"][..., None]) + moved["level"][..., None]
    np.testing.assert_allclose(model.apply(params, state, moved)[0], expected, rtol=1e-5, atol=1e-4)
    seen = model.features(params, state, inputs)
    np.testing.assert_allclose(seen[0], outputs, rtol=1e-5, atol=1e-5)


def test_what_is_known_ahead_and_the_series_are_seen_where_they_can_be(built):
    name, model, params, state, inputs = built
    outputs, _ = model.apply(params, state, inputs)
    later = {**inputs, "future": inputs["future"].at[:, -1].add(1.0)}
    other = {**inputs, "series": jnp.asarray([1, 4, 1, 1])}
    for changed, rows in ((later, slice(None)), (other, slice(1))):
        moved = np.abs(np.asarray(model.apply(params, state, changed)[0] - outputs)).max(axis=(1, 2, 3))
        assert (moved[rows] > 0).all() == (name != "patchtst")
    np.testing.assert_array_equal(moved[1:], 0)


@pytest.mark.parametrize("name", ["patchtst", "tsmixer"])
def test_a_window_on_another_level_and_scale_is_forecast_alike(name):
    """Reversible normalisation: f(a·x + b) = a·f(x) + b."""
    model = MODELS[name][0](3)
    past = jnp.asarray(draw.normal(size=(2, 8, 2)), jnp.float32)
    params, state = jax.jit(model.init)(jax.random.key(1), past)
    apply = jax.jit(lambda x: model.apply(params, state, x)[0])
    np.testing.assert_allclose(apply(50.0 * past - 7.0), 50.0 * apply(past) - 7.0, rtol=1e-3, atol=1e-3)


def test_words_cover_the_past_and_channels_are_on_their_own():
    steps = words(336, 16, 8)
    assert steps.shape == (42, 16) and steps.max() == 335  # the paper's PatchTST/42
    assert set(steps.ravel()) == set(range(336))
    model = MODELS["patchtst"][0](3)
    past = jnp.asarray(draw.normal(size=(2, 8, 2)), jnp.float32)
    params, state = model.init(jax.random.key(1), past)
    changed = past.at[..., 1].add(jnp.arange(8.0)[None])
    one, two = (np.asarray(model.apply(params, state, x)[0]) for x in (past, changed))
    np.testing.assert_array_equal(one[..., 0], two[..., 0])
    assert not np.allclose(one[..., 1], two[..., 1])


def test_wrong_sizes_are_refused():
    inputs = window(future=False)
    with pytest.raises(ValueError, match=r"outputs are \(4, 5, 2\); they must be \(b, 3, 2\)"):
        model = on_windows(MODELS["tsmixer"][0](5), horizon=3, series=5)
        model.apply(*model.init(jax.random.key(0), inputs), inputs)
    with pytest.raises(ValueError, match="7 outputs do not divide over the 3 steps"):
        MODELS["tsmixer"][0](7).init(jax.random.key(0), {name: window()[name] for name in ("past", "future")})
    with pytest.raises(ValueError, match="patch 4 is longer than a past of 3 steps"):
        MODELS["patchtst"][0](3).init(jax.random.key(0), jnp.zeros((1, 3, 1)))


def test_a_model_that_says_nothing_forecasts_the_last_value_or_the_level():
    inputs = window()
    for anchor in ("last", "level"):
        model = on_windows(MODELS["mlp"][0](3), horizon=3, series=5, flat=True, anchor=anchor)
        params, state = model.init(jax.random.key(0), inputs)
        said, _ = model.apply(jax.tree.map(jnp.zeros_like, params), state, inputs)
        last = inputs["past"][:, -1:] * inputs["spread"] + inputs["level"] if anchor == "last" else inputs["level"]
        np.testing.assert_allclose(said[..., 0], np.broadcast_to(last, (4, 3, 2)), rtol=1e-6)
