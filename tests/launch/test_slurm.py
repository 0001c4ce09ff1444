"""The batch file: what it asks Slurm for, that bash runs nothing a user types, when a job is queued again."""

import os
import subprocess
import sys

import pytest

from jaxnets.errors import UsageError
from jaxnets.launch.slurm import Job, script

PLAIN = Job("vit", ("train", "c.py"), sys.executable, "launches/vit")
SRUN = '#!/bin/bash\nprintf "%s\\0" "$@" > srun.words\necho "$JAX_LOCAL_DEVICE_IDS" > srun.devices\nexit "${CODE:-0}"\n'
SCONTROL = '#!/bin/bash\necho "$@" >> scontrol.calls\n'
HOSTILE = [
    "a; touch bad",
    "$(touch bad)",
    "`touch bad`",
    "' ; touch bad ; '",
    '" && touch bad && "',
    "a\\",
    "*",
    "{a,b}",
    "~",
    "# no comment",
    "<x >bad",
    "%j %a",
    "",
    "größe",
]


@pytest.fixture
def bash(tmp_path, monkeypatch):
    """Runs a batch file where srun and scontrol only keep what they are told: (exit code, words of srun)."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bin").mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)

    def run(job, **variables):
        environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "SLURM_JOB_ID": "7", **variables}
        done = subprocess.run(["bash"], input=script(job), env=environment, capture_output=True, text=True, check=False)
        assert not done.stderr, done.stderr
        return done.returncode, (tmp_path / "srun.words").read_text().split("\0")[:-1]

    return run


def settings(text):
    return dict(line.removeprefix("#SBATCH --").partition("=")[::2] for line in text.splitlines() if "#SBATCH" in line)


def test_every_setting_stands_in_the_head_of_the_file():
    given = {"nodes": 2, "ntasks_per_node": 4, "cpus_per_task": 8, "gpus_per_node": "a100:4", "mem": "64G"}
    given |= {"time": "2-12", "partition": "gpu,long", "account": "vision", "qos": "normal", "constraint": "nvlink&ib"}
    text = script(PLAIN._replace(**given, array="0-9%4", program=("s.py",)))
    found = settings(text)
    assert {name: found.pop(name.replace("_", "-")) for name in given} == {key: str(v) for key, v in given.items()}
    assert found == {
        "job-name": "vit", "array": "0-9%4", "output": "launches/vit/%A_%a.txt", "open-mode": "append",
        "signal": "TERM@120", "requeue": "",
    }  # fmt: skip
    head = text.splitlines()[: len(given) + len(found) + 1]
    assert head[0] == "#!/bin/bash" and all(line.startswith("#SBATCH") for line in head[1:])
    assert settings(script(PLAIN)).keys() == found.keys() - {"array"} | {"nodes", "ntasks-per-node"}


def test_bash_hands_over_the_words_as_they_were_typed(bash, tmp_path):
    (tmp_path / "se tup$(touch bad).sh").write_text("export CODE=5\n")
    job = PLAIN._replace(program=("train", *HOSTILE), python="/opt/py $(touch bad)/python", cpus_per_task=2)
    code, words = bash(job._replace(setup="./se tup$(touch bad).sh"))
    assert words == ["--kill-on-bad-exit=1", "--cpus-per-task=2", job.python, "-m", "jaxnets.cli", "train", *HOSTILE]
    assert code == 5 and not list(tmp_path.glob("**/bad"))


def test_a_task_of_an_array_finds_its_number_in_the_words(bash):
    words = ("s.py", "--run-dir", "runs/$(id)-{index}", "{index}", "{i}")
    job = PLAIN._replace(program=words, array="0-9")
    assert bash(job, SLURM_ARRAY_TASK_ID="7 x*")[1][2:] == ["s.py", "--run-dir", "runs/$(id)-7 x*", "7 x*", "{i}"]
    assert bash(job._replace(array=None), SLURM_ARRAY_TASK_ID="7")[1][-2:] == ["{index}", "{i}"]


@pytest.mark.parametrize(
    ("code", "restarts", "asked"), [(143, None, "7"), (143, 1, "7"), (143, 2, ""), (1, 0, ""), (0, 0, ""), (137, 0, "")]
)
def test_a_run_that_has_saved_is_queued_again_a_bounded_number_of_times(code, restarts, asked, bash, tmp_path):
    again = {} if restarts is None else {"SLURM_RESTART_COUNT": str(restarts)}
    assert bash(PLAIN._replace(retries=2), CODE=str(code), **again)[0] == code
    calls = tmp_path / "scontrol.calls"
    assert (calls.read_text() if calls.exists() else "") == (f"requeue {asked}\n" if asked else "")


def test_of_an_array_only_the_task_itself_is_queued_again(bash, tmp_path):
    job = PLAIN._replace(program=("s.py",), array="0-9")
    bash(job, CODE="143", SLURM_ARRAY_JOB_ID="7", SLURM_ARRAY_TASK_ID="3")
    assert (tmp_path / "scontrol.calls").read_text() == "requeue 7_3\n"


@pytest.mark.parametrize(
    ("sizes", "tasks", "devices"),
    [
        ({"nodes": 2, "gpus_per_node": "4"}, "4", ""),  # jax gives each process the one of its number
        ({"nodes": 2, "gpus_per_node": "a100:4", "ntasks_per_node": 1}, "1", "0,1,2,3"),
        ({"nodes": 1, "gpus_per_node": "4", "ntasks_per_node": 1}, "1", ""),  # one process sees all
        ({"nodes": 3}, "1", ""),
    ],
)
def test_a_process_has_one_gpu_or_all(sizes, tasks, devices, bash, tmp_path):
    job = PLAIN._replace(**sizes)
    bash(job)
    assert settings(script(job))["ntasks-per-node"] == tasks
    assert (tmp_path / "srun.devices").read_text().strip() == devices


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"name": "a; rm -rf"}, "--name 'a; rm -rf' is not allowed"),
        ({"name": "a\n#SBATCH --uid=0"}, "--name"),
        ({"partition": "gpu x"}, "--partition 'gpu x' is not allowed"),
        ({"partition": "gpu\n"}, "--partition"),
        ({"account": "$(id)"}, "--account"),
        ({"qos": "a'b"}, "--qos"),
        ({"constraint": "a b"}, "--constraint"),
        ({"constraint": "gpu#"}, "--constraint"),
        ({"mem": "64GB"}, "--mem '64GB' is not allowed; give something like 64G"),
        ({"time": "8h"}, "--time '8h' is not allowed"),
        ({"time": "1:99"}, "--time"),
        ({"time": "4:59"}, "is 299 s"),
        ({"gpus_per_node": "0"}, "--gpus-per-node"),
        ({"gpus_per_node": "4", "ntasks_per_node": 2}, "give 4 or 1"),
        ({"array": "0-9%0"}, "--array"),
        ({"array": "0-9"}, "write {index} where its number belongs, as in --run-dir runs/vit-{index}"),
        ({"folder": "my launches/vit"}, "--launch-dir"),
        ({"folder": "-x"}, "--launch-dir"),
        ({"folder": "%j"}, "--launch-dir"),
        ({"nodes": 0}, "--nodes 0 is not allowed"),
        ({"retries": -1}, "--retries -1"),
        ({"python": "--jobid=1"}, "--python"),
        ({"python": "py\nthon"}, "line end"),
        ({"setup": "a\nb"}, "line end"),
        ({"program": ("train", "a\nb")}, "line end"),
        ({"program": ("s.py", "a\0b")}, "control character"),
        ({"program": ("tran",)}, "perhaps you meant train"),
        ({"program": ()}, "nothing to launch"),
    ],
    ids=str,
)
def test_what_is_not_allowed_is_refused(given, words):
    with pytest.raises(UsageError) as refused:
        script(PLAIN._replace(**given))
    assert words in str(refused.value)


SWEEP = PLAIN._replace(program=("sweep", "c.py", "--trials", "90", "--name", "s"))


def test_each_task_of_a_sweep_is_a_worker_with_the_same_command(bash):
    job = SWEEP._replace(array="0-3%2", gpus_per_node="4")
    code, words = bash(job, SLURM_ARRAY_JOB_ID="7", SLURM_ARRAY_TASK_ID="3")
    assert code == 0 and words == ["--kill-on-bad-exit=0", sys.executable, "-m", "jaxnets.cli", *job.program]
    assert settings(script(job))["ntasks-per-node"] == "1"  # which takes all GPUs


def test_a_worker_that_was_told_to_end_is_queued_again(bash, tmp_path):
    bash(SWEEP._replace(array="0-3"), CODE="143", SLURM_ARRAY_JOB_ID="7", SLURM_ARRAY_TASK_ID="3")
    assert (tmp_path / "scontrol.calls").read_text() == "requeue 7_3\n"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"program": ("sweep", "c.py", "--trials", "+9")}, "as many would be added again"),
        ({"program": ("sweep", "c.py", "--trials=+9")}, "as many would be added again"),
        ({"array": "8"}, "for 8 workers give --array 0-7"),
        ({"gpus_per_node": "4", "ntasks_per_node": 4}, "one worker takes all GPUs"),
    ],
)
def test_what_workers_cannot_be_is_told(given, words):
    with pytest.raises(UsageError, match=words):
        script(SWEEP._replace(**given))
