"""Contrastive learning of pairs: an image tells its text from the others of the batch, and a text its image.

Van den Oord et al., 2018; Radford et al., 2021. Symbols: u_i, v_i the embeddings, of length 1, of the image and the
text of pair i; s the scale, which is 1 / temperature:

    ½·(-log softmax_j(s·u_i·v_j)[i] - log softmax_j(s·v_i·u_j)[i])

The others of the batch are what a pair is told from, so a batch in parts has another loss: the task is joint.
Departure: where the data says which pairs share an image or a text, those are not each other's wrong answers.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.tasks.mean import mean_metric
from jaxnets.types import Array, Batch, Metric, PyTree, Task, experiment_dataclass

_FAR = -1e9  # a logit that adds nothing to a softmax
_ROWS = 1024  # of the similarities that are in memory at once


@experiment_dataclass
class Contrastive:
    """Config of `contrastive`."""

    recall: tuple[int, ...] = (1, 5)  # how many of the nearest are looked at for the right one


def contrastive(*, recall: tuple[int, ...] = (1, 5)) -> Task:
    """Inputs are whatever the two towers take; outputs {"image": (b d), "text": (b d), "scale": (b,)}.

    Targets, where there are any, are (b 2) int32: equal numbers in a column are one image, or one text. Pairs of
    weight 0 are no one's wrong answer, and neither are those that share an image or a text with it.

    Metrics, for each k of `recall`: image_to_text_recall_k, the share of images for which fewer than k wrong texts are
    as near as the nearest right one, and text_to_image_recall_k. In evaluation they are over the whole data set, exact
    whatever the batches; training steps leave them out. accuracy, in which a pair is compared with those of its batch
    alone, is the mean of both directions; temperature is the model's. The loss is of a batch, too: by chance log(b).

    >>> pairs = {"image": jnp.eye(2), "text": jnp.eye(2), "scale": jnp.ones(2)}
    >>> losses, _ = contrastive().loss(pairs, (), jnp.ones(2))
    >>> round(float(losses[0]), 4), round(float(jnp.log1p(jnp.exp(-1.0))), 4)
    (0.3133, 0.3133)
    """

    def prepare(batch: Batch, /, *, train: bool, key: Array | None) -> tuple[PyTree, PyTree, PyTree]:
        return batch["inputs"], batch.get("targets", ()), batch["weight"]

    def loss(outputs: PyTree, targets: PyTree, weight: PyTree, /) -> tuple[Array, Array]:
        logits, absent = _logits(outputs, targets, weight)
        return (_own(logits + absent) + _own(logits.T + absent)) / 2, weight

    def kept(outputs: PyTree, targets: PyTree, weight: PyTree, /) -> dict[str, Array]:
        return predict(outputs)

    figures = {}
    for k in recall:
        figures[f"image_to_text_recall_{k}"] = Metric(_pairs, partial(_found, "image", "text", k), True, True)
        figures[f"text_to_image_recall_{k}"] = Metric(_pairs, partial(_found, "text", "image", k), True, True)
    figures["accuracy"] = Metric(_told, _share, True)
    figures["temperature"] = mean_metric(lambda outputs, targets: 1 / outputs["scale"])
    return Task(prepare, loss, figures, predict, kept, joint=True)


def predict(outputs: PyTree, /) -> dict[str, Array]:
    """The embeddings (b d), of length 1, and how alike the two of each pair are: their cosine (b,)."""
    image, text = normalized(outputs["image"]), normalized(outputs["text"])
    return {"image_embedding": image, "text_embedding": text, "similarity": (image * text).sum(axis=-1)}


def normalized(x: Array) -> Array:
    """Rows (b d) at length 1; a row of zeros stays one, and so does its gradient."""
    return x * jax.lax.rsqrt(jnp.square(x).sum(axis=-1, keepdims=True) + 1e-12)


def _logits(outputs: PyTree, targets: PyTree, weight: PyTree) -> tuple[Array, Array]:
    """(b b) of image i and text j, and what takes out those j that are no wrong answers to i, in either direction."""
    image, text = normalized(outputs["image"]), normalized(outputs["text"])
    logits = outputs["scale"][:, None] * (image @ text.T)
    there = jnp.broadcast_to((weight > 0)[None], logits.shape)
    return logits, jnp.where(there & ~_shared(targets, len(weight)), 0.0, _FAR)


def _shared(targets: PyTree, size: int) -> Array:
    """(b b) whether two pairs share an image or a text; none does with itself."""
    if not isinstance(targets, jax.Array | np.ndarray):
        return jnp.zeros((size, size), bool)
    same = (targets[:, None] == targets[None]).any(axis=-1)
    return same & ~jnp.eye(size, dtype=bool)


def _own(logits: Array) -> Array:
    return -jnp.diagonal(jax.nn.log_softmax(logits, axis=-1))


def _told(outputs: PyTree, targets: PyTree, weight: PyTree, /) -> PyTree:
    """How often the own one is the nearest of the batch, in both directions."""
    logits, absent = _logits(outputs, targets, weight)
    own, wrong = jnp.diagonal(logits), jnp.where(jnp.eye(len(weight), dtype=bool), _FAR, 0.0)
    right = sum((own > (x + wrong).max(axis=-1)).astype(jnp.float32) for x in (logits + absent, logits.T + absent))
    return {"total": jnp.sum(right / 2 * weight), "weight": jnp.sum(weight)}


def _share(sums: PyTree, /) -> float:
    return float(sums["total"]) / float(sums["weight"]) if float(sums["weight"]) else float("nan")


def _pairs(outputs: PyTree, targets: PyTree, weight: PyTree, /) -> PyTree:
    image, text = normalized(outputs["image"]), normalized(outputs["text"])
    same = {"same": targets} if isinstance(targets, jax.Array | np.ndarray) else {}
    return {"image": image, "text": text, "weight": weight} | same


def _found(asked: str, answers: str, k: int, found: PyTree, /) -> float:
    """The share of rows to which fewer than k wrong answers are as near as the nearest right one."""
    there = np.asarray(found["weight"]) > 0
    weight = np.asarray(found["weight"], np.float64)[there]
    if not len(weight):
        return float("nan")
    same = np.asarray(found["same"])[there] if "same" in found else np.arange(len(weight))[:, None]
    questions, known = (np.asarray(found[name], np.float64)[there] for name in (asked, answers))
    return float(np.average(wrong_ahead(questions, known, same) < k, weights=weight))


def wrong_ahead(questions: np.ndarray, answers: np.ndarray, same: np.ndarray) -> np.ndarray:
    """(n,) how many wrong answers (n d) are as near to each question (n d) as the nearest right one, or nearer.

    same: (n columns); equal numbers in any column make a question and an answer right for each other

    >>> wrong_ahead(np.eye(2), np.array([[1.0, 0.0], [1.0, 0.5]]), np.arange(2)[:, None]).tolist()
    [1, 0]
    """
    ahead = []
    for start in range(0, len(questions), _ROWS):
        rows = slice(start, start + _ROWS)
        near = questions[rows] @ answers.T
        right = (same[rows][:, None] == same[None]).any(axis=-1)
        best = np.where(right, near, -np.inf).max(axis=1, keepdims=True)
        ahead.append((~right & (near >= best)).sum(axis=1))
    return np.concatenate(ahead)
