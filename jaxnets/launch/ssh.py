"""One process on each of a list of hosts that can be reached by ssh without a password.

A host runs a small script of ours under `sh`; what a user types comes to it as arguments, quoted, and is run by no
shell. The script hands signals on that come as lines on its stdin, and ends the program when its stdin ends: so nothing
goes on when the connection or the launcher is gone. Hosts need Linux's `setsid` and `flock`, and `tar`.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from jaxnets.errors import JaxnetsError, UsageError
from jaxnets.launch import membership
from jaxnets.launch import program as programs
from jaxnets.launch.processes import Command, run, run_apart
from jaxnets.launch.settings import check_least, check_python

_HOST = re.compile(r"(?:[A-Za-z_][\w.-]*@)?([A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::([1-9]\d{0,4}))?", re.ASCII)
_SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20", "-o", "ServerAliveInterval=15")
_VENV = ".venv/bin/python"  # in the folder; made by _PREPARE

# Arguments: folder, commit, and what pip installs beside the code; stdin: the archive. Hosts may share their homes, so
# one of them works at a time, and nothing is done twice. Files of an older commit go, what a run has left stays.
_PREPARE = """
set -e
mkdir -p -- "$1"
cd -- "$1"
shift
exec 9> .launch.lock
flock 9
wanted=$*
if [ "$wanted" = "$(cat .launch 2> /dev/null)" ]; then
    cat > /dev/null
    exit
fi
rm -f .launch
if [ -e .launch.files ]; then
    while IFS= read -r file; do [ -d "$file" ] || rm -f -- "$file"; done < .launch.files
fi
tar -xzvf - > .launch.files
shift
if [ "$1" = venv ]; then
    shift
    [ -x .venv/bin/python ] || python3 -m venv .venv
    [ ! -e pyproject.toml ] || set -- -e . "$@"
    [ "$#" = 0 ] || .venv/bin/python -m pip install -q "$@"
fi
printf '%s\\n' "$wanted" > .launch
"""

# Arguments: folder, and the words of the program; stdin: names of signals.
_RUN = """
cd -- "$1" || exit 1
shift
exec 3<&0
trap : INT TERM
{
    trap '' INT TERM
    while read -r name; do kill -s "$name" 0; done
    kill -s KILL 0
} <&3 > /dev/null 2>&1 &
"$@" < /dev/null 3<&-
code=$?
exit "$code"
"""


class Job(NamedTuple):
    """One launch."""

    hosts: tuple[str, ...]  # [USER@]HOST[:PORT]
    program: tuple[str, ...]
    folder: str  # where it runs, on every host
    commit: str | None = None  # of the code to copy there; None: what the folder holds
    install: tuple[str, ...] = ()  # for pip, beside the code
    python: str | None = None  # None: one that is made for the code
    coordinator: str | None = None  # HOST:PORT of the first host, as the others see it
    devices_per_process: int | None = None
    variables: dict[str, str] = {}  # noqa: RUF012


def hosts(text: str) -> tuple[str, ...]:
    """A list of hosts, by commas, spaces or lines, # begins a comment. Raises UsageError if one is none.

    >>> hosts("node1, ann@node2:2222 # the new one")
    ('node1', 'ann@node2:2222')
    """
    found = [host for line in text.splitlines() for host in line.partition("#")[0].replace(",", " ").split()]
    for host in found:
        if not (match := _HOST.fullmatch(host)) or int(match[2] or 1) > 65535:
            raise UsageError(f"{host!r} is no host; give HOST, USER@HOST or USER@HOST:PORT")
    if len(set(found)) < len(found):
        twice = next(host for host in found if found.count(host) > 1)
        raise UsageError(f"{twice} is there twice; a host runs one process with all its devices")
    if not found:
        raise UsageError("there is no host; give --hosts a,b or --hosts-file FILE with one on each line")
    return tuple(found)


def preparations(job: Job) -> list[Command]:
    """What brings the code to each host, with the archive as stdin; none where it is there already."""
    if job.commit is None:
        return []
    words = (job.folder, job.commit, *(("venv", *job.install) if job.python is None else ()))
    return [Command(_ssh(host, ("sh", "-c", _PREPARE, "sh", *words)), {}, host) for host in job.hosts]


def commands(job: Job) -> list[Command]:
    """The process of each host, in order of their index.

    >>> job = Job(("a", "ann@b:22"), ("train", "c.py"), "code", python="python3")
    >>> [command.words[:-1] for command in commands(job)][1][-4:]
    ('-p', '22', '--', 'ann@b')
    >>> commands(job)[1].words[-1].endswith("train c.py --coordinator a:8476 --processes 2 --index 1")
    True

    Raises UsageError if the program is none that can be launched.
    """
    _check(job)
    return [_command(job, index) for index in range(len(job.hosts))]


def _command(job: Job, index: int) -> Command:
    python = job.python or (_VENV if job.commit else "python3")
    first = _HOST.fullmatch(job.hosts[0])
    assert first is not None
    coordinator = job.coordinator or f"{first[1]}:{membership.PORT}"
    member = membership.of(job.program, coordinator=coordinator, count=len(job.hosts), index=index)
    variables = {"PYTHONUNBUFFERED": "1"} | _devices(job) | member.variables | job.variables
    words = ("env", *(f"{name}={value}" for name, value in variables.items()))
    words += (*programs.words(job.program, python=python), *member.words)
    host = job.hosts[index]
    return Command(_ssh(host, ("setsid", "-w", "sh", "-c", _RUN, "sh", job.folder, *words)), {}, host)


def _devices(job: Job) -> dict[str, str]:
    if (count := job.devices_per_process) is None:
        return {}
    return membership.devices(count) | {"JAX_NUM_CPU_DEVICES": str(count)}


def _ssh(host: str, words: Sequence[str]) -> tuple[str, ...]:
    match = _HOST.fullmatch(host)
    assert match is not None
    port = ("-p", match[2]) if match[2] else ()
    return (*_SSH, *port, "--", host.rpartition(":")[0] if match[2] else host, shlex.join(words))


def _check(job: Job) -> None:
    check_least("--devices-per-process", job.devices_per_process, least=1)
    if job.devices_per_process is None and programs.is_script(job.program):
        raise UsageError(
            f"{job.program[0]} is a script, which must be told how many devices it has on a host; "
            "give --devices-per-process D"
        )
    if job.python is not None:
        check_python(job.python, place="hosts")
    if not job.folder or "\n" in job.folder:
        raise UsageError(f"--folder {job.folder!r} is no folder; give the path of one on the hosts")


def launch(job: Job, archive: Path | None) -> int:
    """Brings the code to the hosts and runs the processes to their end, as `jaxnets.launch.processes.run` does, or
    `run_apart` those of a sweep.
    """
    planned = commands(job)
    if archive is not None:
        with ThreadPoolExecutor(max_workers=len(job.hosts)) as pool:
            list(pool.map(lambda command: _prepare(command, archive), preparations(job)))
    return run_apart(planned) if programs.is_sweep(job.program) else run(planned)


def _prepare(command: Command, archive: Path) -> None:
    with open(archive, "rb") as stdin:
        done = subprocess.run(command.words, stdin=stdin, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        said = "".join(f"\n  {line}" for line in (done.stderr + done.stdout).splitlines()[-12:])
        raise JaxnetsError(f"the code could not be brought to {command.host} (exit code {done.returncode}):{said}")
