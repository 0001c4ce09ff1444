"""What the neighbours of an example say: near-duplicates across splits, and labels that all of them contradict."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from jaxnets.data import Schema
from jaxnets.inspection.finding import Finding, named, pairs, shares, spread
from jaxnets.inspection.view import View

_SIDE = 12  # pixels that images are made smaller to
_TRAIN, _HELD = 20_000, 2000  # examples that are compared
_NEAR = 0.05  # of the usual distance to the nearest neighbour
_AXES, _FINE = 3, 0.25  # so many columns must be fine, different in so many rows: else such a distance is a chance
_FOLDS, _NEIGHBOURS = 5, 20
_LABELLED = 3000  # examples whose labels are looked at
_UNLIKELY, _SURE = 0.1, 0.8  # share of the neighbours with the label that is given, and with the other one
_TYPICAL = 0.25  # quantile: a linear model is as sure of the other class as of a common example of that class
_CHANCE, _CHANCE_ROWS = 0.005, 4  # share and number of labels that are contradicted in clean data as well, below it
_ONE_HOT = 50  # values of a category that get a column


def matrix(schema: Schema, inputs: Any) -> np.ndarray | None:
    """(n d) float64 of inputs in memory, of deviation about 1, in which near means alike; None where there is none."""
    if schema.input_kind == "table":
        parts = [np.asarray(inputs[name], np.float64) for name in ("numbers", "flags") if name in inputs]
        codes = inputs["categories"] if "categories" in inputs else np.zeros((len(parts[0]), 0), np.int32)
        for column, size in zip(codes.T, schema.cardinalities, strict=True):
            parts.append((column[:, None] == np.arange(min(size, _ONE_HOT))).astype(np.float64))
        return np.concatenate(parts, axis=1)
    if schema.input_kind == "image":
        return _pooled(np.asarray(inputs))
    if schema.input_kind == "row":
        x = np.asarray(inputs, np.float64).reshape(len(inputs), -1)
        return (x - x.mean(axis=0)) / (x.std(axis=0) + 1e-12)
    return None


def _pooled(images: np.ndarray) -> np.ndarray:
    """Grey, of at most `_SIDE` pixels a side, each picture of mean 0 and deviation 1, flat."""
    grey = images.astype(np.float64).mean(axis=-1)
    for axis in (1, 2):
        size = grey.shape[axis]
        edges = np.linspace(0, size, min(size, _SIDE) + 1).astype(int)[:-1]
        grey = np.add.reduceat(grey, edges, axis=axis) / np.diff([*edges, size]).reshape(-1, *(1,) * (2 - axis))
    flat = grey.reshape(len(grey), -1)
    return (flat - flat.mean(axis=1, keepdims=True)) / (flat.std(axis=1, keepdims=True) + 1e-6)


def _some(view: View, name: str, most: int) -> np.ndarray:
    return view.ids[name][spread(len(view.ids[name]), most)]


def _inputs(view: View, name: str, ids: np.ndarray) -> Any:
    inputs = view.split(name).arrays["inputs"]
    return {part: array[ids] for part, array in inputs.items()} if isinstance(inputs, dict) else inputs[ids]


def near_duplicates(view: View) -> list[Finding]:
    """Examples of the test split that lie next to one of the train split, much nearer than examples lie elsewhere."""
    if not {"train", "test"} <= set(view.keys) or min(map(len, view.keys.values())) < 20:
        return []
    from sklearn.neighbors import NearestNeighbors

    train, test = _some(view, "train", _TRAIN), _some(view, "test", _HELD)
    x = matrix(view.schema, _joined(_inputs(view, "train", train), _inputs(view, "test", test)))
    if x is None or sum(len(np.unique(column)) > _FINE * len(x) for column in x.T) < _AXES:
        return []
    nearest: Any = NearestNeighbors(n_neighbors=1).fit(x[: len(train)]).kneighbors(x[len(train) :])
    distances, places = (found[:, 0] for found in nearest)
    near = np.flatnonzero((distances < _NEAR * np.median(distances)) & ~_equal(view, train[places], test))
    if not len(near):
        return []
    rows = pairs(view.split("test"), test[near], view.split("train"), train[places[near]])
    words = (
        f"{shares(len(near), len(test))} examples of the test split are all but equal to one of the train split; "
        "if they are copies, keep both on one side"
    )
    return [Finding("near-duplicates", "warning", words, len(near), rows)]


def _joined(first: Any, second: Any) -> Any:
    if isinstance(first, dict):
        return {name: np.concatenate([first[name], second[name]]) for name in first}
    return np.concatenate([first, second])


def _equal(view: View, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Which pairs are the very same, which `leaked` tells."""
    keys = {name: dict(zip(view.ids[name].tolist(), view.keys[name].tolist(), strict=True)) for name in view.keys}
    same = [keys["train"][a] == keys["test"][b] for a, b in zip(train.tolist(), test.tolist(), strict=True)]
    return np.asarray(same, bool)


def label_noise(view: View) -> list[Finding]:
    """Training examples whose class both their neighbours and a linear model contradict, each asked without them."""
    targets = view.targets("train")
    if view.schema.target_kind != "class" or targets is None or "train" not in view.keys:
        return []
    chosen = spread(len(targets), _LABELLED)
    y, ids = targets[chosen], view.ids["train"][chosen]
    kept = np.isin(y, np.flatnonzero(np.bincount(y) >= 2 * _FOLDS))
    y, ids = y[kept], ids[kept]
    x = matrix(view.schema, _inputs(view, "train", ids)) if len(np.unique(y)) > 1 else None
    if x is None:
        return []
    kinds, y = np.unique(y, return_inverse=True)
    odd, likelier = _contradicted(x, y)
    if len(odd) < max(_CHANCE_ROWS, _CHANCE * len(y)):
        return []
    classes = view.schema.classes
    rows = tuple(
        f"{where}: {classes[kinds[y[i]]]}, perhaps {classes[kinds[likelier[i]]]}"
        for where, i in zip(named(view.split("train"), ids[odd]), odd, strict=False)
    )
    words = f"{shares(len(odd), len(y))} labels of the train split are perhaps wrong; look at them"
    return [Finding("label noise", "warning", words, len(odd), rows)]


def _contradicted(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(those whose label is contradicted, (n,) the likelier class)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.neighbors import KNeighborsClassifier

    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    found: list[Any] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a linear model has not converged is no matter here
        for judge in (KNeighborsClassifier(min(_NEIGHBOURS, len(y) // 4)), LogisticRegression(C=0.1, max_iter=50)):
            found.append(cross_val_predict(judge, x, y, cv=folds, method="predict_proba"))
    near, linear = found
    likelier = near.argmax(axis=1)
    rows = np.arange(len(y))
    sure = np.array([np.quantile(linear[y == kind, kind], _TYPICAL) for kind in range(near.shape[1])])
    agree = (likelier == linear.argmax(axis=1)) & (linear[rows, likelier] >= sure[likelier])
    unlikely = (near[rows, likelier] >= _SURE) & (near[rows, y] <= _UNLIKELY)
    return np.flatnonzero(agree & unlikely & (likelier != y)), likelier
