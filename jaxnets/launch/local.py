"""Processes of one run on this machine.

What is launched is a command of jaxnets, which is told its place by --coordinator, --processes and --index,
or a Python script, which finds it in the variables of Open MPI: `jax.distributed.initialize()` reads them by itself.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence

from jaxnets.launch import membership
from jaxnets.launch import program as programs
from jaxnets.launch.processes import Command, run, run_apart
from jaxnets.launch.settings import check_least


def commands(
    program: Sequence[str], *, processes: int, devices_per_process: int | None = None, port: int
) -> list[Command]:
    """The processes of a program, in order of their index.

    >>> first, second = commands(["train", "c.py"], processes=2, port=1234)
    >>> second.words[1:]
    ('-m', 'jaxnets.cli', 'train', 'c.py', '--coordinator', '127.0.0.1:1234', '--processes', '2', '--index', '1')

    Raises UsageError if the program is none that can be launched.
    """
    for name, value in (("--processes", processes), ("--devices-per-process", devices_per_process)):
        check_least(name, value, least=1)
    return [_command(tuple(program), i, processes, devices_per_process, f"127.0.0.1:{port}") for i in range(processes)]


def _command(program: tuple[str, ...], index: int, count: int, devices: int | None, coordinator: str) -> Command:
    own = range(index * (devices or 1), (index + 1) * (devices or 1))
    variables = {"JAX_LOCAL_DEVICE_IDS": ",".join(map(str, own)), "PYTHONUNBUFFERED": "1"}
    if devices is not None:
        variables["JAX_NUM_CPU_DEVICES"] = str(devices)
    words = programs.words(program, python=sys.executable)
    member = membership.of(program, coordinator=coordinator, count=count, index=index, local_index=index)
    return Command((*words, *member.words), variables | member.variables)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def launch(program: Sequence[str], *, processes: int, devices_per_process: int | None = None) -> int:
    """Runs the processes to their end, as `jaxnets.launch.processes.run` does, or `run_apart` those of a sweep."""
    planned = commands(program, processes=processes, devices_per_process=devices_per_process, port=free_port())
    return run_apart(planned) if programs.is_sweep(program) else run(planned)
