"""Contrastive learning of pairs: an image tells its text from the others of the batch, and a text its image.

Van den Oord et al., 2018; Radford et al., 2021. Symbols: u_i, v_i the embeddings, of length 1, of the image and the
text of pair i; s the scale, which is 1 / temperature:

    ½·(-log softmax_j(s·u_i·v_j)[i] - log softmax_j(s·v_i·u_j)[i])

The others of the batch are what a pair is told from, so a batch in parts has another loss: the task is joint.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.types import Array, Batch, Metric, PyTree, Task

_FAR = -1e9  # a logit that adds nothing to a softmax
_ROWS = 1024  # of the similarities that are in memory at once


def contrastive() -> Task:
    """Inputs are whatever the two towers take; outputs {"image": (b d), "text": (b d), "scale": (b,)}, no targets.

    Pairs of weight 0 are no one's wrong answer. Metrics over a whole data set, exact whatever the batches: the share of
    images whose own text is the nearest of all (image_to_text) and of texts whose image is (text_to_image).

    >>> pairs = {"image": jnp.eye(2), "text": jnp.eye(2), "scale": jnp.ones(2)}
    >>> losses, _ = contrastive().loss(pairs, None, jnp.ones(2))
    >>> round(float(losses[0]), 4), round(float(jnp.log1p(jnp.exp(-1.0))), 4)
    (0.3133, 0.3133)
    """

    def prepare(batch: Batch, /, *, train: bool, key: Array | None) -> tuple[PyTree, PyTree, PyTree]:
        return batch["inputs"], (), batch["weight"]

    def loss(outputs: PyTree, targets: PyTree, weight: PyTree, /) -> tuple[Array, Array]:
        image, text = normalized(outputs["image"]), normalized(outputs["text"])
        logits = outputs["scale"][:, None] * (image @ text.T)
        absent = jnp.where(weight > 0, 0.0, _FAR)[None]
        return (_own(logits + absent) + _own(logits.T + absent)) / 2, weight

    def predict(outputs: PyTree, /) -> dict[str, Array]:
        return {f"{name}_embedding": normalized(outputs[name]) for name in ("image", "text")}

    metrics = {
        "image_to_text": Metric(_pairs, lambda found: _nearest(found, "image", "text"), True, True),
        "text_to_image": Metric(_pairs, lambda found: _nearest(found, "text", "image"), True, True),
    }
    return Task(prepare, loss, metrics, predict, joint=True)


def normalized(x: Array) -> Array:
    """Rows (b d) at length 1; a row of zeros stays one, and so does its gradient."""
    return x * jax.lax.rsqrt(jnp.square(x).sum(axis=-1, keepdims=True) + 1e-12)


def _own(logits: Array) -> Array:
    return -jnp.diagonal(jax.nn.log_softmax(logits, axis=-1))


def _pairs(outputs: PyTree, targets: PyTree, weight: PyTree, /) -> PyTree:
    return {"image": normalized(outputs["image"]), "text": normalized(outputs["text"]), "weight": weight}


def _nearest(found: PyTree, asked: str, answers: str) -> float:
    """The share of rows to which none of the answers is nearer than their own."""
    there = np.asarray(found["weight"]) > 0
    weight = np.asarray(found["weight"], np.float64)[there]
    questions, known = (np.asarray(found[name], np.float64)[there] for name in (asked, answers))
    right = []
    for start in range(0, len(questions), _ROWS):
        near = questions[start : start + _ROWS] @ known.T
        own = near[np.arange(len(near)), start + np.arange(len(near))]
        right.append(near.max(axis=1) <= own)
    return float(np.average(np.concatenate(right), weights=weight)) if len(weight) else float("nan")
