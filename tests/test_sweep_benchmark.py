"""The benchmark of sweeps: contenders do the same work, and its smallest row, for a moment."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("optuna")


@pytest.fixture
def experiments(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "experiments"))
    return importlib.import_module


def test_trials_by_hand_end_alike_whichever_way_they_are_run(experiments):
    work, hand = experiments("sweep_rivals.work"), experiments("sweep_rivals.hand")
    few = work.Work(width=8, trials=3, steps=10)
    one_by_one = hand.scanned(few)
    for others in (hand.bare(few), hand.lanes(few, lanes=2)):
        np.testing.assert_allclose(others, one_by_one, rtol=1e-4)
    assert len({outcome.valid_nll for outcome in one_by_one}) == 3


def test_it_tells_trials_an_hour_and_the_figures_of_each_contender(experiments, monkeypatch, capsys):
    benchmark = experiments("sweep_benchmark")
    names = "optuna, step;hand, lanes;hand, scanned"
    monkeypatch.setattr(sys, "argv", ["sweep_benchmark.py", "--quick", "--only", "mlp32", "--contenders", names])
    benchmark.main()
    lines = [line.split("|") for line in capsys.readouterr().out.splitlines() if line.count("|") == 4]
    told = {line[0].strip(): line for line in lines[1:]}
    assert told.keys() == set(names.split(";"))
    assert all(float(line[1]) > 0 for line in told.values())
    assert told["hand, lanes"][3].split() == told["hand, scanned"][3].split()
