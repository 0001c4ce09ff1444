"""Figures of whole data sets against scikit-learn: over uneven batches, the last padded with examples of weight 0."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax
from sklearn import metrics as reference

from jaxnets.metrics import gather
from jaxnets.step import results
from jaxnets.tasks import (
    autoencoding,
    classification,
    multi_label,
    ordinal,
    quantile_regression,
    regression,
    segmentation,
)

draw = np.random.default_rng(0)
ROWS, SIZE = 37, 16


def measured(task, outputs, targets, weight=None):
    """Every metric of the task, from batches of `SIZE` rows; the last one is filled up with row 0 at weight 0."""
    total, weight = None, np.ones(len(targets), "f4") if weight is None else weight
    for start in range(0, len(targets), SIZE):
        rows = np.arange(start, start + SIZE)
        real = rows < len(targets)
        rows = np.where(real, rows, 0)
        out = jax.tree.map(lambda leaf, rows=rows: jnp.asarray(leaf[rows]), outputs)
        mass = jnp.asarray(np.where(real, weight[rows], 0), jnp.float32)
        batch = {"inputs": out, "targets": jnp.asarray(targets[rows]), "weight": mass}
        _, prepared, weights = task.prepare(batch, train=False, key=None)
        found = {name: metric.update(out, prepared, weights) for name, metric in task.metrics.items()}
        total = gather(task.metrics, total, jax.device_get(found))
    return results(task, total)


def each_against_the_rest(score, labels, logits, weight):
    """The macro mean; two classes are one question."""
    if logits.shape[1] == 2:
        return score(labels == 1, logits[:, 1] - logits[:, 0], sample_weight=weight)
    probabilities = softmax(logits.astype("f8"), axis=1)
    return np.mean([score(labels == k, probabilities[:, k], sample_weight=weight) for k in np.unique(labels)])


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("weighted", [False, True])
def test_classification(classes, weighted):
    """One class of five is never true, and some scores are equal."""
    logits = np.round(draw.normal(size=(ROWS, classes)), 1).astype("f4")
    labels = draw.integers(0, min(classes, 4), ROWS)
    weight = (draw.uniform(0.2, 1, ROWS) * (draw.uniform(size=ROWS) > 0.2)).astype("f4") if weighted else None
    found = measured(classification(classes), logits, labels, weight)
    guess, how = logits.argmax(1), {"sample_weight": weight}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a class that is found and never true
        expected = {
            "accuracy": reference.accuracy_score(labels, guess, **how),
            "balanced_accuracy": reference.balanced_accuracy_score(labels, guess, **how),
            "f1": reference.f1_score(labels, guess, average="macro", **how),
            "nll": reference.log_loss(labels, softmax(logits.astype("f8"), axis=1), labels=range(classes), **how),
            "roc_auc": each_against_the_rest(reference.roc_auc_score, labels, logits, weight),
            "pr_auc": each_against_the_rest(reference.average_precision_score, labels, logits, weight),
        }
    assert found == pytest.approx(expected, abs=1e-6)


def real_targets(columns):
    mean, std = tuple(np.arange(columns) * 10.0), tuple(np.arange(columns) + 2.0)
    return mean, std, (draw.normal(size=(ROWS, columns)) * std + mean).astype("f4")


@pytest.mark.parametrize("columns", [1, 3])
def test_regression(columns):
    mean, std, targets = real_targets(columns)
    outputs = draw.normal(size=(ROWS, columns)).astype("f4")
    weight = draw.uniform(0.5, 1, size=ROWS).astype("f4")
    value = outputs.astype("f8") * std + mean
    squares = reference.mean_squared_error(targets, value, sample_weight=weight, multioutput="raw_values")
    expected = {
        "rmse": np.sqrt(squares).mean(),
        "mae": reference.mean_absolute_error(targets, value, sample_weight=weight),
        "r2": reference.r2_score(targets, value, sample_weight=weight),
    }
    assert measured(regression(mean, std), outputs, targets, weight) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_quantile_regression():
    """The levels are those at which the crps is that of a distribution of n equally likely values, in closed form."""
    mean, std, targets = real_targets(2)
    levels = (0.125, 0.375, 0.625, 0.875)
    outputs = draw.normal(size=(ROWS, 8)).astype("f4")  # most of them cross
    value = np.sort(outputs.reshape(ROWS, 2, 4).astype("f8"), axis=2) * np.array(std)[:, None] + np.array(mean)[:, None]
    losses = [
        reference.mean_pinball_loss(targets, value[..., i], alpha=level, multioutput="raw_values")
        for i, level in enumerate(levels)
    ]
    apart = np.abs(value - targets[..., None]).mean(axis=2)
    spread = np.abs(value[..., None] - value[..., None, :]).mean(axis=(2, 3))
    expected = {
        "pinball": np.mean(losses),
        "crps": (apart - spread / 2).mean(),
        "mae": reference.mean_absolute_error(targets, value[..., 1]),
        "coverage": ((value[..., 0] <= targets) & (targets <= value[..., 3])).mean(),
    }
    task = quantile_regression(mean, std, quantiles=levels)
    assert measured(task, outputs, targets) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    found = task.predict(jnp.asarray(outputs))
    np.testing.assert_allclose(found["q0.125"], value[..., 0], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(found["value"], found["q0.375"])
    losses, _ = quantile_regression(mean, std, quantiles=(0.5,)).loss(jnp.ones((2, 2)), jnp.zeros((2, 2)), jnp.ones(2))
    np.testing.assert_allclose(losses, 0.5)


def test_multi_label():
    logits = np.round(draw.normal(size=(ROWS, 4)), 1).astype("f4")
    labels = (draw.uniform(size=(ROWS, 4)) < 0.4).astype("f4")
    labels[:, 3] = 0  # a label that none has: it has no rank
    guess, probabilities = logits > 0, 1 / (1 + np.exp(-logits.astype("f8")))
    weight = draw.uniform(0.5, 1, size=ROWS).astype("f4")
    how = {"sample_weight": weight}
    each = -np.where(labels > 0, np.log(probabilities), np.log1p(-probabilities)).mean(axis=1)
    expected = {
        "accuracy": 1 - reference.hamming_loss(labels, guess, **how),
        "exact": reference.accuracy_score(labels, guess, **how),
        "nll": np.average(each, weights=weight),
        "f1": reference.f1_score(labels, guess, average="macro", **how),
        "roc_auc": reference.roc_auc_score(labels[:, :3], logits[:, :3], **how),
        "pr_auc": reference.average_precision_score(labels[:, :3], logits[:, :3], **how),
    }
    task = multi_label(positive_weight=3.0)
    assert measured(task, logits, labels, weight) == pytest.approx(expected, abs=1e-6)
    losses, _ = task.loss(jnp.asarray(logits), jnp.asarray(labels), jnp.ones(ROWS))
    weighted = -np.where(labels > 0, 3 * np.log(probabilities), np.log1p(-probabilities)).mean(axis=1)
    np.testing.assert_allclose(losses, weighted, rtol=1e-5)


def test_ordinal():
    outputs, labels = draw.normal(size=(ROWS, 4)).astype("f4"), draw.integers(0, 5, ROWS)
    weight = draw.uniform(0.5, 1, size=ROWS).astype("f4")
    wide = outputs.astype("f8")
    above = wide[:, :1] - np.concatenate([np.zeros((ROWS, 1)), np.cumsum(np.logaddexp(0, wide[:, 1:]), axis=1)], axis=1)
    passed = np.pad(1 / (1 + np.exp(-above)), ((0, 0), (1, 1)), constant_values=((0, 0), (1, 0)))
    probabilities, guess = passed[:, :-1] - passed[:, 1:], (above > 0).sum(axis=1)
    how = {"sample_weight": weight}
    expected = {
        "accuracy": reference.accuracy_score(labels, guess, **how),
        "nll": reference.log_loss(labels, probabilities, labels=range(5), **how),
        "balanced_accuracy": reference.balanced_accuracy_score(labels, guess, **how),
        "mae": reference.mean_absolute_error(labels, guess, **how),
        "kappa": reference.cohen_kappa_score(labels, guess, weights="quadratic", **how),
    }
    task = ordinal(5)
    assert measured(task, outputs, labels, weight) == pytest.approx(expected, abs=1e-6)
    found = task.predict(jnp.asarray(outputs))
    np.testing.assert_allclose(found["probabilities"], probabilities, atol=1e-6)
    np.testing.assert_array_equal(found["class"], guess)
    far = jnp.asarray([[80.0, -80.0, -80.0, -80.0]])  # the class 1 has the probability exp(-160)
    assert float(task.loss(far, jnp.asarray([1]), jnp.ones(1))[0][0]) == pytest.approx(160, rel=1e-5)


def test_segmentation():
    logits, masks = draw.normal(size=(ROWS, 3, 4, 5)).astype("f4"), draw.integers(0, 4, (ROWS, 3, 4))
    masks[:, 0, 1] = 255
    known, guess = masks != 255, logits.argmax(3)
    true, found = masks[known], guess[known]
    expected = {
        "accuracy": reference.accuracy_score(true, found),
        "nll": reference.log_loss(true, softmax(logits[known].astype("f8"), axis=1), labels=range(5)),
        "miou": reference.jaccard_score(true, found, average="macro"),
    }
    task = segmentation(5)
    assert measured(task, logits, masks) == pytest.approx(expected, abs=1e-6)
    kept = task.kept(jnp.asarray(logits), jnp.asarray(masks), jnp.asarray(known, jnp.float32))
    np.testing.assert_array_equal(kept["hits"].sum(axis=0), np.bincount(true[true == found], minlength=5))
    np.testing.assert_array_equal(kept["true"][0], np.bincount(masks[0][known[0]], minlength=5))


def test_autoencoding():
    inputs = draw.normal(size=(ROWS, 6)).astype("f4")
    told = {"embedding": inputs[:, :2], "reconstruction": (inputs + draw.normal(size=inputs.shape)).astype("f4")}
    task = autoencoding(noise=0.5)
    weight = draw.uniform(0.5, 1, size=ROWS).astype("f4")
    total = None
    for rows in (slice(0, 20), slice(20, ROWS)):
        batch = {"inputs": jnp.asarray(inputs[rows]), "weight": jnp.asarray(weight[rows])}
        seen, targets, mass = task.prepare(batch, train=False, key=None)
        np.testing.assert_array_equal(seen, targets)
        out = jax.tree.map(lambda leaf, rows=rows: jnp.asarray(leaf[rows]), told)
        total = gather(task.metrics, total, {n: m.update(out, targets, mass) for n, m in task.metrics.items()})
    how = {"sample_weight": weight}
    expected = {
        "mse": reference.mean_squared_error(inputs, told["reconstruction"], **how),
        "mae": reference.mean_absolute_error(inputs, told["reconstruction"], **how),
        "r2": reference.r2_score(inputs, told["reconstruction"], multioutput="variance_weighted", **how),
    }
    assert results(task, total) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    noisy, clean, _ = task.prepare(batch, train=True, key=jax.random.key(0))
    assert 0.3 < float((noisy - clean).std()) < 0.7
