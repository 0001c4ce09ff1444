"""A run on Cloud TPU VMs: create, copy the code, install, run, delete; and again if the node is lost.

The program goes on without the launcher; the same command takes a launch over that was left, from its record. Words of
the user come to the workers as quoted words, and are run by no shell.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxnets.errors import JaxnetsError, ProcessLost, UsageError
from jaxnets.launch import code, gcloud, lease, program, record, tool, worker, workers
from jaxnets.launch.gcloud import Node
from jaxnets.launch.lease import Lost, say
from jaxnets.launch.record import Record
from jaxnets.launch.settings import check_least

PLACE = "tpu-vm"
_WORKER = "jaxnets_worker.py"
_CONNECTIONS = 5  # times that a connection may break in a row while the node stands
_STEADY = 10  # looks at its state after which a connection counts as one that held
_LONGEST = 600.0  # seconds between two trials
_TOLD = (ProcessLost.exit_code, 134, 137, 143)  # how programs end whose machine, or another one, is taken away
_SAVING = 120  # seconds in which a run may save


class Job(NamedTuple):
    """One launch."""

    node: Node
    program: tuple[str, ...]
    commit: str
    install: tuple[str, ...] = ()  # packages beside the code
    local: bool = False  # whether what a run leaves may lie on the node, and be lost with it
    retries: int = 3  # how often a lost node is created again
    keep: bool = False  # the node, at the end
    within: float = 3600.0  # seconds until the node must be ready
    poll: float = 20.0  # seconds between two looks at its state


def check(job: Job) -> Job:
    """The job as it was given. Raises UsageError if it cannot be launched, or would lose what it makes."""
    gcloud.check(job.node)
    program.words(job.program, python="python", repeats=True)
    for option, value in (("--retries", job.retries), ("--ready-within", job.within), ("--poll", job.poll)):
        check_least(option, value, least=0)
    if wrong := [name for name in job.install if not name or name.startswith("-")]:
        raise UsageError(f"--install {wrong[0]!r} is no package; give one as pip takes it, as gcsfs")
    if not (job.local or _leaves_elsewhere(job.program)):
        where = (
            "--storage postgresql://… or grpc://HOST:PORT"
            if program.is_sweep(job.program)
            else "--run-dir gs://BUCKET/…"
        )
        raise UsageError(
            f"{job.node.name} is deleted at the end and when it is preempted, and its disk with all that the run has "
            f"left; give {where}, or --allow-local-runs to lose it"
        )
    return job


def _leaves_elsewhere(words: Sequence[str]) -> bool:
    """Whether a run goes to a bucket, a sweep to a database; of a script it is enough that it is told of a bucket."""
    if program.is_script(words):
        return any("gs://" in word for word in words)
    if program.is_sweep(words):
        scheme, separator, _ = (program.option(words, "--storage") or "").partition("://")
        return bool(separator) and not scheme.startswith("sqlite")
    return (program.option(words, "--run-dir") or "").startswith("gs://")


def commands(job: Job, id: str) -> list[tuple[str, ...]]:
    """What is run, in its order, if all goes well; the state is asked for again and again until the node is ready.

    >>> job = Job(Node("vit", "us-west4-a", "v6e-8"), ("train", "a b.py"), "1c3a")
    >>> commands(job, "1c3a-1")[-2][-1]
    "--command=python3 jaxnets_worker.py run 1c3a-1 python -m jaxnets.cli train 'a b.py'"
    """
    node = job.node
    delete = gcloud.delete_queue(node) if node.queued else gcloud.delete(node)
    return [
        gcloud.create(node),
        gcloud.describe(node),
        gcloud.copy(node, (worker.ARCHIVE, _WORKER)),
        _install(job),
        _begin(job, id),
        *(() if job.keep else (delete,)),
    ]


def _install(job: Job) -> tuple[str, ...]:
    return _on_workers(job.node, "install", job.commit, "jax[tpu]", *job.install)


def _begin(job: Job, id: str) -> tuple[str, ...]:
    return _on_workers(job.node, "run", id, *program.words(job.program, python="python"))


def _on_workers(node: Node, *words: str) -> tuple[str, ...]:
    return gcloud.ssh(node, shlex.join(("python3", _WORKER, *words)))


def identity(job: Job, number: int = 1) -> str:
    """Of one program on a node; what a worker has begun under it is not begun again."""
    return f"{job.commit[:12]}-{number}"


def claim(job: Job, folder: Path) -> str:
    """The identity of a launch that is this one's from now on; one that was left is taken over.

    Raises UsageError if the name is in use for something else.
    """
    about, number = _about(job), 1
    if (folder / f"{job.node.name}.json").exists():
        values = record.load(job.node.name, folder).values
        over = values.get("code") is not None
        if values["node"] != about["node"] or not over and values["job"] != about["job"]:
            raise UsageError(
                f"{job.node.name} is the name of another launch; give --name another one, "
                f"or end it: jaxnets launch stop {job.node.name}"
            )
        number = values["number"] + over
    elif (found := lease.state(job.node)) is not None:
        raise UsageError(
            f"there is a TPU VM {job.node.name} already, which is {found}, and {folder} knows nothing of it; "
            "give --name another one, or delete it"
        )
    values = {**about, "number": number, "id": identity(job, number), "poll": job.poll, "folder": str(folder.resolve())}
    record.save(Record(job.node.name, PLACE, values), folder)
    return values["id"]


def _about(job: Job) -> dict[str, Any]:
    """What makes it the same launch, as JSON gives it back."""
    return {"node": list(job.node), "job": [list(job.program), job.commit, list(job.install)]}


def launch(job: Job, id: str, root: Path) -> int:
    """Runs a claimed job to its end, and gives the exit code of its program; a node that is lost is created again.

    root: in the repository of the code. Raises JaxnetsError once the retries are spent.
    """
    words = ""
    for trial in range(job.retries + 1):
        try:
            if trial:
                _give_up(job, trial, words)
            known = _acquire(job, again=trial > 0)
            if not (known and _known(job, id)):
                _prepare(job, root)
            return _run(job, id)
        except Lost as error:
            words = str(error)
    raise JaxnetsError(
        f"{job.node.name} was lost {job.retries + 1} times, at last because {words}; the same command continues from "
        "the last checkpoint, and --retries N tries longer"
    )


def _give_up(job: Job, trial: int, words: str) -> None:
    """The end of a node that was lost."""
    if not (job.node.spot or _leaves_elsewhere(job.program)):
        raise JaxnetsError(f"{words}, and what the run had left is gone with it; give --run-dir gs://BUCKET/… to go on")
    say(f"{words}; it is created again, trial {trial} of {job.retries}")
    lease.release(job.node, poll=job.poll)
    time.sleep(min(_LONGEST, job.poll * 2 ** (trial - 1)))


def _acquire(job: Job, *, again: bool) -> bool:
    """Where a node was had before, one that is refused now may be had later."""
    try:
        return lease.acquire(job.node, within=job.within, poll=job.poll)
    except JaxnetsError as error:
        if again:
            raise Lost(str(error)) from error
        raise


def _known(job: Job, id: str) -> bool:
    words = _on_workers(job.node, "known", id)
    return subprocess.run(words, capture_output=True, stdin=subprocess.DEVNULL, check=False).returncode == 0


def _prepare(job: Job, root: Path) -> None:
    say(f"copying the code of {job.commit[:12]} and installing it")
    with tempfile.TemporaryDirectory() as folder:
        code.archive(root, job.commit, Path(folder) / worker.ARCHIVE)
        shutil.copy(worker.__file__, Path(folder) / _WORKER)
        _until_done(job, "the code could not be copied", gcloud.copy(job.node, (worker.ARCHIVE, _WORKER)), folder)
    _until_done(job, "the code could not be installed", _install(job))


def _until_done(job: Job, failure: str, words: Sequence[str], folder: str | None = None) -> None:
    """A command that can be repeated: a node that has just become ready may not answer yet."""
    for trial in range(_CONNECTIONS):
        if trial:
            time.sleep(job.poll)
        ended = workers.follow(words, id="", lost=lambda: lease.lost(job.node), poll=job.poll, folder=folder)
        if ended.code == 0:
            return
        if (found := lease.lost(job.node)) is not None:
            raise Lost(f"the node is {found}")
        if ended.code == 1 and folder is None:  # our own, not that of ssh or gcloud
            break
    raise JaxnetsError(f"{failure} (exit code {ended.code}); what it said stands above")


def _run(job: Job, id: str) -> int:
    broken = 0
    while broken < _CONNECTIONS:
        began = time.monotonic()
        ended = workers.follow(_begin(job, id), id=id, lost=lambda: lease.lost(job.node), poll=job.poll)
        failed = {name: code for name, code in ended.programs.items() if code}
        if ended.code == 0 and not failed:
            return 0
        _raise_if_lost(job, failed)
        if failed:
            return _verdict(job, failed)
        broken = 1 if time.monotonic() - began > _STEADY * job.poll else broken + 1
        say(f"the connection broke and {job.node.name} is READY; following the program again")
        time.sleep(job.poll)
    raise JaxnetsError(f"{job.node.name} is READY and cannot be reached any more")


def _raise_if_lost(job: Job, failed: dict[str, int]) -> None:
    """A machine that is taken away tells its programs before the node's state says so."""
    looks = 3 if failed and set(failed.values()) <= set(_TOLD) else 0
    while (found := lease.lost(job.node)) is None and looks:
        time.sleep(job.poll)
        looks -= 1
    if found is not None:
        raise Lost(f"the node is {found}")


def _verdict(job: Job, failed: dict[str, int]) -> int:
    """Names the worker that failed for a reason of its own, if there is one."""
    own = [name for name in failed if failed[name] not in _TOLD]
    name = (own or list(failed))[0]
    say(f"the program ended with exit code {failed[name]} on worker {name}, and {job.node.name} is READY: not repeated")
    return failed[name]


def finish(job: Job, code: int | None, folder: Path) -> None:
    """Deletes what costs money, or keeps it and says so."""
    if not job.keep:
        lease.release(job.node, poll=job.poll)
        record.forget(job.node.name, folder)
        return
    launch = record.load(job.node.name, folder)
    record.save(launch._replace(values={**launch.values, "code": code}), folder)
    say(f"{job.node.name} is kept and costs money; delete it: jaxnets launch stop {job.node.name}")


def node_of(launch: Record) -> Node:
    return Node(*launch.values["node"])


def on_workers(launch: Record, *words: str) -> int:
    """A command of the worker's file for the program of a launch, its output to the user."""
    return tool.show(_on_workers(node_of(launch), words[0], launch.values["id"], *words[1:]))


def stop(launch: Record) -> None:
    """Asks the program to save and end, then deletes node and queued resource."""
    node, poll = node_of(launch), launch.values["poll"]
    if lease.state(node) == lease.READY:
        say(f"asking the program to save and end, for {_SAVING} s at most")
        on_workers(launch, "stop", str(_SAVING))
    lease.release(node, poll=poll)
    record.forget(launch.name, Path(launch.values["folder"]))
