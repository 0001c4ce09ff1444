"""Which dimensions matter: functional analysis of variance (fANOVA) over a forest of regression trees.

Hutter, Hoos and Leyton-Brown, "An efficient approach for assessing hyperparameter importance" (ICML 2014): a tree is
constant on boxes, so its mean over all but some of the dimensions is a sum over its leaves, exact and without
sampling. The share of its variance that the mean over all but one dimension has is the importance of that dimension;
what the mean over all but two has beyond both is that of their interaction. Departures: choices are numbers in the
order of their spelling, and each tree sees at most `_ROWS` trials and has at most `_LEAVES` leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_TREES, _ROWS, _LEAVES = 64, 2000, 256
GRID = 48  # places of a marginal
_INTERACTING = 6  # dimensions, whose pairs are looked at


class Marginal(NamedTuple):
    """The mean of the forest over all other dimensions, at the middles of `GRID` equal parts of one, and its trees'
    deviation; of two dimensions (first, second)."""

    mean: np.ndarray
    deviation: np.ndarray


class Importance(NamedTuple):
    """What a forest says of a space.

    shares:    of the variance, (dimension)
    pairs:     {(dimension, dimension): the share of their interaction alone}, of the most important ones
    explained: R² on trials that a tree has not seen; the less, the less the rest can be trusted
    marginals: of each dimension; grids: of each pair
    """

    shares: np.ndarray
    pairs: dict[tuple[int, int], float]
    explained: float
    marginals: list[Marginal]
    grids: dict[tuple[int, int], Marginal]


class _Leaves(NamedTuple):
    """The boxes of one tree: low, high (leaf, dimension), value and volume (leaf)."""

    low: np.ndarray
    high: np.ndarray
    value: np.ndarray
    volume: np.ndarray


def importance(places: np.ndarray, losses: np.ndarray, *, seed: int = 0) -> Importance:
    """From places (trial, dimension) in [0, 1], NaN where a dimension is not asked, and losses (trial).

    A dimension that a trial has no value of gets any: the trial would be the same.

    >>> at = np.random.default_rng(0).random((200, 2))
    >>> importance(at, at[:, 0] ** 2).shares.round(1).tolist()
    [1.0, 0.0]
    """
    from sklearn.ensemble import RandomForestRegressor

    any_place = np.random.default_rng(seed).random(places.shape)
    places = np.where(np.isfinite(places), np.clip(places, 0.0, 1.0), any_place)
    rows = min(_ROWS, len(losses))
    forest = RandomForestRegressor(
        _TREES, min_samples_leaf=1, max_leaf_nodes=_LEAVES, max_samples=rows, oob_score=True, random_state=seed
    )
    forest.fit(places, losses)
    trees = [_leaves(tree.tree_, places.shape[1]) for tree in forest.estimators_]
    means = np.array([float(tree.value @ tree.volume) for tree in trees])
    totals = np.array([float(tree.value**2 @ tree.volume) for tree in trees]) - means**2
    safe = np.where(totals > 0, totals, np.inf)
    alone = np.empty((len(trees), places.shape[1]))
    marginals = []
    for dimension in range(places.shape[1]):
        alone[:, dimension], marginal = _of(trees, (dimension,), means)
        marginals.append(marginal)
    shares = (alone / safe[:, None]).mean(axis=0)
    first = sorted(np.argsort(-shares, kind="stable")[:_INTERACTING].tolist())
    pairs, grids = {}, {}
    for pair in [(a, b) for a in first for b in first if a < b]:
        both, grids[pair] = _of(trees, pair, means)
        pairs[pair] = float(((both - alone[:, pair[0]] - alone[:, pair[1]]) / safe).mean().clip(0.0))
    return Importance(shares, pairs, float(forest.oob_score_), marginals, grids)


def _leaves(tree, dimensions: int) -> _Leaves:  # noqa: ANN001 (a tree of scikit-learn)
    low, high = np.zeros((tree.node_count, dimensions)), np.ones((tree.node_count, dimensions))
    for node in range(tree.node_count):  # a child comes after its parent
        left, right, asked = tree.children_left[node], tree.children_right[node], tree.feature[node]
        if left < 0:
            continue
        low[left] = low[right] = low[node]
        high[left] = high[right] = high[node]
        high[left, asked] = low[right, asked] = tree.threshold[node]
    ends = np.flatnonzero(tree.children_left < 0)
    low, high = low[ends], high[ends]
    return _Leaves(low, high, tree.value[ends, 0, 0], (high - low).prod(axis=1))


def _of(trees: Sequence[_Leaves], dimensions: tuple[int, ...], means: np.ndarray) -> tuple[np.ndarray, Marginal]:
    """(variance of the mean over all other dimensions, of each tree; the marginal on the grid)."""
    middles = (np.arange(GRID) + 0.5) / GRID
    variances, drawn = [], []
    for tree, mean in zip(trees, means, strict=True):
        edges = [np.unique([0.0, 1.0, *tree.low[:, d], *tree.high[:, d]]) for d in dimensions]
        table = _marginal(tree, dimensions, edges)
        weights = np.diff(edges[0]) if len(edges) == 1 else np.outer(*map(np.diff, edges))
        variances.append(float((table**2 * weights).sum() - mean**2))
        at = [np.searchsorted(edge, middles, side="right") - 1 for edge in edges]
        drawn.append(table[np.ix_(*at)])
    return np.array(variances), Marginal(np.mean(drawn, axis=0), np.std(drawn, axis=0))


def _marginal(tree: _Leaves, dimensions: tuple[int, ...], edges: Sequence[np.ndarray]) -> np.ndarray:
    """The mean over the other dimensions on each cell between edges: sums of corners, added up along each axis."""
    sides = np.prod([tree.high[:, d] - tree.low[:, d] for d in dimensions], axis=0)
    weight = tree.value * tree.volume / sides
    ends = [
        (np.searchsorted(edge, tree.low[:, d]), np.searchsorted(edge, tree.high[:, d]))
        for edge, d in zip(edges, dimensions, strict=True)
    ]
    table = np.zeros([len(edge) for edge in edges])
    if len(edges) == 1:
        np.add.at(table, ends[0][0], weight)
        np.add.at(table, ends[0][1], -weight)
        return table.cumsum()[:-1]
    for first, sign in zip(ends[0], (1, -1), strict=True):
        for second, other in zip(ends[1], (1, -1), strict=True):
            np.add.at(table, (first, second), sign * other * weight)
    return table.cumsum(axis=0).cumsum(axis=1)[:-1, :-1]
