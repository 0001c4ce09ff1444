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


def left_out(config: Data, name: str, values: Sequence[Any]) -> np.ndarray:
    """The rows of the groups that are tested: those of fold `config.fold`, or drawn ones up to the share `config.test`.

    Groups are dealt to folds the largest first, each to the fold that has the fewest rows, so that with a fold for each
    group one is left out after the other, in order of name where they are equally large.
    """
    missing = next((row for row, text in enumerate(values) if text is None), None)
    if missing is not None:
        raise DataError(f"{config.source}, row {missing} has no {name}; fill it in, or split by something else")
    groups, rows = np.unique(np.asarray(values, str), return_inverse=True)
    sizes = np.bincount(rows)
    if len(groups) < (config.folds or 2):
        raise ConfigError(
            f"data.split_by group:{name} has {len(groups)} groups, fewer than {config.folds or 2}; "
            f"give at most {len(groups)} folds, or another column"
        )
    if config.folds is not None:
        return np.flatnonzero(_dealt(sizes, config.folds)[rows] == config.fold)
    drawn = np.random.Generator(np.random.Philox([config.split_seed, 3])).permutation(len(groups))
    before = np.cumsum(sizes[drawn]) - sizes[drawn]
    return np.flatnonzero(np.isin(rows, drawn[:-1][before[:-1] < config.test * len(rows)]))


def _dealt(sizes: np.ndarray, folds: int) -> np.ndarray:
    """The fold of each group."""
    found, held = np.zeros(len(sizes), int), np.zeros(folds, int)
    for group in np.argsort(-sizes, kind="stable"):
        found[group] = held.argmin()
        held[found[group]] += sizes[group]
    return found
