"""Searchers that learn against random settings, on a function of six dimensions whose minimum is known."""

import importlib
import os
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "experiments"))
    monkeypatch.setattr(os, "fsync", lambda file: None)
    return importlib.import_module("sweep_searchers")


def ends(study, searcher, *, repeats, trials, batch):
    return [study.regrets(searcher, seed=seed, trials=trials, batch=batch)[-1] for seed in range(repeats)]


def test_the_functions_minimum_is_where_and_what_was_published(study):
    lowest = np.array([0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573])
    assert study.hartmann(lowest) == pytest.approx(study.MINIMUM, abs=1e-5)
    around = [study.hartmann(lowest + step) for step in 1e-2 * np.vstack([np.eye(6), -np.eye(6)])]
    assert min(around) > study.hartmann(lowest)


@pytest.mark.parametrize("searcher", ["tpe", "cmaes"])
def test_it_beats_random_settings_by_far_in_a_few_repeats(study, searcher):
    """Random settings end 1.0 or more from the minimum, and these less than half as far."""
    shape = dict(repeats=3, trials=100, batch=5)
    assert np.mean(ends(study, searcher, **shape)) < 0.6 * np.mean(ends(study, "random", **shape))


@pytest.mark.slow
@pytest.mark.parametrize("searcher", ["tpe", "cmaes"])
def test_it_beats_random_settings_in_twenty_repeats(study, searcher):
    from scipy.stats import wilcoxon

    shape = dict(repeats=20, trials=120, batch=8)
    learnt, drawn = ends(study, searcher, **shape), ends(study, "random", **shape)
    assert wilcoxon(learnt, drawn, alternative="less").pvalue < 0.001
    assert np.median(learnt) < 0.5 * np.median(drawn)
