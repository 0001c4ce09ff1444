"""Real processes over gloo on one machine: the same run as one process, and every restart from what all have saved."""

import json

import pytest
from small import CONFIG, command, leaves_of, log_of

from jaxnets import distributed
from jaxnets.errors import UsageError


def train(folder, run_dir, *, processes):
    place = ("launch", "local", "--processes", processes, "--") if processes > 1 else ()
    code, out, errors = command(*place, "train", folder / "config.py", "--run-dir", run_dir, JAX_PLATFORMS="cpu")
    assert code == 0, out + errors


def test_two_processes_give_the_run_of_one(tmp_path):
    (tmp_path / "config.py").write_text(CONFIG.replace("steps=1000", "steps=40"))
    for processes in (1, 2):
        train(tmp_path, tmp_path / str(processes), processes=processes)
    one, two = log_of(tmp_path / "1"), log_of(tmp_path / "2")
    assert [line["step"] for line in one] == [line["step"] for line in two]
    for a, b in zip(one, two, strict=True):
        for split in {"train", "valid"} & a.keys():
            assert b[split] == pytest.approx(a[split], rel=1e-5)  # float32 sums in another order
    steps = [leaves_of(tmp_path / str(processes)).keys() for processes in (1, 2)]
    assert steps[0] == steps[1] and steps[0]
    tested = [json.loads((tmp_path / str(n) / "result.json").read_text())["test"] for n in (1, 2)]
    assert tested[1] == pytest.approx(tested[0], rel=1e-4)


@pytest.mark.parametrize(
    "words",
    [("h:1", None, 0), (None, 2, None), ("h", 2, 0), ("h:x", 2, 0), ("h:1", 2, 2), ("h:1", 0, 0)],
)
def test_places_that_are_not_whole_are_refused(words):
    with pytest.raises(UsageError):
        distributed.given(*words)


def test_nothing_is_started_where_nothing_says_so():
    alone = [{}, {"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, {"OMPI_COMM_WORLD_SIZE": "1"}]
    step = {"SLURM_STEP_NODELIST": "n1", "SLURM_PROCID": "0", "SLURM_NTASKS": "4"}
    alone += [step | {"SLURM_STEP_NUM_TASKS": "1"}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}]
    assert [distributed.find(environ) for environ in alone] == [None] * len(alone)
    assert distributed.find(step).found == "Slurm"
    assert distributed.find({"KUBERNETES_SERVICE_HOST": "h", "JOB_COMPLETION_INDEX": "1"}).found == "Kubernetes"
    with pytest.raises(UsageError, match="JAX_COORDINATOR_ADDRESS"):
        distributed.find({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"})
