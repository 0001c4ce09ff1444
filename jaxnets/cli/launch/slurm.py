"""`jaxnets launch slurm`."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jaxnets.cli.command import Parser
from jaxnets.cli.launch.place import Place, Verbs
from jaxnets.launch import record
from jaxnets.launch.record import Record

if TYPE_CHECKING:
    from jaxnets.launch.slurm import Job

_SETTINGS = {  # those of sbatch that have no type of their own: (what stands for the value, words)
    "gpus-per-node": ("G", "4 or a100:4"),
    "mem": ("SIZE", "of a node"),
    "time": ("LIMIT", "as in 8:00:00; a run saves 2 minutes before and is queued again"),
    "partition": ("NAME", None),
    "account": ("NAME", None),
    "qos": ("NAME", None),
    "constraint": ("FEATURES", None),
    "array": ("TASKS", "as in 0-9%%4; {index} in the program is the number of a task"),
}


def _options(slurm: Parser) -> None:
    slurm.add_argument("--name", required=True, help="of the launch and of the job")
    slurm.add_argument("--nodes", type=int, default=1, metavar="N")
    slurm.add_argument("--ntasks-per-node", type=int, metavar="P", help="processes (default: one for each GPU, or one)")
    slurm.add_argument("--cpus-per-task", type=int, metavar="C")
    for name, (value, words) in _SETTINGS.items():
        slurm.add_argument(f"--{name}", metavar=value, help=words)
    slurm.add_argument(
        "--retries", type=int, default=3, metavar="N", help="restarts at most after it was told to end (default: 3)"
    )
    slurm.add_argument("--python", default=sys.executable, help="of the nodes (default: this one)")
    slurm.add_argument("--setup", metavar="FILE", help="shell commands to run before the program, as module load")
    slurm.add_argument("--launch-dir", type=Path, default=record.FOLDER, help="where launches are kept")
    slurm.add_argument("--wait", action="store_true", help="print what it says until it ends, with its exit code")
    slurm.add_argument("--dry-run", action="store_true", help="print the batch file and how it is submitted")


def _job(given: argparse.Namespace) -> Job:
    from jaxnets.launch.slurm import Job

    values = vars(given)
    same = {name: values[name] for name in Job._fields if name in values}
    return Job(**same | {"program": tuple(given.program), "folder": str(given.launch_dir / given.name)})


def _run(given: argparse.Namespace) -> int:
    from jaxnets.launch import slurm, slurm_queue

    job = _job(given)
    if given.dry_run:
        print(slurm.script(job), f"# submitted by: {shlex.join(slurm_queue.submission(job))}", sep="")
        return 0
    launch = slurm_queue.submit(job, given.launch_dir)
    print(f"{launch.name} is job {launch.values['job']}; what it says goes to {job.folder}")
    return _wait(launch) if given.wait else 0


def _wait(launch: Record) -> int:
    from jaxnets.launch import slurm_queue

    try:
        _logs(launch)
    except KeyboardInterrupt:
        print(f"\n{launch.name} goes on; to end it: jaxnets launch stop {launch.name}", file=sys.stderr)
        return 130
    return slurm_queue.exit_code(slurm_queue.tasks(launch))


def _status(launch: Record) -> int:
    from jaxnets.launch import slurm_queue

    found = slurm_queue.tasks(launch)
    for task in found:
        words = [f"on {task.nodes}" if task.nodes else "", f"({task.reason})" if task.reason else ""]
        words += [f"after {task.restarts} restarts" if task.restarts else ""]
        words += ["" if task.live else f"exit code {task.code}"]
        print(" ".join(filter(None, (launch.name, f"job {task.id}", task.state, *words))))
    if not found:
        print(f"{launch.name} job {launch.values['job']} has ended and Slurm has forgotten it; see jaxnets launch logs")
    return 0


def _logs(launch: Record) -> int:
    from jaxnets.launch import slurm_queue

    for line in slurm_queue.follow(launch):
        print(line, flush=True)
    return 0


def _stop(launch: Record) -> int:
    from jaxnets.launch import slurm_queue

    found = slurm_queue.stop(launch)
    for task in found:
        print(f"{launch.name} job {task.id} was {task.state} and is told to end")
    if not found:
        print(f"{launch.name} job {launch.values['job']} has ended already")
    return 0


PLACE = Place("slurm", "a job of a Slurm cluster", _options, _run, Verbs(_status, _logs, _stop))
