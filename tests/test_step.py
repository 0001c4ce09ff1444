"""The step against plain jax and optax: what is summed, what is frozen, what is skipped."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets.optim.loss_scale import with_loss_scale
from jaxnets.optim.sam import ascend
from jaxnets.step import evaluation_params, init_state, make_eval_step, make_step, merge_params, split_params
from jaxnets.types import Metric, Model, Optimizer, Task


def linear(outputs=1):
    def init(key, inputs):
        return {"w": jax.random.normal(key, (inputs.shape[-1], outputs)), "b": jnp.zeros((1, outputs))}, {}

    def apply(params, state, inputs, *, train=False, key=None, axis=None):
        return inputs @ params["w"] + params["b"], state

    return Model(init, apply)


def squares():
    def update(outputs, targets, weight):
        return {"total": jnp.sum(jnp.abs(outputs - targets)[:, 0] * weight), "weight": weight.sum()}

    return Task(
        prepare=lambda batch, *, train, key: (batch["inputs"], batch["targets"], batch["weight"]),
        loss=lambda outputs, targets, weight: (jnp.square(outputs - targets)[:, 0], weight),
        metrics={"mae": Metric(update, lambda sums: float(sums["total"] / sums["weight"]))},
        predict=lambda outputs: {"value": outputs},
    )


def from_optax(transformation, **more):
    def update(gradients, opt_state, params):
        return transformation.update(gradients, opt_state, params)

    return Optimizer(transformation.init, update, lambda params, opt_state, average: params, **more)


@pytest.fixture
def batch():
    draw = np.random.default_rng(0)
    return {
        "inputs": jnp.asarray(draw.normal(size=(8, 3)), jnp.float32),
        "targets": jnp.asarray(draw.normal(size=(8, 1)), jnp.float32),
        "weight": jnp.asarray([1, 1, 1, 0.5, 1, 2, 1, 0], jnp.float32),
    }


def trained(batch, steps=3, optimizer=None, **how):
    parts = linear(), squares(), optimizer or from_optax(optax.sgd(0.1))
    state = init_state(*parts, key=jax.random.key(0), batch=batch)
    step = jax.jit(make_step(*parts, **how))
    for _ in range(steps):
        state, sums = step(state, batch)
    return state, sums


def test_a_step_is_the_gradient_of_the_weighted_mean(batch):
    model = linear()
    state = init_state(model, squares(), from_optax(optax.sgd(0.1)), key=jax.random.key(0), batch=batch)

    def loss(params):
        losses = jnp.square(model.apply(params, {}, batch["inputs"])[0] - batch["targets"])[:, 0]
        return (losses * batch["weight"]).sum() / batch["weight"].sum()

    expected = jax.tree.map(lambda p, g: p - 0.1 * g, state.params, jax.grad(loss)(state.params))
    found, sums = jax.jit(make_step(model, squares(), from_optax(optax.sgd(0.1))))(state, batch)
    for name in expected:
        np.testing.assert_allclose(found.params[name], expected[name], rtol=1e-5, atol=1e-6)
    measured = sums["metrics"]["loss"]
    np.testing.assert_allclose(measured["total"] / measured["weight"], loss(state.params), rtol=1e-6)
    assert found.step == 1


@pytest.mark.parametrize("accumulate", [2, 4, 8])
def test_accumulation_is_the_whole_batch(batch, accumulate):
    whole, sums = trained(batch)
    parts, part_sums = trained(batch, accumulate=accumulate)
    for name in whole.params:
        np.testing.assert_allclose(parts.params[name], whole.params[name], rtol=1e-5, atol=1e-6)
    for a, b in zip(jax.tree.leaves(sums), jax.tree.leaves(part_sums), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_pmap_axis_reaches_the_sums(batch):
    # One virtual device is enough to see that the axis is used; the result must be that of the plain step.
    parts = linear(), squares(), from_optax(optax.sgd(0.1))
    state = init_state(*parts, key=jax.random.key(0), batch=batch)
    step = jax.vmap(make_step(*parts, axis="data"), in_axes=(None, 0), axis_name="data")
    halves = jax.tree.map(lambda leaf: leaf.reshape(2, 4, *leaf.shape[1:]), batch)
    found, _ = step(state, halves)
    whole, _ = make_step(*parts)(state, batch)
    np.testing.assert_allclose(found.params["w"][0], whole.params["w"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.params["w"][1], whole.params["w"], rtol=1e-5, atol=1e-6)


def test_a_skipped_step_changes_nothing_but_the_step(batch):
    parts = linear(), squares(), from_optax(optax.adam(0.1))
    step = jax.jit(make_step(*parts, skip_nonfinite=True))
    before, _ = step(init_state(*parts, key=jax.random.key(0), batch=batch), batch)
    bad = {**batch, "targets": batch["targets"].at[2, 0].set(jnp.nan)}
    after, sums = step(before, bad)
    assert after.step == before.step + 1
    for a, b in zip(jax.tree.leaves(before._replace(step=0)), jax.tree.leaves(after._replace(step=0)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not sums["health"]["finite"]
    assert sums["metrics"]["loss"]["weight"] == 0
    again, sums = step(after, batch)
    assert sums["health"]["finite"] and not np.array_equal(again.params["w"], after.params["w"])


def test_health_names_the_first_bad_leaf(batch):
    bad = {**batch, "inputs": batch["inputs"].at[0, 0].set(jnp.inf)}
    _, sums = trained(bad, steps=1)
    assert not sums["health"]["finite"] and sums["health"]["leaf"] == 0


def test_frozen_leaves_do_not_move_and_are_not_clipped(batch):
    frozen = from_optax(
        optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(0.1)),
        trainable=lambda params: {"w": True, "b": False},
    )
    parts = linear(), squares(), frozen
    first = init_state(*parts, key=jax.random.key(0), batch=batch)
    state, _ = jax.jit(make_step(*parts))(first, batch)
    assert first.params["b"] is None and first.frozen["w"] is None
    np.testing.assert_array_equal(state.frozen["b"], first.frozen["b"])
    moved = np.linalg.norm(state.params["w"] - first.params["w"])
    np.testing.assert_allclose(moved, 0.05, rtol=1e-5)
    whole = evaluation_params(frozen, state)
    assert jax.tree.structure(whole) == jax.tree.structure({"b": 0, "w": 0})


def test_split_and_merge_are_inverse():
    params = {"a": {"x": 1, "y": 2}, "b": 3}
    parts = split_params(params, {"a": {"x": True, "y": False}, "b": True})
    assert merge_params(*parts) == params


def test_padding_adds_nothing_to_evaluation(batch):
    model = linear()
    params, state = model.init(jax.random.key(0), batch["inputs"])
    step = make_eval_step(model, squares())
    padded = step(params, state, batch)
    seven = step(params, state, jax.tree.map(lambda leaf: leaf[:7], batch))
    for name, sums in seven["metrics"].items():
        for key in sums:
            np.testing.assert_allclose(padded["metrics"][name][key], sums[key], rtol=1e-6)
    np.testing.assert_allclose(padded["losses"][:7], seven["losses"], rtol=1e-6)


def test_resuming_replays_the_same_numbers(batch):
    """The key of a step depends on the seed and the step alone."""

    def noisy(batch, *, train, key):
        noise = jax.random.normal(key, batch["targets"].shape) if train else 0.0
        return batch["inputs"], batch["targets"] + noise, batch["weight"]

    parts = linear(), squares()._replace(prepare=noisy), from_optax(optax.sgd(0.1))
    step = jax.jit(make_step(*parts))
    state = init_state(*parts, key=jax.random.key(3), batch=batch)
    middle, _ = step(state, batch)
    end, _ = step(middle, batch)
    stored = jax.tree.map(lambda leaf: jnp.asarray(np.array(leaf)), middle)
    again, _ = step(stored, batch)
    for a, b in zip(jax.tree.leaves(end), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)


# ---------------------------------------------------------------- sharpness-aware minimisation

RHO = 0.3
SAM = from_optax(optax.sgd(0.1), perturb=partial(ascend, rho=RHO))


def noisy_linear():
    """Linear, with noise on its outputs and a state that counts its passes and keeps their last outputs."""
    plain = linear()

    def apply(params, state, inputs, *, train=False, key=None, axis=None):
        outputs = plain.apply(params, {}, inputs)[0]
        state = {"passes": state["passes"] + 1, "outputs": outputs}
        return outputs + jax.random.normal(key, outputs.shape), state

    def init(key, inputs):
        return plain.init(key, inputs)[0], {"passes": jnp.zeros(()), "outputs": jnp.zeros((8, 1))}

    return Model(init, apply)


def by_hand(params, batch, noise=0.0, moves=("w", "b")):
    """One step of SAM with SGD in numpy: the closed-form gradient of the weighted squares, twice."""
    x, y, weight = (np.asarray(batch[name], np.float64) for name in ("inputs", "targets", "weight"))
    params = {name: np.asarray(leaf, np.float64) for name, leaf in params.items()}

    def gradient(params):
        error = 2 * weight[:, None] * (x @ params["w"] + params["b"] + noise - y) / weight.sum()
        whole = {"w": x.T @ error, "b": error.sum(keepdims=True)}
        return {name: whole[name] for name in moves}

    first = gradient(params)
    norm = np.sqrt(sum(np.square(leaf).sum() for leaf in first.values()))
    worst = params | {name: params[name] + RHO * leaf / norm for name, leaf in first.items()}
    return params | {name: params[name] - 0.1 * leaf for name, leaf in gradient(worst).items()}


def assert_params(found, expected):
    for name, leaf in expected.items():
        np.testing.assert_allclose(found[name], leaf, rtol=1e-5, atol=1e-6)


def test_sam_takes_the_gradient_uphill_with_the_same_noise_and_moves_the_state_once(batch):
    parts = noisy_linear(), squares(), SAM
    state = init_state(*parts, key=jax.random.key(0), batch=batch)
    found, sums = jax.jit(make_step(*parts))(state, batch)
    key = jax.random.split(jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step))[1]
    noise = np.asarray(jax.random.normal(key, (8, 1)), np.float64)
    assert_params(found.params, by_hand(state.params, batch, noise))
    outputs = batch["inputs"] @ state.params["w"] + state.params["b"]
    assert found.state["passes"] == 1
    np.testing.assert_allclose(found.state["outputs"], outputs, rtol=1e-5, atol=1e-6)
    losses = np.square(np.asarray(outputs) + noise - np.asarray(batch["targets"]))[:, 0] * np.asarray(batch["weight"])
    np.testing.assert_allclose(sums["metrics"]["loss"]["total"], losses.sum(), rtol=1e-5)


def test_sam_goes_uphill_for_the_whole_batch(batch):
    parts = linear(), squares(), SAM
    state = init_state(*parts, key=jax.random.key(0), batch=batch)
    expected = by_hand(state.params, batch)
    assert_params(jax.jit(make_step(*parts, accumulate=4))(state, batch)[0].params, expected)
    step = jax.vmap(make_step(*parts, axis="data"), in_axes=(None, 0), axis_name="data")
    found, _ = step(state, jax.tree.map(lambda leaf: leaf.reshape(2, 4, *leaf.shape[1:]), batch))
    assert_params(jax.tree.map(lambda leaf: leaf[1], found.params), expected)


def test_sam_leaves_frozen_params_where_they_are(batch):
    parts = linear(), squares(), SAM._replace(trainable=lambda params: {"w": True, "b": False})
    state = init_state(*parts, key=jax.random.key(0), batch=batch)
    found, _ = jax.jit(make_step(*parts))(state, batch)
    assert_params(merge_params(found.params, found.frozen), by_hand(merge_params(*state[2:4]), batch, moves=("w",)))


def test_sam_skips_what_is_not_finite_and_stays_where_the_gradient_is_zero(batch):
    parts = linear(), squares(), SAM
    state = init_state(*parts, key=jax.random.key(0), batch=batch)
    step = jax.jit(make_step(*parts, skip_nonfinite=True))
    after, sums = step(state, {**batch, "targets": batch["targets"].at[2, 0].set(jnp.nan)})
    assert not sums["health"]["finite"]
    np.testing.assert_array_equal(after.params["w"], state.params["w"])
    after, sums = step(state, {**batch, "weight": jnp.zeros(8)})
    assert sums["health"]["finite"]
    np.testing.assert_array_equal(after.params["w"], state.params["w"])


def half(factor):
    """A model that computes in float16 and whose gradient passes through `factor`."""

    def apply(params, state, inputs, *, train=False, key=None, axis=None):
        small = (inputs @ params["w"]).astype(jnp.float16) * jnp.float16(factor)
        return small.astype(jnp.float32) + params["b"], state

    return linear()._replace(apply=apply)


def first_step(model, optimizer, batch):
    state = init_state(model, squares(), optimizer, key=jax.random.key(0), batch=batch)
    return state, *jax.jit(make_step(model, squares(), optimizer))(state, batch)


def test_a_loss_scale_changes_no_bit_of_what_does_not_overflow(batch):
    plain, _ = trained(batch, accumulate=2)
    scaled, sums = trained(batch, optimizer=with_loss_scale(from_optax(optax.sgd(0.1)), 1024.0), accumulate=2)
    for name in plain.params:
        np.testing.assert_array_equal(plain.params[name], scaled.params[name])
    assert float(sums["metrics"]["loss_scale"]["total"]) == 1024 and float(sums["metrics"]["overflow"]["total"]) == 0


def test_a_loss_scale_saves_gradients_too_small_for_float16(batch):
    tiny = batch | {"targets": batch["targets"] * 1e-3}
    norm = {}
    for name, optimizer in {
        "plain": from_optax(optax.sgd(0.1)),
        "scaled": with_loss_scale(from_optax(optax.sgd(0.1)), 2.0**15),
    }.items():
        _, _, sums = first_step(half(1e-5), optimizer, tiny)
        norm[name] = float(sums["metrics"]["grad_norm/w"]["total"])
    assert norm["plain"] < 0.5 * norm["scaled"] and norm["scaled"] > 0


def test_an_overflow_moves_nothing_but_the_scale_and_is_no_failure(batch):
    optimizer = with_loss_scale(from_optax(optax.adam(0.1)), 2.0**24)
    old, new, sums = first_step(half(1.0), optimizer, batch | {"inputs": batch["inputs"] * 100})
    assert new.opt_state.scale == 2.0**23 and new.step == 1
    for before, after in zip(
        jax.tree.leaves((old.params, old.opt_state.inner)),
        jax.tree.leaves((new.params, new.opt_state.inner)),
        strict=True,
    ):
        np.testing.assert_array_equal(before, after)
    assert bool(sums["health"]["finite"]) and int(sums["health"]["leaf"]) == -1
    assert float(sums["metrics"]["overflow"]["total"]) == 1 and float(sums["metrics"]["grad_norm"]["weight"]) == 0


def test_a_gradient_that_no_scale_can_mend_is_a_failure(batch):
    optimizer = with_loss_scale(from_optax(optax.sgd(0.1)), 1.0)
    spoiled = linear()._replace(
        apply=lambda params, state, inputs, **how: (jnp.sqrt(0 * inputs @ params["w"]) + params["b"], state)
    )
    _, new, sums = first_step(spoiled, optimizer, batch)
    assert not bool(sums["health"]["finite"]) and new.opt_state.scale == 1


def test_a_long_row_of_good_steps_doubles_the_scale():
    optimizer = with_loss_scale(from_optax(optax.sgd(0.1)), 8.0)
    params = {"w": jnp.ones(1)}
    state = optimizer.init(params)
    scales = []
    for good in (1997, 1998, 1999):
        _, after = optimizer.update(params, state._replace(good=jnp.int32(good)), params)
        scales.append((float(after.scale), int(after.good)))
    assert scales == [(8.0, 1998), (8.0, 1999), (16.0, 0)]


def test_norms_of_groups_add_up_to_the_whole(batch):
    _, sums = trained(batch, steps=1)
    norms = {name: float(value["total"]) for name, value in sums["metrics"].items() if name.startswith("grad_norm")}
    assert norms.keys() == {"grad_norm", "grad_norm/w", "grad_norm/b"}
    np.testing.assert_allclose(np.hypot(norms["grad_norm/w"], norms["grad_norm/b"]), norms["grad_norm"], rtol=1e-6)
