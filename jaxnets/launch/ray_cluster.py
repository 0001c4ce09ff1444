"""Workers on a Ray cluster that stands: Ray places them, gives them their resources, and starts again what dies.

A worker is a Ray task that runs one command of jaxnets. It shares nothing with the others but the folder or the storage
that its command names, so that Ray may run it again on any node.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from jaxnets.errors import MissingExtra, UsageError
from jaxnets.launch.processes import asked_to_end

_SAVING = 120.0  # seconds in which workers that are told to end may tell what they have


def run(
    work: Callable[[list[str], str], int],
    words: Sequence[str],
    *,
    workers: int,
    cpus: float,
    gpus: float,
    retries: int,
    address: str | None = None,
    say: Callable[[str], None] = print,
    look: Callable[[], None] = lambda: None,
) -> int:
    """Runs the same command as so many Ray tasks to their end.

    work:    (words, the working folder of this process) -> exit code; the Ray task, which is found there by its name
    words:   of a command of jaxnets, without its program
    cpus, gpus: of each worker, as Ray counts them
    retries: how often a worker may be started again whose process or node died; its own errors are not repeated
    address: of the cluster; default: the one that RAY_ADDRESS or this machine has, else one is made here
    say, look: take lines; called again and again

    SIGINT and SIGTERM are handed on to all workers. Returns 0 if one ended with 0, else a code of one that did not.
    Raises MissingExtra without Ray, UsageError if the cluster cannot be reached or has no such node.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("ray", extra="ray", purpose="for --on ray") from error
    with _connected(ray, address), asked_to_end() as asked:
        _check_resources(ray, cpus, gpus)
        task = ray.remote(
            num_cpus=cpus,
            num_gpus=gpus,
            max_retries=retries,
            max_calls=1,  # a process of its own, as its JAX is set up for it
            runtime_env={"env_vars": _variables(cpus)},
        )(work)
        running = {task.remote(list(words), os.getcwd()): index for index in range(workers)}
        return _wait(ray, running, workers, asked, say, look)


def _variables(cpus: float) -> dict[str, str]:
    """What a worker's environment holds: its threads, and where data, caches and this code lie, as here."""
    import jaxnets

    home = os.path.dirname(os.path.dirname(os.path.abspath(jaxnets.__file__)))
    kept = {name: os.environ[name] for name in os.environ if name.startswith(("JAXNETS_", "JAX_", "XLA_"))}
    path = os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))
    return kept | {"NPROC": str(max(1, int(cpus))), "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


@contextlib.contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    if ray.is_initialized():  # by a script of the user's
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # of a cluster that is made here: nothing is sent unasked
    try:
        ray.init(address=address, log_to_driver=True, include_dashboard=False if address is None else None)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        where = address or os.environ.get("RAY_ADDRESS", "of this machine")
        raise UsageError(
            f"the Ray cluster {where} cannot be reached ({error}); "
            "give --address HOST:PORT of one that runs, as ray start --head says it"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_resources(ray: Any, cpus: float, gpus: float) -> None:
    """A worker that no node can hold would wait for ever."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes):
        there = "; ".join(f"{node.get('CPU', 0):g} CPUs, {node.get('GPU', 0):g} GPUs" for node in nodes)
        raise UsageError(
            f"no node of the Ray cluster has --cpus {cpus:g} and --gpus {gpus:g} for a worker; there are: {there}"
        )


def _wait(
    ray: Any,
    running: dict[Any, int],
    workers: int,
    asked: list[int],
    say: Callable[[str], None],
    look: Callable[[], None],
) -> int:
    codes: list[int] = []
    until, told = float("inf"), False
    while running and time.monotonic() < until and len(asked) < 2:
        if asked and not told:
            told, until = True, time.monotonic() + _SAVING
            for reference in running:
                ray.cancel(reference)  # raises KeyboardInterrupt there, which is the signal of Ctrl-C
        ended, _ = ray.wait(list(running), timeout=0.2)
        for reference in ended:
            index = running.pop(reference)
            codes.append(_code(ray, reference, index, workers, say if not told else _nothing))
        look()
    for reference in running:  # that did not end in time, or were told twice
        ray.cancel(reference, force=True)
    if 0 in codes:
        return 0
    return 128 + asked[0] if asked else codes[0]


def _code(ray: Any, reference: Any, index: int, workers: int, say: Callable[[str], None]) -> int:
    try:
        code = ray.get(reference)
        words = f"ended with exit code {code}"
    except ray.exceptions.RayError as error:
        code, words = 1, f"is lost ({(str(error).splitlines() or [type(error).__name__])[0]})"
    if code:
        say(f"worker {index} of {workers} {words}: what it had not told is taken by the others")
    return code


def _nothing(line: str) -> None: ...
