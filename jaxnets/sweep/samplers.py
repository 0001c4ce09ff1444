"""Optuna's samplers that learn from earlier trials: TPE, Gaussian processes, CMA-ES and NSGA-II."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from jaxnets.sweep.space import Choice, Dimension, Int, Log, Space, Uniform, active, ordered

_FIRST_RANDOM = 10  # trials before there is something to learn from


def distribution(dimension: Dimension) -> BaseDistribution:
    """Optuna's distribution of a dimension.

    >>> distribution(Int(2, 64, log=True))
    IntDistribution(high=64, log=True, low=2, step=1)
    """
    match dimension:
        case Log(low, high):
            return FloatDistribution(float(low), float(high), log=True)
        case Uniform(low, high):
            return FloatDistribution(float(low), float(high))
        case Int(low, high, log):
            return IntDistribution(low, high, log=log)
        case Choice(values):
            return CategoricalDistribution(values)


def sampler(searcher: str, space: Space, *, seed: int, batch: int) -> optuna.samplers.BaseSampler:
    """The sampler of a searcher that learns, for trials that are asked for in batches."""
    samplers = optuna.samplers
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match searcher:
            case "tpe":
                grouped = any(dimension.when is not None for dimension in space.values())
                return samplers.TPESampler(
                    seed=seed,
                    n_startup_trials=_FIRST_RANDOM,
                    multivariate=True,
                    group=grouped,
                    constant_liar=True,  # what runs counts as bad, so that a batch spreads
                )
            case "gp":
                return samplers.GPSampler(seed=seed, n_startup_trials=_FIRST_RANDOM, warn_independent_sampling=False)
            case "cmaes":
                return samplers.CmaEsSampler(
                    seed=seed, popsize=_population(space, batch), warn_independent_sampling=False
                )
            case "nsga2":
                return samplers.NSGAIISampler(seed=seed)
    raise ValueError(f"{searcher} does not learn")


def complete(
    space: Space,
    names: Mapping[str, str],
    sampler: optuna.samplers.BaseSampler,
    study: optuna.Study,
    trial: optuna.trial.FrozenTrial,
    known: Mapping[str, Any],
) -> dict[str, Any]:
    """All settings of a trial: those that are known, and the sampler's for the rest.

    `names` are the names of the paths in the storage.
    """
    sampler.before_trial(study, trial)
    jointly = sampler.sample_relative(study, trial, sampler.infer_relative_search_space(study, trial))
    settings: dict[str, Any] = {}
    for path in ordered(space):
        if not active(space[path], settings):
            continue
        kind, name = distribution(space[path]), names[path]
        if path in known:
            settings[path] = known[path]
        elif name in jointly and kind._contains(kind.to_internal_repr(jointly[name])):
            settings[path] = jointly[name]
        else:
            settings[path] = sampler.sample_independent(study, trial, name, kind)
    return settings


def _population(space: Space, batch: int) -> int:
    """Of a generation of CMA-ES: the usual size, but no less than a batch, of which the rest would teach nothing."""
    numbers = sum(not isinstance(dimension, Choice) for dimension in space.values())
    return max(4 + int(3 * math.log(max(numbers, 1))), batch)
