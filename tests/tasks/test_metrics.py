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
from jaxnets.tasks import classification

draw = np.random.default_rng(0)
ROWS, SIZE = 37, 16


def measured(task, outputs, targets, weight=None):
    """Every metric of the task, from batches of `SIZE` rows; the last one is filled up with row 0 at weight 0."""
    total, weight = None, np.ones(len(targets), "f4") if weight is None else weight
    for start in range(0, len(targets), SIZE):
        rows = np.arange(start, start + SIZE)
        real = rows < len(targets)
        rows = np.where(real, rows, 0)
        out = jax.tree.map(lambda leaf: jnp.asarray(leaf[rows]), outputs)
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
