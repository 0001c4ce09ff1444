"""Settings that depend on nothing but the seed and a trial's number: random, quasi-random and grid.

They need nothing of what was tried before, so any number of workers draw without asking one another, none twice,
and a trial can be drawn again. Dimensions that a condition leaves out take up their coordinate all the same.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from jaxnets.errors import UsageError
from jaxnets.sweep.space import Choice, Dimension, Int, Log, Space, Uniform, active, ordered, text

MOST_POINTS = 1_000_000  # of a grid: more are not tried in any time, and are held in memory
_BLOCK = 256  # quasi-random points made at once; a power of two, as Sobol's sequence wants


def random_settings(space: Space, *, seed: int, number: int) -> dict[str, Any]:
    """Independent draws.

    >>> space = {"optim.lr": Log(1e-4, 1e-1)}
    >>> random_settings(space, seed=0, number=3) == random_settings(space, seed=0, number=3)
    True
    """
    return _at(space, np.random.default_rng([seed, number]).random(len(space)))


def quasi_settings(space: Space, *, seed: int, number: int) -> dict[str, Any]:
    """The point of that number of Sobol's sequence, scrambled by the seed: more even than independent draws."""
    return _at(space, _sobol(len(space), seed, number // _BLOCK)[number % _BLOCK])


def grid(space: Space) -> list[dict[str, Any]]:
    """Every combination of values.

    >>> grid({"optim": Choice("adamw", "sgd"), "optim.momentum": Choice(0.5, 0.9, when=("optim", "sgd"))})
    [{'optim': 'adamw'}, {'optim': 'sgd', 'optim.momentum': 0.5}, {'optim': 'sgd', 'optim.momentum': 0.9}]
    """
    check_grid(space)
    return list(_points(space, ordered(space), {}))


def check_grid(space: Space) -> None:
    """Raises UsageError for a dimension without an end of values, or too many points."""
    for path, dimension in space.items():
        if isinstance(dimension, Log | Uniform):
            raise UsageError(
                f"{path}={text(dimension)} has no end of values, and a grid tries each; "
                f"give {path}=choice(...) or another --searcher, as in quasi"
            )
    size = math.prod(len(_values(dimension)) for dimension in space.values())
    if size > MOST_POINTS:
        raise UsageError(f"the grid has {size} points, above {MOST_POINTS}; give fewer values or another --searcher")


def value_at(dimension: Dimension, share: float) -> Any:
    """The value that a share (0 ≤ share < 1) of all draws lie below.

    >>> value_at(Uniform(0, 8), 0.25), value_at(Int(1, 4), 0.99), value_at(Choice("a", "b"), 0.2)
    (2.0, 4, 'a')
    """
    match dimension:
        case Log(low, high):
            return float(np.clip(math.exp(math.log(low) + share * (math.log(high) - math.log(low))), low, high))
        case Uniform(low, high):
            return float(np.clip(low + share * (high - low), low, high))
        case Int(low, high, True):
            least, most = math.log(low - 0.5), math.log(high + 0.5)
            return min(max(round(math.exp(least + share * (most - least))), low), high)
        case Int(low, high):
            return low + int(share * (high - low + 1))
        case Choice(values):
            return values[int(share * len(values))]


def _at(space: Space, shares: np.ndarray) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for path, share in zip(ordered(space), shares, strict=True):
        if active(space[path], settings):
            settings[path] = value_at(space[path], float(share))
    return settings


@functools.lru_cache(maxsize=8)
def _sobol(dimensions: int, seed: int, block: int) -> np.ndarray:
    from scipy.stats import qmc

    sequence = qmc.Sobol(dimensions, seed=seed)  # type: ignore[call-arg]  (called rng since SciPy 1.15)
    if block:
        sequence.fast_forward(block * _BLOCK)
    return sequence.random(_BLOCK)


def _values(dimension: Dimension) -> tuple[Any, ...]:
    return dimension.values if isinstance(dimension, Choice) else tuple(range(dimension.low, dimension.high + 1))  # type: ignore[arg-type]


def _points(space: Space, paths: list[str], settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if not paths:
        yield dict(settings)
    elif not active(space[paths[0]], settings):
        yield from _points(space, paths[1:], settings)
    else:
        for value in _values(space[paths[0]]):
            yield from _points(space, paths[1:], {**settings, paths[0]: value})
