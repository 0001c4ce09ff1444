"""A task of SkyPilot, which finds the cheapest machines of many clouds and starts a job again that lost its own.

The two scripts of a task are run by a shell: every word of the user's is quoted. On TPUs jax finds the other processes
by itself; elsewhere they are told their place by what SkyPilot says of the nodes.
"""

from __future__ import annotations

import shlex
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jaxnets.files import write_atomically
from jaxnets.launch import code, manifest, membership, program, record, tool
from jaxnets.launch.record import Record, check_name
from jaxnets.launch.settings import check_form, check_least, check_python

PYTHON = "~/jaxnets_env/bin/python"  # made by the default setup
_ALLOWED = {  # setting: (pattern, an example)
    "accelerators": (r"[A-Za-z][\w.-]*(:[1-9]\d*)?", "H100:8 or tpu-v6e-8"),
    "infra": (r"[\w*][\w*:.@-]*(/[\w*:.@-]+){0,2}", "gcp/us-central1"),
}


class Job(NamedTuple):
    """One managed job; names are those of SkyPilot."""

    name: str
    program: tuple[str, ...]
    accelerators: str  # NAME:COUNT of each node
    workdir: str  # the code, which goes to every node
    num_nodes: int = 1
    use_spot: bool = False
    retries: int = 3  # after a failure; machines that are lost are had again without end
    infra: str | None = None  # CLOUD[/REGION[/ZONE]]
    setup: str | None = None  # shell commands in place of the default, which installs the code
    python: str = PYTHON
    variables: dict[str, str] = {}  # noqa: RUF012


def task(job: Job) -> dict[str, Any]:
    """The task. Raises UsageError if a setting is not allowed.

    >>> print(task(Job("vit", ("train", "c.py"), "H100:8", "code", num_nodes=2))["run"], end="")
    export PYTHONUNBUFFERED=1
    first=$(printf %s "$SKYPILOT_NODE_IPS" | head -n 1)
    export JAX_LOCAL_DEVICE_IDS="0,1,2,3,4,5,6,7"
    exec ~/jaxnets_env/bin/python -m jaxnets.cli train c.py "--coordinator" "$first:8476" ...
    """
    _check(job)
    where = {"infra": job.infra} if job.infra else {}
    return {
        "name": job.name,
        "workdir": job.workdir,
        "num_nodes": job.num_nodes,
        "resources": {
            **where,
            "accelerators": job.accelerators,
            "use_spot": job.use_spot,
            "job_recovery": {"max_restarts_on_errors": job.retries},
        },
        **({"envs": job.variables} if job.variables else {}),
        "setup": _setup(job) if job.setup is None else job.setup,
        "run": "".join(f"{line}\n" for line in _run(job)),
    }


def _setup(job: Job) -> str:
    extra = "tpu" if _is_tpu(job) else "cuda12"
    return (
        "set -e\n"
        "[ -x ~/jaxnets_env/bin/python ] || uv venv --python 3.12 ~/jaxnets_env\n"
        f"uv pip install --python ~/jaxnets_env/bin/python -e . 'jax[{extra}]'\n"
    )


def _run(job: Job) -> Iterator[str]:
    yield "export PYTHONUNBUFFERED=1"
    python, *words = program.words(job.program, python=job.python, repeats=True)
    quoted = [_home(python), *map(shlex.quote, words)]
    if not _is_tpu(job):
        yield 'first=$(printf %s "$SKYPILOT_NODE_IPS" | head -n 1)'
        member = membership.of(
            job.program,
            coordinator=f"$first:{membership.PORT}",
            count="$SKYPILOT_NUM_NODES",
            index="$SKYPILOT_NODE_RANK",
        )
        for name, value in (membership.devices(_count(job)) | member.variables).items():
            yield f'export {name}="{value}"'
        quoted += [f'"{word}"' for word in member.words]
    yield f"exec {' '.join(quoted)}"


def _home(path: str) -> str:
    """A quoted path in which a leading ~/ is still the home of the user.

    >>> _home("~/my env/bin/python")
    "~/'my env/bin/python'"
    """
    return f"~/{shlex.quote(path[2:])}" if path.startswith("~/") else shlex.quote(path)


def _is_tpu(job: Job) -> bool:
    return job.accelerators.startswith("tpu-")


def _count(job: Job) -> int:
    return int(job.accelerators.partition(":")[2] or 1)


def _check(job: Job) -> None:
    check_name(job.name)
    check_least("--nodes", job.num_nodes, least=1)
    check_least("--retries", job.retries, least=0)
    for name, (pattern, example) in _ALLOWED.items():
        check_form(f"--{name}", getattr(job, name), pattern, f"something like {example}")
    check_python(job.python, place="nodes")


def submission(name: str, path: Path) -> tuple[str, ...]:
    """The command that hands a task to SkyPilot's controller of jobs."""
    return ("sky", "jobs", "launch", "--yes", "--detach-run", f"--name={name}", str(path))


def submit(job: Job, *, commit: str, folder: Path) -> Record:
    """Unpacks the commit for SkyPilot to copy, writes the task and hands it over. Raises JaxnetsError if refused."""
    text = manifest.to_yaml(task(job))
    tool.require("sky")
    unpack(commit, Path(job.workdir))
    path = folder / f"{job.name}.yaml"
    write_atomically(path, text.encode())
    launch = Record(job.name, "sky", {"task": str(path.resolve())})
    record.save(launch, folder)
    tool.read(submission(job.name, path))
    return launch


def unpack(commit: str, folder: Path) -> None:
    """The files of a commit, and nothing else, in `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "code.tar.gz"
        code.archive(Path(), commit, path)
        with tarfile.open(path) as archive:
            archive.extractall(folder, filter="data")


def status(launch: Record) -> int:
    """Prints SkyPilot's own table of jobs, in which it stands under its name."""
    return tool.show(("sky", "jobs", "queue"))


def logs(launch: Record) -> int:
    """Prints what it says, until it has ended."""
    return tool.show(("sky", "jobs", "logs", f"--name={launch.name}"))


def stop(launch: Record) -> int:
    """Cancels it; its machines are given back."""
    return tool.show(("sky", "jobs", "cancel", "--yes", f"--name={launch.name}"))
