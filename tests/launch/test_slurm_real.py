"""A real Slurm of one node: two processes train, are queued again in the middle, and end as if they had not been.

Needs root, and the Debian packages slurmctld, slurmd, slurm-client and munge, which it installs if it can.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small import CONFIG, assert_same_runs, command, leaves_of

pytestmark = pytest.mark.slow

HOST = socket.gethostname()
PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
CONFIGURATION = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=10
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
NodeName={host} NodeAddr=127.0.0.1 CPUs=2
PartitionName=main Nodes={host} Default=YES State=UP
"""  # cred_expire: seconds that a job waits before it begins again
CGROUP = "CgroupPlugin=cgroup/v1\nCgroupAutomount=no\nConstrainCores=no\nConstrainRAMSpace=no\n"
STEPS = 400
PATIENCE = 400  # seconds


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A Slurm of this machine, of its own in every respect; its environment variables."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to start the daemons of Slurm")
    _install()
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "key").write_bytes(os.urandom(128))
    (folder / "key").chmod(0o400)
    values = {"host": HOST, "folder": folder, "ports": _free_ports(2)}
    (folder / "slurm.conf").write_text(CONFIGURATION.format(**values))
    (folder / "cgroup.conf").write_text(CGROUP)
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        patch.setenv("PATH", f"{os.environ['PATH']}:/usr/sbin")
        files = [f"--{kind}-file={folder}/{kind}" for kind in ("key", "log", "pid", "seed")]
        munged = ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *files]
        for words in (munged, ["slurmctld", "-D"], ["slurmd", "-D", "-N", HOST]):
            stack.enter_context(_daemon(words, folder))
        until(lambda: said("sinfo", "--noheader", "--format=%T") == "idle", 60, lambda: _logs(folder))
        yield
        said("scancel", "--full", "--signal=KILL", "--user=root")


def _install():
    missing = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if not _found(name)]
    if not missing:
        return
    if shutil.which("apt-get") is None:
        pytest.skip(f"needs {', '.join(missing)}; there is no apt-get to install them")
    words = ["apt-get", "install", "--yes", "--no-install-recommends", *PACKAGES]
    done = subprocess.run(
        words, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"needs {', '.join(missing)}; apt-get could not install them: {done.stderr[-300:]}")


def _found(name):
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")


def _free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in sockets]


@contextlib.contextmanager
def _daemon(words, folder):
    """A process that ends with this one, however that happens."""
    words, name = ["setpriv", "--pdeathsig", "TERM", *words], words[0]
    with open(folder / f"{name}.out", "w") as out, subprocess.Popen(words, stdout=out, stderr=out) as process:
        try:
            yield
        finally:
            process.terminate()


def _logs(folder):
    return "\n".join(f"{path.name}: {path.read_text()[-1500:]}" for path in folder.glob("*.out"))


def said(*words):
    """What a command of Slurm prints; all have a limit, because a Slurm that is ill answers never."""
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False).stdout.strip()


def until(holds, seconds, words):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, words()
        time.sleep(0.1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Holds the config of all runs."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "config.py").write_text(CONFIG.replace("steps=1000", f"steps={STEPS}, dispatch='bare'"))
    return folder


@pytest.fixture(scope="module")
def whole(folder):
    """The run of two processes that nobody interrupted."""
    words = ("launch", "local", "--processes", "2", "--", "train", folder / "config.py", "--run-dir", folder / "whole")
    code, out, errors = command(*words)
    assert code == 0, out + errors
    return folder / "whole"


class Launch:
    """A job of two processes that trains to the run of its name."""

    def __init__(self, name, folder):
        self.name, self.run_dir, self.launches = name, folder / name, folder / "launches"
        words = ("--name", name, "--ntasks-per-node", "2", "--time", "30", "--launch-dir", self.launches)
        words += ("--", "train", folder / "config.py", "--run-dir", self.run_dir)
        code, out, errors = command("launch", "slurm", *words)
        assert code == 0, errors
        self.job = out.split()[3].rstrip(";")

    def verb(self, verb):
        code, out, errors = command("launch", verb, self.name, "--launch-dir", self.launches)
        assert code == 0, errors
        return out

    def output(self):
        path = self.launches / self.name / f"{self.job}.txt"
        return path.read_text() if path.exists() else ""

    def words(self):
        return self.verb("status") + self.output()

    def lines(self):
        """Of the log, which a restart cuts to what was saved."""
        log = self.run_dir / "metrics.jsonl"
        return log.read_text().count("\n") if log.exists() else 0

    def wait_for_lines(self, count):
        until(lambda: self.lines() >= count, PATIENCE, self.words)

    def wait_for_end(self):
        until(lambda: "exit code" in self.verb("status"), PATIENCE, self.words)
        return self.verb("status")


def test_a_job_that_is_queued_again_ends_as_if_it_had_not_been(cluster, folder, whole):
    launch = Launch("two", folder)
    launch.wait_for_lines(2)
    subprocess.run(["scancel", "--signal=TERM", launch.job], check=True)  # as Slurm does before the time is over
    until(lambda: "after 1 restarts" in launch.verb("status"), PATIENCE, launch.words)
    launch.wait_for_lines(launch.lines() + 2)
    subprocess.run(["scontrol", "requeue", launch.job], check=True)  # as Slurm does for a job of a higher priority
    assert launch.wait_for_end() == f"two job {launch.job} COMPLETED on {HOST} after 2 restarts exit code 0\n"
    said = launch.verb("logs")
    assert said.splitlines() == launch.output().splitlines()
    assert "signal 15: saved at step" in said and "test (" in said
    assert_same_runs(launch.run_dir, whole)


@pytest.mark.parametrize("way", ["stop", "scancel"])
def test_a_job_that_is_ended_saves_first_and_does_not_return(way, cluster, folder):
    launch = Launch(way, folder)
    launch.wait_for_lines(2)
    if way == "stop":
        assert "is told to end" in launch.verb("stop")
    else:
        subprocess.run(["scancel", launch.job], check=True)
    assert ("FAILED" if way == "stop" else "CANCELLED") in launch.wait_for_end()
    assert "signal 15: saved at step" in launch.output()
    assert 0 < max(leaves_of(launch.run_dir)) < STEPS
    assert sys.executable in (Path(launch.launches) / way / "job.sh").read_text()


def test_of_an_array_only_the_task_that_was_told_to_end_is_queued_again(cluster, tmp_path):
    (tmp_path / "task.py").write_text(
        "import os, sys\n"
        "print('task', sys.argv[1], 'restart', os.environ.get('SLURM_RESTART_COUNT', 0), flush=True)\n"
        "sys.exit(143 if sys.argv[1] == '1' and 'SLURM_RESTART_COUNT' not in os.environ else 0)\n"
    )
    words = ("--name", "tasks", "--array", "0-2", "--launch-dir", tmp_path / "launches", "--wait")
    code, out, errors = command("launch", "slurm", *words, "--", tmp_path / "task.py", "{index}")
    lines = {line for line in out.splitlines() if "] task" in line}
    assert code == 0, out + errors
    assert lines == {f"[{task}] task {task} restart {restart}" for task, restart in ((0, 0), (1, 0), (1, 1), (2, 0))}


SWEEP = """
from jaxnets import Data, Experiment, Loop
from jaxnets.models import MLP
from jaxnets.optim import AdamW
from jaxnets.sweep import Log

experiment = Experiment(
    data=Data(source="wine", batch_size=16), model=MLP(widths=(8,)), optim=AdamW(lr=1e-2),
    loop=Loop(steps=5000, log_every=1000, eval_every=2500, save_every=5000, monitor="nll"),
)
space = {"optim.lr": Log(1e-3, 1e-1)}
"""


def test_an_array_shares_a_sweep_and_a_task_that_is_told_to_end_returns(cluster, tmp_path):
    (tmp_path / "c.py").write_text(SWEEP)
    launches, folder = tmp_path / "launches", tmp_path / "swept"
    words = ("--name", "sweep", "--array", "0-1", "--launch-dir", launches, "--", "sweep", tmp_path / "c.py")
    words += ("--trials", "40", "--searcher", "random", "--form", "queue", "--sweep-dir", folder)
    code, out, errors = command("launch", "slurm", *words)
    assert code == 0, errors
    job = out.split()[3].rstrip(";")

    def said_of_tasks():
        return "".join(path.read_text() for path in (launches / "sweep").glob("*.txt"))

    until(lambda: said_of_tasks().count("a queue on 1 device") == 2, PATIENCE, said_of_tasks)  # both train
    subprocess.run(["scancel", "--signal=TERM", f"{job}_1"], check=True)
    status = ("launch", "status", "sweep", "--launch-dir", launches)
    until(lambda: command(*status)[1].count("COMPLETED") == 2, PATIENCE, lambda: command(*status)[1] + said_of_tasks())
    trials = json.loads((folder / "sweep.json").read_text())["trials"]
    assert [one["number"] for one in trials] == list(range(40)) and {one["state"] for one in trials} == {"complete"}
    assert len(list((folder / "workers").iterdir())) == 3  # two, and the one that returned
    assert "signal 15" in said_of_tasks() and "after 1 restarts" in command(*status)[1]
