"""A job in the queue of Slurm: submitted, looked at, followed, stopped; by Slurm's own commands and by no shell."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxnets.errors import JaxnetsError, UsageError
from jaxnets.files import write_atomically
from jaxnets.launch import record
from jaxnets.launch.record import Record
from jaxnets.launch.slurm import Job, script

PLACE = "slurm"
_POLL = 2.0  # seconds between two looks
_PATIENCE = 120.0  # seconds in which a command of Slurm must answer
_LIVE = {"PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "STAGE_OUT", "SIGNALING"}
_LIVE |= {"REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESIZING", "SPECIAL_EXIT", "RESV_DEL_HOLD"}

_NO_TASK = "4294967294"  # of an array that ended before any of its tasks began


class Task(NamedTuple):
    """How a job stands, or a task of an array."""

    id: str
    state: str  # RUNNING, PENDING, COMPLETED …
    code: int  # exit code, or 128 + signal
    nodes: str = ""
    reason: str = ""  # why it waits
    restarts: int = 0

    @property
    def live(self) -> bool:
        """Whether it waits or runs."""
        return self.state in _LIVE


def submit(job: Job, folder: Path) -> Record:
    """Writes the batch file and hands it to Slurm. Raises UsageError if that cannot be."""
    text = script(job)
    _require("sbatch", "submits the job")
    _check_free(job.name, folder)
    _check_files(job)
    path = Path(job.folder) / "job.sh"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode())
    done = _call(submission(job))
    number = re.match(r"\d+", done.stdout)
    if done.returncode or number is None:
        raise UsageError(
            f"sbatch refused {path}: {_said(done)}; change the settings, or ask for what there is by sinfo"
        )
    kept = Record(job.name, PLACE, {"job": number[0], "folder": str(path.parent.resolve())})
    record.save(kept, folder)
    return kept


def submission(job: Job) -> tuple[str, ...]:
    """The words that hand the batch file to Slurm."""
    return ("sbatch", "--parsable", f"{job.folder}/job.sh")


def tasks(launch: Record) -> list[Task]:
    """How a launch stands, one entry for a task of an array; empty if Slurm has forgotten it."""
    number = launch.values["job"]
    _require("scontrol", "knows how a job stands")
    done = _call(("scontrol", "--oneliner", "show", "job", number))
    if done.returncode == 0:
        return [_shown(line) for line in done.stdout.splitlines() if line.strip()]
    if "Invalid job id" not in done.stderr:
        raise JaxnetsError(f"Slurm does not say how job {number} stands: {_said(done)}; the job is not touched by that")
    columns = "--format=JobID,State,ExitCode,NodeList"
    if shutil.which("sacct") is None:
        return []
    done = _call(("sacct", "--noheader", "--parsable2", "--allocations", "--jobs", number, columns))
    return [_accounted(line) for line in done.stdout.splitlines() if line.count("|") == 3]


def follow(launch: Record) -> Iterator[str]:
    """The lines of a launch as they come, those of an array with the task's number before them, until it has ended."""
    at: dict[Path, int] = {}
    while True:
        live = any(task.live for task in tasks(launch))
        for path in _outputs(launch):
            label = f"[{task}] " if (task := path.stem.partition("_")[2]) else ""
            lines, at[path] = _whole_lines(path, at.get(path, 0), last=not live)
            yield from (label + line for line in lines)
        if not live:
            return
        time.sleep(_POLL)


def stop(launch: Record) -> list[Task]:
    """Ends a launch: what runs is told to save and not to be queued again, what waits leaves the queue.

    Returns what it found alive. Raises JaxnetsError if Slurm refuses.
    """
    found = [task for task in tasks(launch) if task.live]
    for task in sorted(found, key=_runs):  # first what waits: else it would begin
        for words in _ending(task):
            done = _call(words)
            if done.returncode:
                raise JaxnetsError(f"{' '.join(words)} failed: {_said(done)}; try again, or use scancel {task.id}")
    return found


def exit_code(found: Sequence[Task]) -> int:
    """Of a launch that has ended: the largest of its tasks, and 1 if one failed in another way or is not known."""
    return max((task.code or int(task.state != "COMPLETED") for task in found), default=1)


def _runs(task: Task) -> bool:
    return task.state == "RUNNING"


def _ending(task: Task) -> Iterator[tuple[str, ...]]:
    if _runs(task):
        yield ("scontrol", "update", f"JobId={task.id}", "Requeue=0")
        yield ("scancel", "--signal=TERM", task.id)  # to the processes alone: a plain scancel leaves no time to save
    else:
        yield ("scancel", task.id)


def _shown(line: str) -> Task:
    """One line of `scontrol --oneliner show job`; the first value of a name counts, as users can write later ones."""
    values: dict[str, str] = {}
    for name, value in re.findall(r"(?:^|\s)([A-Za-z]+)=(\S*)", line):
        values.setdefault(name, value)
    task = values.get("ArrayTaskId", "").partition("%")[0]  # the waiting ones are one line: 4-9%4
    number = values.get("ArrayJobId", values["JobId"])
    if task and task != _NO_TASK:
        number += f"_{task}" if task.isdigit() else f"_[{task}]"
    return Task(
        number,
        values["JobState"],
        _code(values.get("ExitCode", "0:0")),
        values.get("NodeList", "").replace("(null)", ""),
        values.get("Reason", "").replace("None", ""),
        int(values.get("Restarts", "0")),
    )


def _accounted(line: str) -> Task:
    number, state, code, nodes = line.split("|")
    return Task(number, state.split()[0], _code(code), nodes)  # "CANCELLED by 1000"


def _code(text: str) -> int:
    """`exit:signal` as one number.

    >>> _code("3:0"), _code("0:15")
    (3, 143)
    """
    code, _, number = text.partition(":")
    return 128 + int(number) if number not in ("", "0") else int(code)


def _check_free(name: str, folder: Path) -> None:
    """A name can be used again once its launch has ended."""
    if not (folder / f"{name}.json").exists():
        return
    known = record.load(name, folder)
    if known.place != PLACE:
        raise UsageError(f"{name} is a launch of {known.place}; give another --name")
    if live := [task for task in tasks(known) if task.live]:
        raise UsageError(
            f"{name} is job {known.values['job']}, which is {live[0].state}; give another --name, "
            f"or end it first: jaxnets launch stop {name}"
        )


def _check_files(job: Job) -> None:
    """What waits in a queue for hours must not fail for a file that is not there."""
    config = next((word for word in job.program if word.endswith(".py")), None)
    for path in filter(None, (config, job.setup)):
        if not Path(path).is_file():
            raise UsageError(f"{path} is no file; give the path of one that the nodes see as well")


def _outputs(launch: Record) -> list[Path]:
    """One file, or one for each task of an array that has begun."""
    folder, number = Path(launch.values["folder"]), launch.values["job"]
    return sorted((*folder.glob(f"{number}.txt"), *folder.glob(f"{number}_*.txt")))


def _whole_lines(path: Path, at: int, *, last: bool) -> tuple[list[str], int]:
    """The lines that were written since, and the place after them; a line's beginning only if it is the `last` look."""
    with open(path, "rb") as file:
        file.seek(at)
        found = file.read()
    end = len(found) if last else found.rfind(b"\n") + 1
    return found[:end].decode(errors="replace").splitlines(), at + end


def _require(command: str, purpose: str) -> None:
    if shutil.which(command) is None:
        raise UsageError(
            f"{command} {purpose} and is not on PATH; run this on a login node of the cluster "
            "(jaxnets launch slurm --dry-run prints the batch file anywhere)"
        )


def _call(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired as error:
        raise JaxnetsError(f"{words[0]} did not answer in {_PATIENCE:g} s; try again once Slurm does") from error


def _said(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
