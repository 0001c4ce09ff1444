"""Losses and metrics against scikit-learn, scipy and closed forms; sums add over uneven batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn import metrics as reference

from jaxnets.metrics import add
from jaxnets.tasks import (
    CrossEntropy,
    GeneralizedCrossEntropy,
    SymmetricCrossEntropy,
    classification,
    language_modelling,
    regression,
)

draw = np.random.default_rng(0)


def measured(task, outputs, targets, weight, *, parts=(3, 5, 2)):
    """Every metric from sums over uneven parts."""
    found = {}
    for name, metric in task.metrics.items():
        if metric.collects:
            continue  # see test_metrics
        sums, start = None, 0
        for size in parts:
            rows = slice(start, start + size)
            sums, start = (
                add(sums, jax.device_get(metric.update(outputs[rows], targets[rows], weight[rows]))),
                start + size,
            )
        found[name] = metric.result(sums)
    return found


def test_classification_is_scikit_learns():
    logits, labels = draw.normal(size=(10, 4)).astype("f4"), draw.integers(0, 4, 10)
    weight = draw.uniform(size=10).astype("f4")
    found = measured(classification(4), jnp.asarray(logits), jnp.asarray(labels), jnp.asarray(weight))
    assert found["accuracy"] == pytest.approx(
        reference.accuracy_score(labels, logits.argmax(1), sample_weight=weight), abs=1e-6
    )
    probabilities = np.exp(log_softmax(logits.astype("f8"), axis=1))
    expected = reference.log_loss(labels, probabilities, sample_weight=weight, labels=range(4))
    assert found["nll"] == pytest.approx(expected, abs=1e-6)


def test_smoothing_weights_and_soft_labels():
    logits, labels = jnp.asarray(draw.normal(size=(6, 3)), jnp.float32), jnp.asarray([0, 1, 2, 0, 1, 2])
    task = classification(3, label_smoothing=0.3, class_weights=(1.0, 2.0, 0.0))
    losses, weights = task.loss(logits, labels, jnp.ones(6))
    target = 0.7 * np.eye(3)[np.asarray(labels)] + 0.1
    np.testing.assert_allclose(losses, -(target * log_softmax(logits, axis=1)).sum(1), rtol=1e-5)
    np.testing.assert_array_equal(weights, [1, 2, 0, 1, 2, 0])
    soft, _ = task.loss(logits, jax.nn.one_hot(labels, 3), jnp.ones(6))
    np.testing.assert_allclose(soft, losses, rtol=1e-6)
    assert task.predict(logits)["class"].tolist() == np.asarray(logits).argmax(1).tolist()


def generalized(probabilities, targets, q):
    return (targets * (1 - probabilities**q) / q).sum(1)


def symmetric(probabilities, targets, cross, reverse, least):
    logs = np.log(targets, out=np.full(targets.shape, -np.inf), where=targets > 0)
    backward = -(probabilities * np.maximum(logs, least)).sum(1)
    return cross * -(targets * np.log(probabilities)).sum(1) + reverse * backward


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (CrossEntropy(), lambda p, t: -(t * np.log(p)).sum(1)),
        (GeneralizedCrossEntropy(), lambda p, t: generalized(p, t, 0.7)),
        (GeneralizedCrossEntropy(q=1.0), lambda p, t: np.abs(p - t).sum(1) / 2),
        (GeneralizedCrossEntropy(q=1e-4), lambda p, t: generalized(p, t, 1e-4)),
        (SymmetricCrossEntropy(), lambda p, t: symmetric(p, t, 0.1, 1.0, -4.0)),
        (SymmetricCrossEntropy(cross_weight=0.0, reverse_weight=2.0), lambda p, t: 8.0 * (1 - (p * t).sum(1))),
    ],
    ids=lambda value: type(value).__name__,
)
def test_losses_are_their_closed_forms(loss, expected):
    logits, labels = draw.normal(size=(8, 5)) * 3, draw.integers(0, 5, 8)
    probabilities, targets = np.exp(log_softmax(logits, axis=1)), np.eye(5)[labels]
    value = jax.jit(lambda loss, t: classification(5, loss=loss).loss(jnp.asarray(logits, jnp.float32), t, jnp.ones(8)))
    np.testing.assert_allclose(value(loss, jnp.asarray(labels))[0], expected(probabilities, targets), rtol=1e-5)
    if loss in (GeneralizedCrossEntropy(q=1.0), SymmetricCrossEntropy(cross_weight=0.0, reverse_weight=2.0)):
        return  # these closed forms are of hard labels
    mixed = 0.7 * targets + 0.3 * targets[::-1]
    np.testing.assert_allclose(
        value(loss, jnp.asarray(mixed, jnp.float32))[0], expected(probabilities, mixed), rtol=1e-5
    )


def test_gradients_of_robust_losses_stay_finite_at_certain_and_wrong_outputs():
    logits = jnp.asarray([[200.0, -200.0], [-200.0, 200.0]])
    for loss in (GeneralizedCrossEntropy(), SymmetricCrossEntropy()):
        task = classification(2, loss=loss)
        gradient = jax.grad(lambda x, task=task: task.loss(x, jnp.zeros(2, jnp.int32), jnp.ones(2))[0].sum())(logits)
        assert np.isfinite(gradient).all()
    with pytest.raises(ValueError, match="CrossEntropy alone, not with SymmetricCrossEntropy"):
        classification(2, loss=SymmetricCrossEntropy(), label_smoothing=0.1)


@pytest.mark.parametrize(("columns", "transform"), [(1, None), (3, None), (2, "log")])
def test_regression_is_scikit_learns(columns, transform):
    mean, std = tuple(np.arange(columns) * 100.0 + 50.0), tuple(np.arange(columns) + 20.0)
    task = regression(mean, std, transform=transform)
    targets = draw.normal(size=(10, columns)) * std + mean
    targets = targets if transform is None else np.exp(draw.normal(size=(10, columns)) + 3.0)
    outputs = jnp.asarray(draw.normal(size=(10, columns)), jnp.float32)
    weight = draw.uniform(0.5, 1, size=10).astype("f4")
    batch = {"inputs": outputs, "targets": jnp.asarray(targets, jnp.float32), "weight": jnp.asarray(weight)}
    _, standard, _ = task.prepare(batch, train=False, key=None)
    value = np.asarray(task.predict(outputs)["value"])
    if transform == "log":  # moments of a log-normal distribution, and the loss of standardised logarithms
        variance = np.log1p((np.array(std) / mean) ** 2)
        log = lambda x: (np.log(x) - np.log(mean) + variance / 2) / np.sqrt(variance)  # noqa: E731
        np.testing.assert_allclose(standard, log(targets), rtol=1e-4, atol=1e-5)
        losses = task.loss(outputs, standard, batch["weight"])[0]
        np.testing.assert_allclose(losses, np.square(log(value) - log(targets)).mean(axis=1), rtol=1e-4)
    found = measured(task, outputs, standard, batch["weight"])
    raw = dict(sample_weight=weight, multioutput="raw_values")
    assert found["rmse"] == pytest.approx(np.sqrt(reference.mean_squared_error(targets, value, **raw)).mean(), rel=1e-5)
    assert found["mae"] == pytest.approx(reference.mean_absolute_error(targets, value, sample_weight=weight), rel=1e-5)
    assert found["r2"] == pytest.approx(reference.r2_score(targets, value, sample_weight=weight), rel=1e-5, abs=1e-5)


def test_language_modelling_shifts_masks_and_measures():
    tokens = draw.integers(0, 7, (10, 6))
    task = language_modelling(7)
    mask = np.ones((10, 6))
    mask[:, 4:] = 0
    batch = {"inputs": jnp.asarray(tokens), "weight": jnp.asarray([1.0] * 9 + [0.0]), "mask": jnp.asarray(mask)}
    inputs, targets, weight = task.prepare(batch, train=True, key=None)
    np.testing.assert_array_equal(inputs, tokens[:, :-1])
    np.testing.assert_array_equal(targets, tokens[:, 1:])
    logits = jnp.asarray(draw.normal(size=(10, 5, 7)), jnp.float32)
    found = measured(task, logits, targets, weight)
    each = -np.take_along_axis(log_softmax(logits, axis=2), tokens[:, 1:, None], 2)[:9, :3, 0]
    assert found["nll"] == pytest.approx(each.mean(), abs=1e-5)
    assert found["bits_per_byte"] == pytest.approx(each.mean() / np.log(2), abs=1e-5)
    assert found["perplexity"] == pytest.approx(np.exp(each.mean()), rel=1e-5)
