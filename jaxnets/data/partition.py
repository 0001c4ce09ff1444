"""The rows of a source dealt out to train, valid and test: the source's own splits, random shares, or folds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from jaxnets.errors import ConfigError

if TYPE_CHECKING:
    from jaxnets.data.source import Data


def split_rows(
    config: Data, targets: np.ndarray, classes: tuple[str, ...], splits: Mapping[str, tuple[int, int]]
) -> dict[str, np.ndarray]:
    """Row numbers of each split: the source's own where it has them, random and stratified where it has not.

    targets: of each row; class numbers where there are `classes`
    splits:  {name: (first row, last row + 1)} where the source has splits of its own
    """
    own = {name: np.arange(start, stop) for name, (start, stop) in splits.items()}
    labels = targets if classes else None
    rest = own.pop("train", np.arange(len(targets)))
    if config.folds is not None:
        if "test" in splits:
            raise ConfigError(
                f"data.folds {config.folds}: {config.source} has a test split of its own, which stays the test split; "
                "leave data.folds out, or give one pool of rows, as in tfds:NAME:train"
            )
        own["test"], rest = _test_fold(config, config.folds, rest, labels, classes)
    for name, share, salt in (("test", config.test, 0), ("valid", config.valid, 1)):
        if name in own:
            continue
        whole = len(rest) if splits else len(targets)
        own[name], rest = _held_out(rest, round(share * whole), labels, seed=(config.split_seed, salt))
    return {"train": rest, "valid": own["valid"], "test": own["test"]}


def _held_out(
    rows: np.ndarray, count: int, labels: np.ndarray | None, *, seed: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """(`count` rows, the rest), sorted; with labels, each class gives its share, largest remainders first."""
    draw = np.random.Generator(np.random.Philox(list(seed)))
    if labels is None or count == 0:
        taken = draw.permutation(len(rows))[:count]
    else:
        own = labels[rows]
        kinds, sizes = np.unique(own, return_counts=True)
        exact = sizes * (count / len(rows))
        quota = np.floor(exact).astype(int)
        quota[np.argsort(-(exact - quota), kind="stable")[: count - quota.sum()]] += 1
        taken = np.concatenate(
            [draw.permutation(np.flatnonzero(own == k))[:q] for k, q in zip(kinds, quota, strict=True)]
        )
    mask = np.zeros(len(rows), bool)
    mask[taken] = True
    return rows[mask], rows[~mask]


def _test_fold(
    config: Data, folds: int, rows: np.ndarray, labels: np.ndarray | None, classes: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """(the rows of the test fold, the rest). Raises ConfigError if the source cannot be folded so often."""
    own = np.zeros(len(rows), np.int32) if labels is None else labels[rows]
    kinds, sizes = np.unique(own, return_counts=True)
    if folds > sizes.min():
        where = "of the source" if labels is None else f"of class {classes[kinds[sizes.argmin()]]}"
        raise ConfigError(
            f"data.folds {folds} are more than the {sizes.min()} rows {where}; give at most {sizes.min()}"
        )
    taken = folds_of(own, folds, seed=config.split_seed) == config.fold
    return rows[taken], rows[~taken]


def folds_of(labels: np.ndarray, folds: int, *, seed: int) -> np.ndarray:
    """The number of the fold (n,) that each row with these labels (n,) is in.

    Rows are shuffled inside their class and dealt out one after the other, class after class, so that both the folds
    and each class inside them differ by at most one row.

    >>> np.bincount(folds_of(np.array([0, 0, 0, 0, 1, 1, 1]), 3, seed=0)).tolist()
    [3, 2, 2]
    """
    draw = np.random.Generator(np.random.Philox([seed, 2]))  # 0 and 1 draw test and valid
    dealt = np.concatenate([draw.permutation(np.flatnonzero(labels == kind)) for kind in np.unique(labels)])
    folded = np.empty(len(labels), np.int64)
    folded[dealt] = np.arange(len(labels)) % folds
    return folded
