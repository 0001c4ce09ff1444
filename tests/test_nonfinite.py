"""A loss that is not finite, under each policy and in both dispatch forms: one example of wine spoils its batch."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file
from small import experiment, log_of, loop

from jaxnets.config import Custom
from jaxnets.data import gather, load, order
from jaxnets.errors import NonFiniteError
from jaxnets.loop import better
from jaxnets.models import mlp
from jaxnets.optim import AdamW
from jaxnets.run import run
from jaxnets.step import larger_is_better
from jaxnets.tasks import classification, regression
from jaxnets.types import Model

FEATURE = 4  # its largest value in the train split is unique: the mark of the example that spoils a batch
BATCH = 16


@pytest.fixture(scope="module")
def marked():
    one = experiment()
    split = load(one.data).splits["train"]
    values = np.sort(split.arrays["inputs"][:, FEATURE])
    bad = int(split.arrays["inputs"][:, FEATURE].argmax())
    mean, std = split.arrays["inputs"][:, FEATURE].mean(), split.arrays["inputs"][:, FEATURE].std()
    limit = ((values[-1] + values[-2]) / 2 - mean) / std
    batches = [order(0, number, batch_size=BATCH, length=split.length) for number in range(60)]
    return split, bad, float(limit), [number for number, ids in enumerate(batches) if bad in ids]


def spoiled(limit, *, active=True):
    """An MLP with a state that counts its steps; NaN when it trains on the marked example."""
    inner = mlp(3, widths=(8,))

    def init(key, inputs):
        params, _ = inner.init(key, inputs)
        return params, {"steps": jnp.zeros(())}

    def apply(params, state, inputs, *, train=False, key=None, axis=None):
        outputs, _ = inner.apply(params, {}, inputs, train=train, key=key)
        if train:
            bad = (inputs[:, FEATURE] > limit).any() & active
            outputs, state = outputs + jnp.where(bad, jnp.nan, 0.0), {"steps": state["steps"] + 1}
        return outputs, state

    return Model(init, apply)


def spoiled_experiment(limit, policy, form):
    return experiment(
        model=Custom(model=spoiled(limit)),
        optim=AdamW(lr=1e-2, ema_decay=0.9),
        loop=loop(steps=20, nonfinite=policy, dispatch=form, log_every=5, save_every=5, eval_every=10),
    )


@pytest.mark.parametrize("form", ["bare", "block"])
def test_abort_names_the_step_the_leaf_and_the_examples(form, marked, tmp_path):
    _, bad, limit, numbers = marked
    with pytest.raises(NonFiniteError) as caught:
        run(spoiled_experiment(limit, "abort", form), tmp_path / "run")
    words = str(caught.value)
    assert f"step {numbers[0]} is not finite" in words and "first bad gradient" in words
    ids = order(0, numbers[0], batch_size=BATCH, length=marked[0].length)
    assert bad in ids
    assert f"example ids {', '.join(map(str, marked[0].row(ids[:8])))} and 8 more (rows of the source)" in words
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("form", ["bare", "block"])
def test_skip_is_no_update_and_the_data_moves_on(form, marked, tmp_path):
    split, _, limit, numbers = marked
    one = spoiled_experiment(limit, "skip", form)
    result = run(one, tmp_path / "run")
    skipped = [number for number in numbers if number < 20]
    assert result.figures["skipped_steps"] == len(skipped) > 0
    assert log_of(tmp_path / "run")[-2]["train"]["skipped"] == len(skipped)

    from jaxnets.build import build, experiment_step
    from jaxnets.data import Schema
    from jaxnets.step import init_state

    schema: Schema = load(one.data).schema

    def batch(number):
        ids = order(0, number, batch_size=BATCH, length=split.length)
        return gather(split.arrays, ids, window=None)

    state = jax.jit(lambda: init_state(*build(one, schema), key=jax.random.key(0), batch=batch(0)))()
    step = jax.jit(partial(experiment_step, schema=schema))
    for number in range(20):
        state = state._replace(step=state.step + 1) if number in skipped else step(state, batch(number), one)[0]
    weights = load_file(tmp_path / "run" / "weights.safetensors")
    expected = jax.tree.leaves((state.average, state.state))
    found = [weights[name] for name in sorted(weights)]
    best = result.figures["tested_step"]
    assert best == 20
    for a, b in zip(found, expected, strict=True):
        # Two programs, the run's and this one, differ in the last bits; within one the skip is exact (test_step).
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert float(state.state["steps"]) == 20 - len(skipped)


@pytest.mark.parametrize("form", ["bare", "block"])
def test_rollback_passes_over_the_bad_batches(form, marked, tmp_path):
    _, _, limit, numbers = marked
    result = run(spoiled_experiment(limit, "rollback", form), tmp_path / "run")
    passed = result.figures["passed_over_batches"]
    assert passed == numbers[: len(passed)] and len(passed) >= 1
    assert result.figures["steps"] == 20
    steps = [line["step"] for line in log_of(tmp_path / "run") if "train" in line]
    assert steps == [5, 10, 15, 20]  # no line twice


def test_rollback_gives_up_after_three(marked, tmp_path):
    one = spoiled_experiment(-1e9, "rollback", "bare")  # every batch is bad
    with pytest.raises(NonFiniteError, match="after 3 rollbacks"):
        run(one, tmp_path / "run")


def test_better_knows_the_direction():
    assert better(0.9, 0.8, larger=True) and not better(0.9, 0.8, larger=False)
    assert better(1.0, float("nan"), larger=False) and not better(float("nan"), 1.0, larger=True)


def test_the_metric_says_its_direction():
    task = classification(3)
    directions = {figure: larger_is_better(task, figure) for figure in ("accuracy", "nll", "loss")}
    assert directions == {"accuracy": True, "nll": False, "loss": False}
    real = regression((0.0,), (1.0,))
    assert larger_is_better(real, "r2") and not larger_is_better(real, "rmse")
