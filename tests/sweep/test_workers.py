"""Several workers on one sweep: started by hand or by one command, killed, told to end, with clocks that jump."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from processes import all_gone

from jaxnets.sweep import Log
from jaxnets.sweep.search import Objective, Study

CONFIG = """
from jaxnets import Data, Experiment, Loop
from jaxnets.models import MLP
from jaxnets.optim import AdamW
from jaxnets.sweep import Log

experiment = Experiment(
    data=Data(source="wine", batch_size=16), model=MLP(widths=(8,)), optim=AdamW(lr=1e-2),
    loop=Loop(steps=STEPS, log_every=1000, eval_every=1000, save_every=3000, monitor="nll"),
)
space = {"optim.lr": Log(1e-3, 1e-1)}
"""
CLOCK = """
import random, time
begin, leap = time.time, random.Random(LEAP)
time.time = lambda: begin() + leap.uniform(-1e8, 1e8)
"""  # which every Python of that path imports as it starts


@pytest.fixture
def sweep(tmp_path):
    """Begins `jaxnets sweep` in a process of its own, killed on the way out if it still runs."""
    begun = []

    def begin(*words, steps=3000, **variables):
        (tmp_path / "c.py").write_text(CONFIG.replace("STEPS", str(steps)))
        command = [sys.executable, "-m", "jaxnets.cli", "sweep", "c.py", "--name", "s", "--searcher", "random", *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        begun.append(subprocess.Popen(command, cwd=tmp_path, env={**os.environ, **variables}, **pipes))
        return begun[-1]

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


def journal(folder):
    path = folder / "sweeps" / "s" / "study.journal"
    return path.read_text(errors="replace") if path.exists() else ""


def wait_for(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end and process.poll() is None, process.communicate()
        time.sleep(0.02)


def figures_of(folder):
    return json.loads((folder / "sweeps" / "s" / "sweep.json").read_text())


def assert_whole(figures, trials):
    """Every trial was done, once, and what workers know of their programs is there."""
    assert [one["number"] for one in figures["trials"]] == list(range(trials))
    assert {one["state"] for one in figures["trials"]} == {"complete"}
    assert sum(group["trials"] for group in figures["groups"]) >= trials


def test_two_that_are_started_by_hand_share_the_trials_whatever_their_clocks_say(sweep, tmp_path):
    paths = []
    for leap in range(2):
        (tmp_path / f"clock{leap}").mkdir()
        (tmp_path / f"clock{leap}" / "sitecustomize.py").write_text(CLOCK.replace("LEAP", str(leap)))
        paths.append(os.pathsep.join([str(tmp_path / f"clock{leap}"), os.environ.get("PYTHONPATH", "")]))
    words = ("--trials", "16", "--form", "queue")
    both = [sweep(*words, steps=30_000, PYTHONPATH=path) for path in paths]
    for process in both:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    figures = figures_of(tmp_path)
    assert_whole(figures, 16)
    assert sum(group["trials"] for group in figures["groups"]) == 16  # none was trained twice
    assert figures["workers"] == 2 and min(Counter(one["worker"] for one in figures["trials"]).values()) > 1
