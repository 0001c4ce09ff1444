"""The batch file of a Slurm job: what the user asks for, as text that `sbatch` takes.

Nothing that a user types is run by a shell: settings must match a pattern, and the words of the program are quoted. The
one exception says so: `setup` is a file of shell commands.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import NamedTuple

from jaxnets.errors import UsageError
from jaxnets.launch.program import is_sweep, words
from jaxnets.launch.record import check_name
from jaxnets.launch.settings import check_form, check_least, check_python

INDEX = "{index}"  # in the words of a program: the number of a task of an array
_SAVING = 120  # seconds before its time ends in which a run may save
_SHORTEST = 300  # seconds
_NUMBERS = "nodes", "ntasks_per_node", "cpus_per_task"
_NAME = r"[\w.-]+"
_RANGE = r"\d+(-\d+(:\d+)?)?"
_ALLOWED = {  # setting: (pattern, an example)
    "gpus_per_node": (r"([\w.-]+:)?[1-9]\d*", "4 or a100:4"),
    "time": (r"\d+(:[0-5]\d){0,2}|\d+-\d+(:[0-5]\d){0,2}", "30 (minutes), 8:00:00 or 2-12 (days-hours)"),
    "partition": (rf"{_NAME}(,{_NAME})*", "gpu or gpu,long"),
    "account": (_NAME, "vision"),
    "qos": (_NAME, "normal"),
    "mem": (r"\d+[KMGT]?", "64G"),
    "constraint": (r"[\w.&|*,:()\[\]-]+", "a100 or a100&nvlink"),
    "array": (rf"{_RANGE}(,{_RANGE})*(%[1-9]\d*)?", "0-9 or 0-9%4 (4 at a time)"),
    "folder": (r"[\w./@+=][\w./@+=-]*", "launches: letters, digits and . / _ @ + = -"),
}


class Job(NamedTuple):
    """One launch on Slurm; names and values of its settings are those of `sbatch`, None is what the cluster sets."""

    name: str
    program: tuple[str, ...]
    python: str
    folder: str  # for what the job says; relative to the one in which sbatch is called
    setup: str | None = None  # path of a file of shell commands that are run before the program
    retries: int = 3  # restarts at most after the job was told to end
    nodes: int = 1
    ntasks_per_node: int | None = None  # processes; None is one for each GPU
    cpus_per_task: int | None = None
    gpus_per_node: str | None = None
    mem: str | None = None  # of a node
    time: str | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    array: str | None = None


def script(job: Job) -> str:
    """The batch file. A run that is told to end saves and exits with 143: the job is queued again, `retries` times.

    Raises UsageError if a setting is not allowed.

    >>> job = Job("vit", ("train", "c.py"), "python3", "launches/vit", time="8:00:00")
    >>> print(script(job))  # doctest: +ELLIPSIS
    #!/bin/bash
    #SBATCH --job-name=vit
    ...
    #SBATCH --time=8:00:00
    ...
    srun --kill-on-bad-exit=1 python3 -m jaxnets.cli train c.py
    ...
    """
    _check(job)
    settings = [f"#SBATCH --{name}={value}" for name, value in _settings(job)]
    return "\n".join(["#!/bin/bash", *settings, "#SBATCH --requeue", "", *_commands(job), ""])


def tasks_per_node(job: Job) -> int:
    """The processes of a node; a worker of a sweep takes all GPUs of it."""
    return job.ntasks_per_node or (not is_sweep(job.program) and gpus(job)) or 1


def gpus(job: Job) -> int:
    """The GPUs of a node that the job asks for."""
    return int(job.gpus_per_node.rpartition(":")[2]) if job.gpus_per_node else 0


def _settings(job: Job) -> Iterator[tuple[str, str | int]]:
    yield "job-name", job.name
    yield "nodes", job.nodes
    yield "ntasks-per-node", tasks_per_node(job)
    optional = ("cpus_per_task", "gpus_per_node", "mem", "time", "partition", "account", "qos", "constraint", "array")
    for name in optional:
        if (value := getattr(job, name)) is not None:
            yield name.replace("_", "-"), value
    yield "output", f"{job.folder}/{'%A_%a' if job.array else '%j'}.txt"
    yield "open-mode", "append"  # a restart has the same number
    yield "signal", f"TERM@{_SAVING}"  # to the processes, not to the shell of this file


def _commands(job: Job) -> Iterator[str]:
    if job.setup is not None:
        yield f". {shlex.quote(job.setup)}"
    yield "export PYTHONUNBUFFERED=1"
    sweep, several = is_sweep(job.program), tasks_per_node(job) == 1 and gpus(job) > 1
    if several and job.nodes > 1 and not sweep:  # jax would take one device for a process
        yield f"export JAX_LOCAL_DEVICE_IDS={','.join(map(str, range(gpus(job))))}"
    cpus = f"--cpus-per-task={job.cpus_per_task} " if job.cpus_per_task else ""  # srun does not take it from sbatch
    program = " ".join(
        _quoted(word, job.array) for word in words(job.program, python=job.python, joined=False, repeats=True)
    )
    yield f"srun --kill-on-bad-exit={int(not sweep)} {cpus}{program}"
    yield "code=$?"
    task = "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}" if job.array else "$SLURM_JOB_ID"
    yield f'if [ "$code" -eq 143 ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {job.retries} ]; then'
    yield f'    scontrol requeue "{task}"'
    yield "fi"
    yield 'exit "$code"'


def _quoted(word: str, array: str | None) -> str:
    """A word that bash takes as it is, but for the number of the task in an array.

    >>> print(_quoted("runs/$(id)/{index}", "0-9"))
    'runs/$(id)/'"$SLURM_ARRAY_TASK_ID"
    """
    parts = word.split(INDEX) if array else [word]
    return '"$SLURM_ARRAY_TASK_ID"'.join(shlex.quote(part) if part or len(parts) == 1 else "" for part in parts)


def _check(job: Job) -> None:
    check_name(job.name)
    for name in _NUMBERS:
        check_least(_option(name), getattr(job, name), least=1)
    check_least("--retries", job.retries, least=0)
    for name, (pattern, example) in _ALLOWED.items():
        check_form(_option(name), getattr(job, name), pattern, f"something like {example}")
    if job.time is not None and _seconds(job.time) < _SHORTEST:
        raise UsageError(
            f"--time {job.time} is {_seconds(job.time)} s, of which a run has the last {_SAVING} s to save; "
            f"give {_SHORTEST // 60} minutes or more"
        )
    _check_processes(job)
    _check_words(job)


def _check_processes(job: Job) -> None:
    if is_sweep(job.program):
        _check_sweep(job)
    if gpus(job) and tasks_per_node(job) not in (1, gpus(job)):
        raise UsageError(
            f"--ntasks-per-node {tasks_per_node(job)} does not fit --gpus-per-node {job.gpus_per_node}: "
            f"a process takes one GPU or all of them; give {gpus(job)} or 1"
        )


def _check_sweep(job: Job) -> None:
    """What holds for workers: as many as there are tasks, each of which may begin again at any time."""
    if gpus(job) and tasks_per_node(job) > 1:
        raise UsageError(
            f"--ntasks-per-node {job.ntasks_per_node} of a sweep is not allowed with --gpus-per-node "
            f"{job.gpus_per_node}: one worker takes all GPUs of its node; leave it out, and give --array"
        )
    if job.array is not None and job.array.isdigit():
        raise UsageError(
            f"--array {job.array} is one task, of that number; for {job.array} workers give --array "
            f"0-{max(0, int(job.array) - 1)}"
        )


def _check_words(job: Job) -> None:
    for word in (*job.program, job.python, job.setup or ""):
        if any(ord(letter) < 32 or ord(letter) == 127 for letter in word):
            raise UsageError(f"{word!r} holds a line end or another control character; leave it out")
    check_python(job.python, place="nodes")
    if job.array and job.program[:1] == ("train",) and not any(INDEX in word for word in job.program):
        raise UsageError(
            f"--array {job.array} needs a run for each task; write {INDEX} where its number belongs, "
            f"as in --run-dir runs/{job.name}-{INDEX}"
        )


def _option(name: str) -> str:
    return "--launch-dir" if name == "folder" else f"--{name.replace('_', '-')}"


def _seconds(time: str) -> int:
    """How long a time limit of Slurm is.

    >>> [_seconds(time) for time in ("30", "30:05", "1:00:00", "1-2", "1-2:30")]
    [1800, 1805, 3600, 93600, 95400]
    """
    days, hyphen, clock = time.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    if hyphen or len(parts) == 3:
        hours, minutes, seconds = (*parts, 0, 0)[:3]
    else:
        hours, (minutes, seconds) = 0, (*parts, 0)[:2]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds
