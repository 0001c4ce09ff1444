"""A launch on Slurm from its submission to its end, with stand-ins for Slurm's commands that keep state."""

import json
import sys
from pathlib import Path

import pytest

from jaxnets import cli
from jaxnets.launch import slurm_queue

STANDIN = Path(__file__).with_name("slurm_standin.py")


class Slurm:
    """The stand-ins' folder: what they were told, and what they will say."""

    def __init__(self, home):
        self.home = home

    @property
    def calls(self):
        """What was called since the last look, but for looks at the queue."""
        path = self.home / "calls"
        calls = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("")
        return [call for call in calls if "show" not in call]

    def set(self, number, state):
        path = self.home / "jobs.json"
        jobs = json.loads(path.read_text())
        jobs[number] = state if isinstance(state, list) else jobs[number] | state
        path.write_text(json.dumps(jobs))


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    home = tmp_path / "bin"
    home.mkdir()
    for name in ("sbatch", "scontrol", "scancel", "sacct"):
        (home / name).write_text(f"#!{sys.executable} -SE\n{STANDIN.read_text()}")
        (home / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{home}:/usr/bin:/bin")
    monkeypatch.setenv("SLURM_STANDIN", str(home))
    monkeypatch.setattr(slurm_queue, "_POLL", 0.01)
    (tmp_path / "c.py").touch()
    monkeypatch.chdir(tmp_path)
    return Slurm(home)


LAUNCH = ("launch", "slurm", "--name", "vit")


@pytest.fixture
def jaxnets(capsys):
    """One command: (exit code, stdout, stderr)."""

    def run(*words):
        return cli.main([*words]), *capsys.readouterr()

    return run


def test_a_launch_from_submission_to_stop(slurm, jaxnets, tmp_path):
    code, out, _ = jaxnets(*LAUNCH, "--time", "30", "--", "train", "c.py")
    assert code == 0 and "vit is job 1" in out
    assert slurm.calls == [["sbatch", "--parsable", "launches/vit/job.sh"]]
    printed = jaxnets(*LAUNCH, "--time", "30", "--dry-run", "--", "train", "c.py")[1]
    assert printed == (tmp_path / "launches/vit/job.sh").read_text() + (
        "# submitted by: sbatch --parsable launches/vit/job.sh\n"
    )
    assert jaxnets("launch", "status", "vit")[1] == "vit job 1 PENDING (Priority)\n"
    code, _, errors = jaxnets(*LAUNCH, "--", "train", "c.py")
    assert code == 2 and "vit is job 1, which is PENDING" in errors and slurm.calls == []

    slurm.set("1", {"JobState": "RUNNING", "NodeList": "node[1-2]", "Restarts": "2", "Reason": "None"})
    assert jaxnets("launch", "status", "vit")[1] == "vit job 1 RUNNING on node[1-2] after 2 restarts\n"
    assert "was RUNNING and is told to end" in jaxnets("launch", "stop", "vit")[1]
    assert slurm.calls == [["scontrol", "update", "JobId=1", "Requeue=0"], ["scancel", "--signal=TERM", "1"]]
    assert "FAILED on node[1-2] after 2 restarts exit code 143" in jaxnets("launch", "status", "vit")[1]
    assert "has ended already" in jaxnets("launch", "stop", "vit")[1] and slurm.calls == []
    assert jaxnets(*LAUNCH, "--", "train", "c.py")[1].startswith("vit is job 2")  # the name is free again


@pytest.mark.parametrize(
    ("state", "code", "expected"),
    [("COMPLETED", "0:0", 0), ("FAILED", "3:0", 3), ("TIMEOUT", "0:15", 143), ("CANCELLED", "0:0", 1)],
)
def test_wait_prints_the_lines_and_takes_over_the_exit_code(state, code, expected, slurm, jaxnets, tmp_path):
    later = [{"JobState": "RUNNING"}, {"JobState": "PENDING", "Restarts": "1"}, {"JobState": "RUNNING"}]
    later += [{"JobState": state, "ExitCode": code}]
    (tmp_path / "launches/vit").mkdir(parents=True)
    (tmp_path / "launches/vit/1.txt").write_text("step 10\nhalf a li")
    (slurm.home / "jobs.json").write_text("{}")
    given = slurm_queue.submit

    def submit(*words):
        launch = given(*words)
        slurm.set("1", {"later": later})
        return launch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slurm_queue, "submit", submit)
        found, out, _ = jaxnets(*LAUNCH, "--wait", "--", "train", "c.py")
    assert found == expected and out.splitlines()[1:] == ["step 10", "half a li"]


def test_lines_come_once_and_whole(slurm, jaxnets, tmp_path):
    jaxnets(*LAUNCH, "--", "train", "c.py")
    slurm.set("1", {"JobState": "RUNNING"})
    output = tmp_path / "launches/vit/1.txt"
    output.write_text("one\ntw")
    lines = slurm_queue.follow(slurm_queue.record.load("vit"))
    assert next(lines) == "one"
    output.write_text("one\ntwo\nthr")
    assert next(lines) == "two"
    slurm.set("1", {"JobState": "COMPLETED"})
    assert list(lines) == ["thr"]


def test_an_array_is_shown_and_stopped_task_by_task(slurm, jaxnets, tmp_path):
    jaxnets(*LAUNCH, "--array", "0-9%2", "--", "train", "c.py", "--run-dir", "runs/{index}")
    shared = {"ArrayJobId": "1", "ExitCode": "0:0", "Requeue": "1"}
    tasks = [("3", "RUNNING"), ("4-9%2", "PENDING"), ("0", "COMPLETED"), ("4294967294", "CANCELLED")]
    slurm.set("1", [shared | {"ArrayTaskId": task, "JobState": state} for task, state in tasks])
    assert jaxnets("launch", "status", "vit")[1].splitlines() == [
        "vit job 1_3 RUNNING", "vit job 1_[4-9] PENDING", "vit job 1_0 COMPLETED exit code 0",
        "vit job 1 CANCELLED exit code 0",
    ]  # fmt: skip
    _ = slurm.calls
    jaxnets("launch", "stop", "vit")
    assert slurm.calls == [
        ["scancel", "1_[4-9]"], ["scontrol", "update", "JobId=1_3", "Requeue=0"], ["scancel", "--signal=TERM", "1_3"],
    ]  # fmt: skip
    for task in ("0", "3"):
        (tmp_path / f"launches/vit/1_{task}.txt").write_text(f"task {task}\n")
    assert jaxnets("launch", "logs", "vit")[1].splitlines() == ["[0] task 0", "[3] task 3"]


def test_what_slurm_has_forgotten_is_in_its_accounts_or_gone(slurm, jaxnets):
    jaxnets(*LAUNCH, "--", "train", "c.py")
    (slurm.home / "jobs.json").write_text("{}")
    code, out, _ = jaxnets("launch", "status", "vit")
    assert code == 0 and "Slurm has forgotten it" in out
    (slurm.home / "accounts").write_text("1|CANCELLED by 1000|0:15|node1\n")
    assert jaxnets("launch", "status", "vit")[1] == "vit job 1 CANCELLED on node1 exit code 143\n"


def test_what_cannot_be_submitted_is_refused_and_leaves_no_record(slurm, jaxnets, tmp_path, monkeypatch):
    code, _, errors = jaxnets(*LAUNCH, "--", "train", "none.py")
    assert code == 2 and "none.py is no file" in errors
    code, _, errors = jaxnets(*LAUNCH, "--setup", "none.sh", "--", "train", "c.py")
    assert code == 2 and "none.sh is no file" in errors
    (slurm.home / "refuse").touch()
    code, _, errors = jaxnets(*LAUNCH, "--", "train", "c.py")
    assert code == 2 and "Batch job submission failed" in errors
    monkeypatch.setenv("PATH", "/nowhere")
    code, _, errors = jaxnets(*LAUNCH, "--", "train", "c.py")
    assert code == 2 and "sbatch submits the job and is not on PATH" in errors
    assert not list((tmp_path / "launches").glob("*.json"))


def test_a_name_of_another_place_and_a_silent_slurm_are_told(slurm, jaxnets):
    slurm_queue.record.save(slurm_queue.Record("vit", "gke", {}))
    code, _, errors = jaxnets(*LAUNCH, "--", "train", "c.py")
    assert code == 2 and "vit is a launch of gke" in errors
    slurm_queue.record.save(slurm_queue.Record("vit", "slurm", {"job": "1", "folder": "x"}))
    (slurm.home / "down").touch()
    code, _, errors = jaxnets("launch", "status", "vit")
    assert code == 1 and "Unable to contact slurm controller" in errors


def test_an_array_of_workers_is_submitted_and_looked_at(slurm, jaxnets, tmp_path):
    sweep = ("--array", "0-3", "--", "sweep", "c.py", "--trials", "90", "--name", "s")
    assert jaxnets(*LAUNCH, *sweep)[0] == 0
    assert "jaxnets.cli sweep c.py --trials 90 --name s" in (tmp_path / "launches/vit/job.sh").read_text()
    assert slurm.calls == [["sbatch", "--parsable", "launches/vit/job.sh"]]
    shared = {"Restarts": "0", "ArrayJobId": "1"}
    running = shared | {"JobState": "RUNNING", "ExitCode": "0:0", "ArrayTaskId": "0"}
    slurm.set("1", [running, shared | {"JobState": "PENDING", "ExitCode": "0:0", "ArrayTaskId": "1-3"}])
    out = jaxnets("launch", "status", "vit")[1]
    assert "vit job 1_0 RUNNING" in out and "vit job 1_[1-3] PENDING" in out
