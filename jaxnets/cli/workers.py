"""The processes of `jaxnets sweep --workers N`: their words, where they run, and what is seen of them."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxnets.cli.command import Settings
from jaxnets.cli.processes import NAMES
from jaxnets.errors import UsageError

_OWN = ("command", "config", "workers", "on", "address", "cpus", "gpus", "retries", "trials", "one_of", *NAMES)
_LOOK_SECONDS = 1.0


def expected(environ: Mapping[str, str]) -> int:
    """How many workers share the sweep, as a Slurm job says: the tasks of its array, times those of its step.

    >>> expected({"SLURM_ARRAY_TASK_COUNT": "4", "SLURM_STEP_NUM_TASKS": "2"}), expected({})
    (8, 1)
    """
    known = (environ.get(name, "") for name in ("SLURM_ARRAY_TASK_COUNT", "SLURM_STEP_NUM_TASKS"))
    array, step = (max(1, int(text)) if text.isdigit() else 1 for text in known)
    return array * step


def check(given: argparse.Namespace) -> None:
    """Raises UsageError if the workers that are asked for cannot be."""
    if given.workers is None:
        raise UsageError("--on ray needs a number of workers; give --workers N")
    for name, value, least in (("workers", given.workers, 1), ("cpus", given.cpus, 0), ("gpus", given.gpus, 0)):
        if value is not None and value < least:
            raise UsageError(f"--{name} {value:g} is not allowed; give {least} or more")
    for name in ("address", "cpus", "gpus"):
        if getattr(given, name) is not None and given.on != "ray":
            raise UsageError(
                f"--{name} is for a Ray cluster; add --on ray, or leave it out: workers of one machine share its cores "
                "and GPUs"
            )


def words(given: argparse.Namespace, settings: Settings, *, trials: int) -> tuple[str, ...]:
    """The command of one worker: as it was given, but for what concerns all of them.

    >>> words(argparse.Namespace(config="c.py", over=["a=1"], quiet=True, lanes=None, workers=2), [], trials=3)
    ('sweep', 'c.py', '--trials=3', '--one-of=2', '--over', 'a=1', '--quiet')
    """
    found = ["sweep", str(given.config), f"--trials={trials}", f"--one-of={given.workers}"]
    for name, value in vars(given).items():
        option = f"--{name.replace('_', '-')}"
        if name in _OWN or value is None or value is False or value == []:
            continue
        if value is True:
            found.append(option)
        elif isinstance(value, list):
            found += [option, *map(str, value)]
        else:
            found.append(f"{option}={value}")
    return (*found, *(f"--{path}={value}" for path, value in settings))


def run(
    given: argparse.Namespace, words: Sequence[str], *, say: Callable[[str], None], look: Callable[[], None]
) -> int:
    """Runs the workers to their end; 0 if the sweep is done then, else the exit code of the first that failed."""
    if given.on == "ray":
        from jaxnets.launch import ray_cluster

        resources = {"cpus": 1.0 if given.cpus is None else given.cpus, "gpus": given.gpus or 0.0}
        how = {"workers": given.workers, "address": given.address, "retries": given.retries, **resources}
        return ray_cluster.run(worker, words, **how, say=say, look=look)
    from jaxnets.launch import processes, shares

    own = shares.of(os.environ, workers=given.workers, cores=shares.cores(), gpus=shares.gpus())
    command = (sys.executable, "-m", "jaxnets.cli", *words)
    commands = [processes.Command(command, one | {"PYTHONUNBUFFERED": "1"}) for one in own]
    return processes.run_apart(commands, say=say, look=look)


def worker(words: list[str], folder: str) -> int:
    """One command in a folder, as a Ray task; its exit code."""
    from jaxnets import cli

    os.chdir(folder)
    return cli.main(words)


class Look:
    """Shows what the workers write, when called and it is new."""

    def __init__(self, path: Path, show: Callable[[dict[str, Any]], None]) -> None:
        self._path, self._show = path, show
        self._looked, self._seen = 0.0, None

    def __call__(self) -> None:
        from jaxnets.files import read_json

        if time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        seen = self._path.stat().st_mtime_ns if self._path.exists() else None
        if seen != self._seen:
            self._seen = seen
            self._show(read_json(self._path))
