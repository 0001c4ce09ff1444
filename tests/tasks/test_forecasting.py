"""Forecasts against scikit-learn and closed forms, over uneven batches and targets that are not all given."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import mean_pinball_loss

from jaxnets.metrics import add
from jaxnets.tasks import forecasting

draw = np.random.default_rng(0)
NEAR = 3e-6  # float32 sums of some fifty numbers
SPREAD, NAIVE = np.array([[2.0, 30.0], [5.0, 7.0]]), np.array([[1.5, 20.0], [4.0, 0.0]])  # of two series, two targets


def windows(count=10):
    """(batch, given): 10 windows of 3 steps and 2 targets, some of which are missing."""
    values = (draw.normal(size=(count, 3, 2)) * 10).astype("f4")
    values[1, 2, 0] = values[4, :, 1] = np.nan
    weight = np.array([1.0] * (count - 1) + [0.0], "f4")
    batch = {"inputs": {"series": jnp.asarray(np.arange(count) % 2)}, "targets": jnp.asarray(values), "weight": weight}
    return batch, np.isfinite(values) & (weight[:, None, None] > 0)


def measured(task, outputs, batch, parts=(3, 5, 2)):
    """(every metric, mean loss) from sums over uneven parts."""
    whole, start = None, 0
    for size in parts:
        own = jax.tree.map(lambda leaf, rows=slice(start, start + size): leaf[rows], batch)
        _, targets, weight = task.prepare(own, train=False, key=None)
        said = outputs[start : start + size]
        sums = {name: metric.update(said, targets, weight) for name, metric in task.metrics.items()}
        losses, weights = task.loss(said, targets, weight)
        sums["loss"] = {"total": (losses * weights).sum(), "weight": weights.sum()}
        whole, start = add(whole, jax.device_get(sums)), start + size
    found = {name: metric.result(whole[name]) for name, metric in task.metrics.items()}
    return found | {"loss": float(whole["loss"]["total"]) / float(whole["loss"]["weight"])}


@pytest.mark.parametrize("loss", ["squared", "absolute", "huber"])
def test_errors_are_their_closed_forms(loss):
    batch, given = windows()
    outputs = (draw.normal(size=(10, 3, 2, 1)) * 10).astype("f4")
    found = measured(forecasting(SPREAD, NAIVE, loss=loss), jnp.asarray(outputs), batch)
    number = np.asarray(batch["inputs"]["series"])
    error = np.where(given, outputs[..., 0] - np.asarray(batch["targets"]), 0.0).astype("f8")
    assert found["mae"] == pytest.approx(np.abs(error[given]).mean(), rel=NEAR)
    assert found["rmse"] == pytest.approx(np.sqrt((error[given] ** 2).mean()), rel=NEAR)
    naive = np.broadcast_to(NAIVE[number][:, None], error.shape)
    counts = given & (naive > 0)  # a series that repeats itself has no scale
    assert found["mase"] == pytest.approx((np.abs(error[counts]) / naive[counts]).mean(), rel=NEAR)
    scaled = (error / SPREAD[number][:, None])[given]
    small = np.abs(scaled) <= 1
    forms = {"squared": scaled**2, "absolute": np.abs(scaled)}
    forms["huber"] = np.where(small, 0.5 * scaled**2, np.abs(scaled) - 0.5)
    assert found["loss"] == pytest.approx(forms[loss].mean(), rel=NEAR)


def test_quantiles_are_scikit_learns_and_are_read_in_order():
    batch, given = windows()
    levels = (0.1, 0.4, 0.9)
    outputs = (draw.normal(size=(10, 3, 2, 3)) * 10).astype("f4")
    task = forecasting(SPREAD, NAIVE, quantiles=levels)
    found = measured(task, jnp.asarray(outputs), batch)
    true = np.asarray(batch["targets"])[given]
    each = [mean_pinball_loss(true, outputs[..., i][given], alpha=level) for i, level in enumerate(levels)]
    assert found["crps"] == pytest.approx(2 * np.mean(each), rel=1e-5)
    inside = (true >= outputs.min(-1)[given]) & (true <= outputs.max(-1)[given])
    assert found["coverage"] == pytest.approx(inside.mean(), abs=1e-6)
    assert found["mae"] == pytest.approx(np.abs(true - outputs[..., 1][given]).mean(), rel=NEAR)  # 0.4 is the nearest
    said = task.predict(jnp.asarray(outputs))
    np.testing.assert_array_equal(said["forecast"], outputs[..., 1])
    np.testing.assert_array_equal(said["quantiles"], np.sort(outputs, axis=-1))
    with pytest.raises(ValueError, match="let them grow"):
        forecasting(SPREAD, NAIVE, quantiles=(0.5, 0.1))


def test_what_is_not_given_moves_nothing():
    batch, given = windows()
    task = forecasting(SPREAD, NAIVE)
    _, targets, weight = task.prepare(batch, train=True, key=None)

    def loss(outputs):
        losses, weights = task.loss(outputs, targets, weight)
        return (losses * weights).sum()

    gradient = jax.grad(loss)(jnp.ones((10, 3, 2, 1)))
    np.testing.assert_array_equal(np.asarray(gradient[..., 0]) != 0, given)
