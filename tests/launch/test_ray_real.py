"""A real Ray cluster of two nodes on this machine: a worker is killed, then its node is, and every trial counts once.

Needs the extra [ray].
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small import command

pytestmark = pytest.mark.slow

PATIENCE = 400  # seconds
CONFIG = """
from jaxnets import Data, Experiment, Loop
from jaxnets.models import MLP
from jaxnets.optim import AdamW
from jaxnets.sweep import Log

experiment = Experiment(
    data=Data(source="wine", batch_size=16), model=MLP(widths=(8,)), optim=AdamW(lr=1e-2),
    loop=Loop(steps=10000, log_every=1000, eval_every=5000, save_every=10000, monitor="nll"),
)
space = {"optim.lr": Log(1e-3, 1e-1)}
"""


@pytest.fixture(scope="module")
def cluster():
    """Two nodes with one processor each."""
    pytest.importorskip("ray", reason="needs the extra [ray]")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    politeness = {"worker_niceness": 0}  # else Ray puts its workers behind all else that runs on the machine
    head = {"num_cpus": 1, "include_dashboard": False, "_system_config": politeness}
    found = Cluster(initialize_head=True, head_node_args=head)
    found.add_node(num_cpus=1)
    yield found
    found.shutdown()


@pytest.fixture
def sweep(cluster, tmp_path):
    """Begins a sweep on the cluster; killed on the way out if it still runs."""
    (tmp_path / "c.py").write_text(CONFIG)
    begun = []

    def begin(*words):
        given = ("sweep", "c.py", "--searcher", "random", "--form", "queue", "--name", "s", *words)
        given += ("--on", "ray", "--address", cluster.address, "--workers", "2")
        with open(tmp_path / "said", "w") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "jaxnets.cli", *given], cwd=tmp_path, stdout=said, stderr=said
            )
        begun.append(process)
        return process

    yield begin
    for process in begun:
        process.kill()
        process.wait()


def until(holds, folder, process=None):
    end = time.monotonic() + PATIENCE
    while not holds():
        assert process is None or process.poll() is None, (folder / "said").read_text()
        assert time.monotonic() < end, (folder / "said").read_text()
        time.sleep(0.1)


def done(folder):
    path = folder / "sweeps" / "s" / "study.journal"
    return path.read_text(errors="replace").count('"state":1') if path.exists() else 0


def told(folder):
    """The workers that have told of a trial."""
    path = folder / "sweeps" / "s" / "study.journal"
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    return {worker for line in lines if '"told"' in line for worker in re.findall(r'"worker":"([^"]+)"', line)}


def workers():
    """{pid of a Ray worker that runs our task: pid of its node's raylet}."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (path / "cmdline").read_bytes().startswith(b"ray::worker"):
                found[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
    return found


def assert_whole(folder, trials):
    figures = json.loads((folder / "sweeps" / "s" / "sweep.json").read_text())
    assert [one["number"] for one in figures["trials"]] == list(range(trials))
    assert {one["state"] for one in figures["trials"]} == {"complete"}
    assert len({one["worker"] for one in figures["trials"]}) >= 2


def test_workers_and_nodes_that_die_are_replaced_and_the_sweep_is_whole(cluster, sweep, tmp_path):
    process = sweep("--trials", "60")
    until(lambda: len(told(tmp_path)) == 2, tmp_path, process)
    nodes = {node.all_processes["raylet"][0].process.pid: node for node in cluster.worker_nodes}
    [victim] = [pid for pid, raylet in workers().items() if raylet in nodes]
    before = set(workers())
    os.kill(victim, signal.SIGKILL)  # the worker: Ray starts another
    until(lambda: len(set(workers()) - before) == 1, tmp_path, process)
    [node] = nodes.values()
    cluster.remove_node(node, allow_graceful=False)  # its node: the retry waits for a place, the other worker goes on
    cluster.add_node(num_cpus=1)
    until(lambda: process.poll() is not None, tmp_path)
    assert process.returncode == 0, (tmp_path / "said").read_text()
    assert_whole(tmp_path, 60)
    assert "60 trials (60 complete)" in (tmp_path / "said").read_text()


def test_a_driver_that_is_told_to_end_hands_it_on(sweep, tmp_path):
    process = sweep("--trials", "400", "--loop.steps", "2000", "--loop.eval_every", "1000")
    until(lambda: done(tmp_path) >= 2, tmp_path, process)
    process.send_signal(signal.SIGTERM)
    until(lambda: process.poll() is not None, tmp_path)
    assert process.returncode == 143, (tmp_path / "said").read_text()
    states = [one["state"] for one in json.loads((tmp_path / "sweeps" / "s" / "sweep.json").read_text())["trials"]]
    assert 2 <= states.count("complete") < 400
    until(lambda: not workers(), tmp_path)


def test_what_the_cluster_has_not_is_told(cluster, tmp_path):
    (tmp_path / "c.py").write_text(CONFIG)
    words = (
        "--sweep-dir",
        tmp_path / "s",
        "--on",
        "ray",
        "--workers",
        "1",
        "--address",
        cluster.address,
        "--gpus",
        "1",
    )
    code, _, errors = command("sweep", tmp_path / "c.py", "--trials", "2", *words)
    assert code == 2 and "no node of the Ray cluster has --cpus 1 and --gpus 1" in errors
