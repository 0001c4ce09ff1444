"""One suite over all optimizers, and optax itself as the reference."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets import optim
from jaxnets.errors import ConfigError
from jaxnets.optim import AdamW, Constant, Group, from_optax, optimizer
from jaxnets.optim.groups import by_path
from jaxnets.schedules import WSD, Cosine, Linear, OneCycle, Rsqrt, multiplier

ALL = {
    kind.__name__: kind(lr=lr, schedule=Constant(), weight_decay=None)
    for kind, lr in [
        (optim.SGD, 0.05), (optim.Adam, 0.1), (optim.AdamW, 0.1), (optim.Lamb, 0.1), (optim.Lion, 0.02),
        (optim.Adafactor, 0.1), (optim.ScheduleFreeAdamW, 0.1), (optim.NAdamW, 0.1), (optim.RAdam, 0.1),
        (optim.AdaBelief, 0.1), (optim.RMSProp, 0.05), (optim.Adagrad, 0.5), (optim.NovoGrad, 0.02),
        (optim.Prodigy, 1.0),
    ]
}  # fmt: skip
ALL["Muon"] = optim.Muon(lr=0.05, adam_lr=0.1, schedule=Constant(), weight_decay=None)  # biases go by adam
ALL["Custom"] = optim.Custom(transformation=optax.sgd(0.1), schedule=Constant())
TARGET = {
    "dense": {"kernel": jnp.asarray([[1.0, -0.5], [0.5, 0.8]]), "bias": jnp.asarray([1.0, -1.0])},
    "blocks": {"kernel": jnp.asarray([[[0.5, 0.1], [0.2, 0.3]], [[-0.4, 0.6], [0.1, 0.2]]])},
}


def loss(params):
    return sum(jnp.square(a - b).sum() for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(TARGET), strict=True))


def start():
    return jax.tree.map(lambda leaf: leaf + 1.0, TARGET)


def descend(config, steps):
    return descend_by(optimizer(config, total_steps=steps), steps)


def descend_by(made, steps):
    params = start()
    opt_state = made.init(params)

    def step(carry, _):
        params, opt_state = carry
        updates, opt_state = made.update(jax.grad(loss)(params), opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), None

    (params, opt_state), _ = jax.lax.scan(step, (params, opt_state), None, length=steps)
    return made.evaluation_params(params, opt_state, None)


@pytest.mark.parametrize("name", ALL)
def test_every_optimizer_descends_and_takes_traced_numbers(name):
    config = ALL[name]
    traces = []

    @jax.jit
    def end(config):
        traces.append(1)
        return loss(descend(config, 150))

    assert end(config) < 0.1 * loss(start())
    slow = jax.tree.map(lambda x: x, config)
    values = [end(type(config)(**{**vars(slow), "lr": lr * config.lr})) for lr in (0.5, 0.01)]
    assert len(traces) == 1
    assert values[1] > values[0]


@pytest.mark.parametrize("name", [name for name in ALL if name != "Custom"])
def test_lanes_are_separate_runs(name):
    def end(lr):
        return descend(type(ALL[name])(**{**vars(ALL[name]), "lr": lr}), 10)

    lanes = jax.vmap(end)(jnp.asarray([0.01, 0.02]))
    for index, lr in enumerate((0.01, 0.02)):
        alone = end(jnp.asarray(lr))
        for a, b in zip(jax.tree.leaves(lanes), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(a[index], b, rtol=2e-4, atol=2e-5)


MASK = by_path(TARGET, lambda path: "kernel" in path)
EVERYWHERE = (Group(pattern="", weight_decay=0.1),)
STEPS = 8  # RAdam adapts from the sixth


@pytest.mark.parametrize(
    "config, reference",
    [
        (optim.SGD(lr=0.05, schedule=Constant()), optax.sgd(0.05, momentum=0.9, nesterov=True)),
        (optim.Adam(lr=0.05, schedule=Constant()), optax.adam(0.05)),
        (optim.AdamW(lr=0.05, schedule=Constant(), weight_decay=0.1), optax.adamw(0.05, weight_decay=0.1, mask=MASK)),
        (optim.Lion(lr=0.01, schedule=Constant(), weight_decay=None), optax.lion(0.01, b2=0.99, weight_decay=0.0)),
        (
            optim.Adafactor(lr=0.01, schedule=Constant()),
            optax.adafactor(0.01, multiply_by_parameter_scale=False, clipping_threshold=1.0),
        ),
        (
            optim.Custom(transformation=optax.sgd(0.05), schedule=Constant(), weight_decay=0.1),
            optax.chain(optax.sgd(0.05), optax.add_decayed_weights(-0.1, mask=MASK)),
        ),
        (optim.NAdamW(lr=0.05, schedule=Constant(), weight_decay=0.1), optax.nadamw(0.05, weight_decay=0.1, mask=MASK)),
        (optim.RAdam(lr=0.05, schedule=Constant()), optax.radam(0.05)),
        (optim.AdaBelief(lr=0.05, schedule=Constant()), optax.adabelief(0.05)),
        (optim.RMSProp(lr=0.05, schedule=Constant(), momentum=0.5), optax.rmsprop(0.05, momentum=0.5)),
        (optim.Adagrad(lr=0.05, schedule=Constant()), optax.adagrad(0.05)),
        (optim.Prodigy(schedule=Constant(), initial_estimate=1e-2), optax.contrib.prodigy(estim_lr0=1e-2)),
        (
            optim.Prodigy(schedule=Constant(), initial_estimate=1e-2, groups=EVERYWHERE),
            optax.contrib.prodigy(estim_lr0=1e-2, weight_decay=0.1),
        ),
        (
            optim.Prodigy(schedule=Constant(warmup_steps=4.0), initial_estimate=1e-2),
            optax.contrib.prodigy(
                lambda step: jnp.minimum((step + 1) / 5, 1.0), estim_lr0=1e-2, safeguard_warmup=True
            ),
        ),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_the_numbers_are_optaxs(config, reference):
    expected = descend_by(from_optax(reference), STEPS)  # in the same loop: RAdam's threshold is a matter of rounding
    for a, b in zip(jax.tree.leaves(descend(config, STEPS)), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "config, reference",
    [
        (
            optim.NovoGrad(lr=0.05, schedule=Constant(), groups=EVERYWHERE),
            optax.novograd(0.05, b1=0.95, b2=0.98, eps=1e-8, weight_decay=0.1),
        ),
        (optim.Lamb(lr=0.01, schedule=Constant(), groups=EVERYWHERE), optax.lamb(0.01, weight_decay=0.1)),
    ],
    ids=["NovoGrad", "Lamb"],
)
def test_each_layer_of_a_stack_has_a_norm_of_its_own(config, reference):
    def layers(tree):
        return tree["dense"], list(tree["blocks"]["kernel"])

    expected = layers(start())
    state = reference.init(expected)
    for _ in range(STEPS):
        gradients = jax.tree.map(lambda a, b: 2 * (a - b), expected, layers(TARGET))
        updates, state = reference.update(gradients, state, expected)
        expected = optax.apply_updates(expected, updates)
    for a, b in zip(jax.tree.leaves(layers(descend(config, STEPS))), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_prodigy_finds_a_rate_from_far_below_and_owns_what_it_keeps():
    config = optim.Prodigy(schedule=Constant())
    assert loss(descend(config, 200)) < 0.01 * loss(start())
    params = start()
    kept = jax.tree.leaves(optimizer(config, total_steps=1).init(params))
    assert not {id(leaf) for leaf in kept} & {id(leaf) for leaf in jax.tree.leaves(params)}


def test_schedule_free_is_tested_at_its_average():
    config = optim.ScheduleFreeAdamW(lr=0.1, schedule=Constant(), clip_norm=10.0)
    made = optimizer(config, total_steps=5)
    params, state = start(), made.init(start())
    for _ in range(5):
        updates, state = made.update(jax.grad(loss)(params), state, params)
        params = optax.apply_updates(params, updates)
    tested = made.evaluation_params(params, state, None)
    assert not np.allclose(tested["dense"]["kernel"], params["dense"]["kernel"])


def test_schedule_free_is_optaxs_and_its_groups_move_what_is_tested():
    reference = optax.contrib.schedule_free_adamw(0.1, b2=0.999, weight_decay=0.0)
    config = optim.ScheduleFreeAdamW(lr=0.1, schedule=Constant(), weight_decay=None)
    expected, state = start(), reference.init(start())
    for _ in range(5):
        updates, state = reference.update(jax.grad(loss)(expected), state, expected)
        expected = optax.apply_updates(expected, updates)
    expected = optax.contrib.schedule_free_eval_params(state, expected)
    for a, b in zip(jax.tree.leaves(descend(config, 5)), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    still = optim.ScheduleFreeAdamW(lr=0.1, schedule=Constant(), groups=(Group(pattern="bias", lr_multiple=0.0),))
    np.testing.assert_allclose(descend(still, 5)["dense"]["bias"], start()["dense"]["bias"], rtol=1e-6)


def test_muon_is_optaxs_for_matrices():
    """optax scales by √max(1, rows / columns) of its (in, out) kernels with the shape transposed; here out / in."""
    config = optim.Muon(lr=0.05, schedule=Constant(), weight_decay=None)
    params = {"kernel": jax.random.normal(jax.random.key(0), (6, 6))}
    reference = optax.contrib.muon(0.05, ns_steps=5, nesterov=True, beta=0.95)
    made, gradients = optimizer(config, total_steps=1), {"kernel": jax.random.normal(jax.random.key(1), (6, 6))}
    ours, _ = made.update(gradients, made.init(params), params)
    theirs, _ = reference.update(gradients, reference.init(params), params)
    np.testing.assert_allclose(ours["kernel"], theirs["kernel"], rtol=2e-3, atol=2e-4)


def test_muon_treats_each_layer_of_a_stack_on_its_own():
    config = optim.Muon(lr=0.1, schedule=Constant(), weight_decay=None)
    made = optimizer(config, total_steps=1)
    gradients = {"blocks": {"kernel": jax.random.normal(jax.random.key(0), (2, 4, 6))}}
    updates, _ = made.update(gradients, made.init(gradients), gradients)
    for layer in updates["blocks"]["kernel"]:
        values = np.linalg.svd(layer / -0.1 / (6 / 4) ** 0.5, compute_uv=False)
        assert values.min() > 0.6 and values.max() < 1.3  # Newton–Schulz leaves singular values near 1


def test_groups_scale_freeze_and_decay():
    groups = (Group(pattern="bias", lr_multiple=0.0), Group(pattern="blocks", frozen=True))
    made = optimizer(AdamW(lr=0.1, schedule=Constant(), groups=groups), total_steps=5)
    assert made.trainable(TARGET) == {"dense": {"kernel": True, "bias": True}, "blocks": {"kernel": False}}
    updates, _ = made.update(jax.grad(loss)(start()), made.init(start()), start())
    assert np.all(updates["dense"]["bias"] == 0) and np.all(updates["dense"]["kernel"] != 0)
    decayed = optimizer(
        AdamW(lr=0.1, schedule=Constant(), groups=(Group(pattern="bias", weight_decay=1.0),)), total_steps=5
    )
    zero = jax.tree.map(jnp.zeros_like, start())
    updates, _ = decayed.update(zero, decayed.init(start()), start())
    np.testing.assert_allclose(updates["dense"]["bias"], -0.1 * start()["dense"]["bias"], rtol=1e-6)
    np.testing.assert_allclose(updates["dense"]["kernel"], -0.001 * start()["dense"]["kernel"], rtol=1e-6)
    with pytest.raises(ConfigError, match="fits no leaf"):
        optim.check_groups(AdamW(groups=(Group(pattern="nowhere"),)), TARGET)
    with pytest.raises(ConfigError, match="leave nothing to train"):
        optim.check_groups(AdamW(groups=(Group(pattern=".", frozen=True),)), TARGET)
    with pytest.raises(ConfigError, match="no regular expression"):
        optim.check_groups(AdamW(groups=(Group(pattern="("),)), TARGET)


def test_ema_follows_the_closed_form():
    made = optimizer(AdamW(ema_decay=0.5), total_steps=5)
    average, expected = {"w": jnp.zeros(1)}, 0.0
    for step in range(4):
        average = made.average(average, {"w": jnp.full(1, step + 1.0)}, jnp.asarray(step))
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * (step + 1)
    np.testing.assert_allclose(average["w"], expected, rtol=1e-6)
    assert made.evaluation_params("params", None, "average") == "average"


def test_sam_is_a_shared_number_of_every_optimizer():
    gradients = {"a": jnp.asarray([3.0]), "b": jnp.asarray([[4.0]])}
    params = jax.tree.map(jnp.zeros_like, gradients)
    for config in ALL.values():
        made = jax.jit(
            lambda rho, config=config: optimizer(
                type(config)(**{**vars(config), "sam_rho": rho}), total_steps=1
            ).perturb(params, gradients)
        )
        np.testing.assert_allclose(made(0.5)["a"], [0.3], rtol=1e-6)
        np.testing.assert_allclose(made(0.5)["b"], [[0.4]], rtol=1e-6)
    assert optimizer(AdamW(), total_steps=1).perturb is None


def test_from_optax_is_the_transformation():
    made = from_optax(optax.sgd(0.5))
    updates, _ = made.update({"w": jnp.ones(1)}, made.init({"w": jnp.ones(1)}), {"w": jnp.ones(1)})
    assert float(updates["w"][0]) == -0.5


@pytest.mark.parametrize(
    "schedule", [Linear(warmup_steps=10.0), Cosine(warmup_steps=10.0), OneCycle(), WSD(warmup_steps=10.0)]
)
def test_schedules_rise_to_one_and_end_at_zero(schedule):
    values = [float(multiplier(schedule, step, total_steps=100)) for step in range(101)]
    assert max(values) == pytest.approx(1.0, abs=0.02) and values[-1] == pytest.approx(0.0, abs=1e-6)
    assert values[0] < 0.2 and min(values) >= 0


def test_schedules_are_optaxs_where_optax_has_them():
    cosine = optax.cosine_decay_schedule(1.0, 100, alpha=0.1)
    linear = optax.linear_schedule(1.0, 0.1, 100)
    for step in (0, 1, 50, 99, 100):
        assert multiplier(Cosine(end=0.1), step, total_steps=100) == pytest.approx(float(cosine(step)), abs=1e-6)
        assert multiplier(Linear(end=0.1), step, total_steps=100) == pytest.approx(float(linear(step)), abs=1e-6)
    assert multiplier(Rsqrt(warmup_steps=4.0), 16, total_steps=100) == pytest.approx(0.5)


def test_warmup_may_be_traced():
    value = jax.jit(lambda warmup: multiplier(Cosine(warmup_steps=warmup), 4, total_steps=100))
    assert float(value(9.0)) == pytest.approx(0.5, abs=1e-6)
