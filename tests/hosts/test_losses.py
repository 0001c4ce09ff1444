"""A process that is killed, frozen or told to stop: the others end in time, and the restart changes no bit."""

import json
import random
import re
import signal
import time

import pytest
from processes import FSDP, Launched, assert_close, finish, flip, newest
from small import assert_same_runs, command

from jaxnets import evaluate

NUMBERS = (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A config that divides its params over two processes, and its run that nothing befell."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "config.py").write_text(FSDP)
    out = finish(folder / "config.py", folder / "run")
    assert not [line for line in out.splitlines() if line.startswith("[1]") and "Gloo" not in line]
    return folder


def test_a_run_that_was_killed_damaged_and_stopped_ends_as_one_that_was_not(whole, tmp_path):
    config, run_dir = whole / "config.py", tmp_path / "run"
    with Launched(config, run_dir) as launched:
        launched.until_saved(40).strike(0, signal.SIGKILL)
    damaged = flip(run_dir, process=1)
    with Launched(config, run_dir) as launched:
        out = launched.until_saved(max(60, damaged)).strike(1, signal.SIGTERM)
    assert f"[0] checkpoint {damaged} is damaged: " in out and "process_1/" in out
    assert int(re.search(r"\[0\] continues .* at step (\d+)", out)[1]) < damaged
    finish(config, run_dir)
    assert_same_runs(run_dir, whole / "run")
    tested = json.loads((run_dir / "result.json").read_text())["test"]
    assert {name: evaluate.test(run_dir)[name] for name in tested} == pytest.approx(tested)  # one process reads it


@pytest.mark.slow
def test_it_was_the_run_of_one_process(whole, tmp_path):
    code, _, errors = command("train", whole / "config.py", "--run-dir", tmp_path / "run")
    assert code == 0, errors
    assert_close(tmp_path / "run", whole / "run", rel=1e-4)  # 160 steps make more of the last bits
    code, out, errors = command("test", whole / "run")
    assert code == 0 and "accuracy" in out, errors


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.parametrize("number", NUMBERS)
def test_one_of_two(number, victim, whole, tmp_path):
    with Launched(whole / "config.py", tmp_path / "run") as launched:
        launched.until_saved(20).strike(victim, number)
    finish(whole / "config.py", tmp_path / "run")
    assert_same_runs(tmp_path / "run", whole / "run")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_15_random_losses_change_no_bit(whole, tmp_path):
    """Over a few runs; each loss at a random moment after the first checkpoint, between any two of its events."""
    seed = random.randrange(10**6)
    draw, left, number = random.Random(seed), 15, 0
    while left:
        run_dir, befell = tmp_path / f"run{number}", []
        for _ in range(min(left, draw.choice([1, 2, 3]))):
            befell.append((draw.randrange(2), draw.choice([signal.SIGKILL, signal.SIGSTOP])))
            with Launched(whole / "config.py", run_dir) as launched:
                launched.until_saved(max(0, newest(run_dir)) + 1)
                time.sleep(draw.uniform(0.0, 0.5))
                launched.strike(*befell[-1])
            left -= 1
        finish(whole / "config.py", run_dir)
        try:
            assert_same_runs(run_dir, whole / "run")
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, run {number}: {befell}") from error
        number += 1


@pytest.mark.slow
def test_one_that_is_killed_before_all_have_come(whole, tmp_path):
    with Launched(whole / "config.py", tmp_path / "run") as launched:
        launched.until(lambda: len(launched.pids()) == 2).strike(1, signal.SIGKILL)
