"""Splits by what is known of rows or files: those where a column fits a pattern, or whole groups."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxnets.errors import ConfigError, DataError

if TYPE_CHECKING:
    from jaxnets.data.source import Data


def fitting(words: str, column: Callable[[str], list[Any]]) -> np.ndarray:
    """The rows whose column is fitted wholly by a regular expression, given as COLUMN=EXPRESSION.

    >>> fitting("index=[0-4]", lambda name: ["3", "12", "0", None]).tolist()
    [0, 2]
    """
    name, equals, pattern = words.partition("=")
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"data.split_by where:{words}: {error}; give COLUMN=REGULAR EXPRESSION") from error
    if not equals:
        raise ConfigError(f"data.split_by where:{words} is not allowed; give where:COLUMN=REGULAR EXPRESSION")
    values = column(name)
    rows = np.array([row for row, text in enumerate(values) if text is not None and expression.fullmatch(str(text))])
    if not 0 < len(rows) < len(values):
        raise ConfigError(
            f"data.split_by where:{words} takes {len(rows)} of {len(values)} rows; {name} is "
            f"{', '.join(map(str, values[:3]))} …: give what fits some of them"
        )
    return rows


def left_out(config: Data, name: str, values: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """(test rows, valid rows): whole groups, so that none stands in two splits.

    Tested are the groups of fold `config.fold`, or drawn ones up to the share `config.test`; of the others those that
    validate are drawn up to the share `config.valid`. At least one group is left to train on. Groups are dealt to folds
    the largest first, each to the fold that has the fewest rows, so that with a fold for each group one is left out
    after the other, in order of name where they are equally large. ConfigError if the groups are too few.
    """
    missing = next((row for row, text in enumerate(values) if text is None), None)
    if missing is not None:
        raise DataError(f"{config.source}, row {missing} has no {name}; fill it in, or split by something else")
    groups, rows = np.unique(np.asarray(values, str), return_inverse=True)
    sizes = np.bincount(rows)
    _check_enough(config, name, len(groups))
    everything, validating = np.arange(len(groups)), int(config.valid > 0)
    if config.folds is None:
        test = _drawn(sizes, everything, config.test * len(rows), 1 + validating, (config.split_seed, 3))
    else:
        test = np.flatnonzero(_dealt(sizes, config.folds) == config.fold)
    rest = np.setdiff1d(everything, test)
    if len(rest) <= validating:
        raise ConfigError(
            f"data.split_by group:{name}: fold {config.fold} leaves one group, {groups[rest[0]]}, to train and to "
            "validate on; give more folds, or another column"
        )
    valid = _drawn(sizes, rest, config.valid * len(rows), 1, (config.split_seed, 4))
    return np.flatnonzero(np.isin(rows, test)), np.flatnonzero(np.isin(rows, valid))


def _check_enough(config: Data, name: str, groups: int) -> None:
    splits = 1 + int(config.valid > 0) + int(config.test > 0 or config.folds is not None)
    if groups < (config.folds or 2):
        raise ConfigError(
            f"data.split_by group:{name} has {groups} groups, fewer than {config.folds or 2}; "
            f"give at most {groups} folds, or another column"
        )
    if groups < splits:
        raise ConfigError(
            f"data.split_by group:{name} has {groups} groups for {splits} splits, each of groups of its own; give "
            "another column"
        )


def _drawn(sizes: np.ndarray, groups: np.ndarray, rows: float, kept: int, seed: tuple[int, int]) -> np.ndarray:
    """Groups drawn among `groups` until they hold so many rows, all but `kept` at the most."""
    order = np.random.Generator(np.random.Philox(list(seed))).permutation(groups)
    before = np.cumsum(sizes[order]) - sizes[order]
    return np.asarray(order[: len(order) - kept][before[: len(order) - kept] < rows])


def _dealt(sizes: np.ndarray, folds: int) -> np.ndarray:
    """The fold of each group."""
    found, held = np.zeros(len(sizes), int), np.zeros(folds, int)
    for group in np.argsort(-sizes, kind="stable"):
        found[group] = held.argmin()
        held[found[group]] += sizes[group]
    return found
