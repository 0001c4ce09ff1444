"""Several workers on one sweep: started by hand or by one command, killed, told to end, with clocks that jump."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from processes import all_gone
from small import experiment, loop

from jaxnets import cli
from jaxnets.sweep import Log
from jaxnets.sweep import sweep as run_sweep
from jaxnets.sweep.opening import prepare
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
SPACE = {"optim.lr": Log(1e-3, 1e-1)}
SHORT = experiment(loop=loop(steps=9, log_every=3, eval_every=3, save_every=9, dispatch="block"))  # rungs 1 and 3
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


@pytest.mark.slow
def test_two_that_are_started_by_hand_share_the_trials_whatever_their_clocks_say(sweep, tmp_path):
    paths = []
    for leap in range(2):
        (tmp_path / f"clock{leap}").mkdir()
        (tmp_path / f"clock{leap}" / "sitecustomize.py").write_text(CLOCK.replace("LEAP", str(leap)))
        paths.append(os.pathsep.join([str(tmp_path / f"clock{leap}"), os.environ.get("PYTHONPATH", "")]))
    words = ("--trials", "16", "--form", "queue")
    both = [sweep(*words, steps=40_000, PYTHONPATH=path) for path in paths]
    for process in both:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    figures = figures_of(tmp_path)
    assert_whole(figures, 16)
    assert sum(group["trials"] for group in figures["groups"]) == 16  # none was trained twice
    assert figures["workers"] == 2 and min(Counter(one["worker"] for one in figures["trials"]).values()) > 1


DEVICES = """
import jax
from small import experiment, loop
from jaxnets.sweep import Log, form, sweep

assert len(jax.local_devices()) == 2
# So many steps that one device is not done before the other's programs are compiled.
for name, most, steps, how in (("long", 1, 20_000, {}), ("short", 4, 200_000, {"stopping": "asha"})):
    made = experiment(loop=loop(steps=steps, log_every=steps, eval_every=steps, save_every=steps, dispatch="block"))
    form._MOST_IN_A_CALL, form._CALL_SECONDS = most, 1e9
    sweep(made, {"optim.lr": Log(1e-3, 1e-1)}, name=name, trials=24, searcher="random", form="queue", **how)
"""


@pytest.mark.slow
def test_a_queue_has_a_trial_on_each_device_of_the_process(tmp_path, monkeypatch):
    """Two virtual devices of the CPU; of the short trials several are in a call."""
    (tmp_path / "script.py").write_text(DEVICES)
    paths = os.pathsep.join(sys.path)
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "PYTHONPATH": paths}
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env={**os.environ, **flags}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("on 1 more device") == 2
    for name in ("long", "short"):
        figures = json.loads((tmp_path / "sweeps" / name / "sweep.json").read_text())
        [group] = figures["groups"]
        assert group["form"] == "queue" and sum(group["devices"].values()) == 24
        assert len(group["devices"]) == 2 and min(group["devices"].values()) > 0
        assert {one["state"] for one in figures["trials"]} <= {"complete", "pruned"}


@pytest.mark.slow
def test_of_three_workers_one_is_killed_and_the_others_take_its_trials(sweep, tmp_path):
    process = sweep("--trials", "15", "--form", "queue", "--workers", "3", steps=6000)
    wait_for(lambda: journal(tmp_path).count('"state":1') >= 2, process)
    victim = workers_of(process)[1]
    os.kill(victim, signal.SIGKILL)
    out, errors = process.communicate(timeout=400)
    assert process.returncode == 0, out + errors
    assert "worker 1 of 3 was killed by signal 9 (SIGKILL): what it had not told is taken by the others" in out
    assert_whole(figures_of(tmp_path), 15)
    assert out.count("trials (15 complete)") == 1 and "[0] " in out  # one result, and what each worker says


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["term", "int"])
def test_workers_that_are_told_to_end_keep_what_is_done(number, sweep, tmp_path):
    words = ("--trials", "+200", "--form", "queue", "--workers", "2")
    process = sweep(*words)
    wait_for(lambda: journal(tmp_path).count('"state":1') >= 2, process)
    workers = workers_of(process)
    process.send_signal(number)
    out, errors = process.communicate(timeout=100)
    assert process.returncode == 128 + number, out + errors
    assert all_gone(workers)
    figures = figures_of(tmp_path)
    assert figures["wanted"] == 200  # and not twice as many
    assert 2 <= sum(one["state"] == "complete" for one in figures["trials"]) < 200


def workers_of(process):
    """The pids of its workers, in order, once all are there."""
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def study(folder, patience=60.0):
    how = {"objectives": [Objective("valid.loss", False)], "searcher": "random", "fixed": {}, "patience": patience}
    return Study.open("s", storage=folder / "study.journal", space={"optim.lr": Log(1e-3, 1e-1)}, **how)


def numbers(asked):
    return [one.number for one in asked]


def test_a_clock_that_jumps_makes_nobody_dead(tmp_path, monkeypatch):
    """Who is silent is known by the observer's own seconds; a worker elsewhere cannot be looked at."""
    begin = time.time
    with monkeypatch.context() as patch:
        patch.setattr("jaxnets.sweep.search.this_process", lambda: {"machine": "elsewhere", "pid": 1, "began": None})
        other = study(tmp_path)
    assert numbers(other.ask(2)) == [0, 1]
    one = study(tmp_path, patience=0.5)
    for leap in (1e8, -1e8, 0.0):
        monkeypatch.setattr("time.time", lambda leap=leap: begin() + leap)
        assert one.workers() == 2 and one.ask(1)[0].number >= 2
    time.sleep(0.6)
    assert numbers(one.ask(2)) == [0, 1] and one.workers() == 1
    assert other.tell(0, "complete", [1.0]) and not one.tell(0, "complete", [2.0])  # the first to tell is counted
    assert one.records()[0].values == [1.0]


def test_what_is_given_back_is_for_others(tmp_path):
    one, other = study(tmp_path), study(tmp_path)
    assert numbers(one.ask(4)) == [0, 1, 2, 3] and one.workers() == 2 and other.others_run() == 4
    assert one.give_back([2, 3]) == [] and other.others_run() == 2
    assert numbers(other.ask(3)) == [2, 3, 4]
    one.close()
    assert numbers(other.ask(2)) == [0, 1] and other.others_run() == 0
    assert other.give_back([0, 4]) == [0]  # a trial that was another's stays with who claimed it


def test_whoever_stays_takes_the_trials_of_one_that_dies(tmp_path):
    """In this process, so that nothing but the storage tells one from the other."""
    made = experiment(loop=loop(steps=9, log_every=3, eval_every=3, save_every=9, dispatch="block"))
    how = {"name": "s", "folder": tmp_path, "trials": 4, "searcher": "random", "form": "queue", "seed": 0}
    prepare(made, SPACE, **{name: how[name] for name in ("name", "folder", "trials", "searcher")})
    gone = Study.open("s", storage=tmp_path / "study.journal", **fixed_of(made))
    assert numbers(gone.ask(2)) == [0, 1]

    def say(line):
        if "2 trials are with other workers" in line:
            gone.close()

    assert_whole(run_sweep(made, SPACE, **how, say=say).figures, 4)


@pytest.mark.parametrize(
    ("stopping", "storage"), [("asha", "journal"), ("asha", "sqlite"), ("median", "journal"), ("halving", "journal")]
)
def test_trials_are_judged_against_those_that_others_still_train(tmp_path, stopping, storage):
    """Alone, the best of this worker's goes on; the other's are better, and halving judges within a pool."""
    how = {"name": "s", "folder": tmp_path, "trials": 12, "searcher": "random", "stopping": stopping}
    how["storage"] = f"sqlite:///{tmp_path}/study.db" if storage == "sqlite" else str(tmp_path / "study.journal")
    prepare(SHORT, SPACE, **how)
    other = Study.open("s", storage=how["storage"], **fixed_of(SHORT, stopping=stopping))
    better = dict.fromkeys(numbers(other.ask(6)), -1.0)
    other.share({number: {1: value} for number, value in better.items()})
    figures = run_sweep(SHORT, SPACE, **how, form="queue", wait=False, say=lambda line: None).figures
    states = Counter(one["state"] for one in figures["trials"])
    mine = {one["number"]: one["rungs"]["1"] for one in figures["trials"] if one["rungs"]}
    if stopping == "halving":
        assert states == {"running": 6, "pruned": 5, "complete": 1}
    else:
        assert states == {"running": 6, "pruned": 6} and other.shared(1) == better | mine and len(mine) == 6


def test_a_trial_that_is_trained_again_counts_with_its_last_value(tmp_path):
    """What a dead worker saw of it was better than anything: judged against that as well, nobody would go on."""
    how = {"name": "s", "folder": tmp_path, "trials": 6, "searcher": "random", "stopping": "asha"}
    prepare(SHORT, SPACE, **how)
    gone = Study.open("s", storage=tmp_path / "study.journal", **fixed_of(SHORT, stopping="asha"))
    gone.share({number: {1: -1.0} for number in numbers(gone.ask(6))})
    gone.close()
    how |= {"form": "lanes", "lanes": 6, "workers": 2, "say": lambda line: None}
    figures = run_sweep(SHORT, SPACE, **how).figures
    assert Counter(len(one["rungs"]) for one in figures["trials"]) == {1: 4, 2: 2}  # the best third of six go on
    assert gone.shared(1) == {one["number"]: one["rungs"]["1"] for one in figures["trials"]}


def test_nothing_is_shared_alone_and_all_that_run_when_somebody_comes(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxnets.sweep.run._LOOK_SECONDS", 0.0)
    others, judged = [], []
    how = {"name": "s", "folder": tmp_path, "trials": 4, "searcher": "random", "stopping": "asha"}
    how |= {"form": "lanes", "lanes": 4, "say": lambda line: None}

    def decide(rule, rung, values):
        """Somebody comes between the rungs of four trials."""
        if not others and rung == 3:
            others.append(Study.open("s", storage=tmp_path / "study.journal", **fixed_of(SHORT, stopping="asha")))
            assert others[0].shared(1) == {}
        judged.append((rung, set(rule._entered(rung, values))))
        return set()

    monkeypatch.setattr("jaxnets.sweep.stopping.SuccessiveHalving.decide", decide)
    figures = run_sweep(SHORT, SPACE, **how).figures
    assert judged == [(1, {0, 1, 2, 3}), (3, {0, 1, 2, 3})]
    for rung in (1, 3):
        assert others[0].shared(rung) == {one["number"]: one["rungs"][str(rung)] for one in figures["trials"]}
    others[0].close()
    run_sweep(SHORT, SPACE, **how | {"folder": tmp_path / "alone"})
    alone = Study.open("s", storage=tmp_path / "alone" / "study.journal", **fixed_of(SHORT, stopping="asha"))
    assert alone.shared(1) == alone.shared(3) == {}


def test_two_sweeps_at_once_know_each_others_rungs(tmp_path, monkeypatch):
    """Each has half of the trials at the first rung, and waits there for the other to have come as far."""
    from jaxnets.sweep.stopping import SuccessiveHalving

    decide, both = SuccessiveHalving.decide, threading.Barrier(2)
    stopped = []

    def together(rule, rung, values):
        if rung > 1:
            return set()
        rule._entered(rung, values)  # told
        both.wait(timeout=120)
        stopped.append(decide(rule, rung, values))
        assert len(rule._seen[rung]) == 6
        return stopped[-1]

    monkeypatch.setattr(SuccessiveHalving, "decide", together)
    how = {"name": "s", "folder": tmp_path, "trials": 6, "searcher": "random", "stopping": "asha", "workers": 2}
    prepare(SHORT, SPACE, **{name: how[name] for name in ("name", "folder", "trials", "searcher", "stopping")})
    how |= {"form": "lanes", "lanes": 3, "say": lambda line: None}
    with ThreadPoolExecutor(2) as threads:
        found = [threads.submit(run_sweep, SHORT, SPACE, **how) for _ in range(2)]
        for one in found:
            one.result()
    trials = json.loads((tmp_path / "sweep.json").read_text())["trials"]
    best = sorted(trials, key=lambda one: one["rungs"]["1"])[:2]  # of six, and not one of each three
    assert {one["number"] for one in best} == {one["number"] for one in trials if one["state"] == "complete"}
    assert set.union(*stopped) == set(range(6)) - {one["number"] for one in best}


def test_who_does_not_wait_leaves_them(tmp_path):
    made = experiment(loop=loop(steps=9, log_every=3, eval_every=3, save_every=9, dispatch="block"))
    how = {"name": "s", "folder": tmp_path, "trials": 4, "searcher": "random", "form": "queue"}
    prepare(made, SPACE, **{name: how[name] for name in ("name", "folder", "trials", "searcher")})
    other = Study.open("s", storage=tmp_path / "study.journal", **fixed_of(made))
    other.ask(2)
    figures = run_sweep(made, SPACE, **how, wait=False, say=lambda line: None).figures
    assert [one["state"] for one in figures["trials"]] == ["running", "running", "complete", "complete"]


def fixed_of(made, *, stopping="none"):
    """What `sweep` opens its study with, read from the study itself."""
    from jaxnets import config, data

    fixed = {"experiment": json.loads(config.dump(made)), "stopping": stopping}
    fixed["data"] = data.load(made.data).schema.fingerprint
    return {"space": SPACE, "objectives": [Objective("valid.loss", False)], "searcher": "random", "fixed": fixed}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--workers", "0"), "--workers 0 is not allowed; give 1 or more"),
        (("--on", "ray"), "give --workers N"),
        (("--workers", "2", "--gpus", "1"), "--gpus is for a Ray cluster"),
    ],
)
def test_workers_that_cannot_be_are_told(words, expected, capsys):
    assert cli.main(["sweep", "c.py", "--trials", "3", *words]) == 2
    assert expected in capsys.readouterr().err


JOINED = """
import jax
jax.distributed.initialize()
from small import experiment, loop
from jaxnets.sweep import Log, sweep

made = experiment(loop=loop(steps=900, log_every=300, eval_every=300, save_every=900, dispatch="block"))
print("devices", len(jax.devices()), len(jax.local_devices()), flush=True)
sweep(made, {"optim.lr": Log(1e-3, 1e-1)}, name="s", trials=32, searcher="random", form="lanes", lanes=4, workers=2)
"""


@pytest.mark.slow
def test_processes_that_a_script_has_joined_are_workers_with_their_own_devices(tmp_path):
    """Two processes with two devices each: lanes are on all four, and no process waits for another's step."""
    (tmp_path / "script.py").write_text(JOINED)
    command = [sys.executable, "-m", "jaxnets.cli", "launch", "local", "--processes", "2", "--devices-per-process", "2"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [*command, "--", "script.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("devices 4 2") == 2 and done.stdout.count("4 lanes on 2 device(s)") == 2
    assert_whole(figures_of(tmp_path), 32)
    assert figures_of(tmp_path)["workers"] == 2
