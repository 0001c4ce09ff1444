"""Processes of one run on this machine: started together, read together, ended together.

What is launched is a command of jaxnets that trains, which is told its place by --coordinator, --processes and --index,
or a Python script, which finds it in the variables of Open MPI: `jax.distributed.initialize()` reads them by itself.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from jaxnets.errors import ProcessLost, UsageError
from jaxnets.launch import program as programs

_LINES = 12  # of output, kept of each process for the case that it fails
_GRACE = 5.0  # seconds in which the others end by themselves once one has failed
_SAVING = 120.0  # seconds in which a run may save after a signal
_LOST = (ProcessLost.exit_code, -signal.SIGABRT)  # how a process ends that lost another; SIGABRT is jax's own way


class Command(NamedTuple):
    """One process: its words, and what its environment holds beside this one's."""

    words: tuple[str, ...]
    variables: dict[str, str]


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
        if value is not None and value < 1:
            raise UsageError(f"{name} {value} is not allowed; give 1 or more")
    return [_command(tuple(program), i, processes, devices_per_process, f"127.0.0.1:{port}") for i in range(processes)]


def _command(program: tuple[str, ...], index: int, count: int, devices: int | None, coordinator: str) -> Command:
    own = range(index * (devices or 1), (index + 1) * (devices or 1))
    variables = {"JAX_LOCAL_DEVICE_IDS": ",".join(map(str, own)), "PYTHONUNBUFFERED": "1"}
    if devices is not None:
        variables["JAX_NUM_CPU_DEVICES"] = str(devices)
    words = programs.words(program, python=sys.executable)
    if programs.is_script(program):
        return Command(words, variables | _as_open_mpi(index, count, coordinator))
    place = ("--coordinator", coordinator, "--processes", str(count), "--index", str(index))
    return Command((*words, *place), variables)


def _as_open_mpi(index: int, count: int, coordinator: str) -> dict[str, str]:
    return {
        "JAX_COORDINATOR_ADDRESS": coordinator,
        "OMPI_MCA_orte_hnp_uri": f"0.0;tcp://{coordinator}",
        "OMPI_COMM_WORLD_SIZE": str(count),
        "OMPI_COMM_WORLD_RANK": str(index),
        "OMPI_COMM_WORLD_LOCAL_RANK": str(index),
    }


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def launch(program: Sequence[str], *, processes: int, devices_per_process: int | None = None) -> int:
    """Runs the processes to their end; their lines come out with their index before them.

    Where one fails the others are ended, and what failed is said on stderr. Returns 0, or the exit code of the one that
    failed (128 + signal). SIGINT and SIGTERM are handed on to all, so that a run saves; a second one ends them at once.
    """
    planned = commands(program, processes=processes, devices_per_process=devices_per_process, port=free_port())
    with contextlib.ExitStack() as stack:
        asked = stack.enter_context(_asked())
        started = [stack.enter_context(_Process(index, command)) for index, command in enumerate(planned)]
        codes = _wait(started, asked)
    return _verdict(started, codes)


class _Process:
    """A process whose output is read by a thread; it is killed on the way out, and whenever the launcher dies."""

    def __init__(self, index: int, command: Command) -> None:
        self.index, self.ended_at = index, float("inf")
        self.last: collections.deque[str] = collections.deque(maxlen=_LINES)
        self._popen = subprocess.Popen(
            command.words,
            env={**os.environ, **command.variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C comes to the launcher alone, which asks all of them at once
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._read, self._await)]
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        assert self._popen.stdout is not None
        with self._popen.stdout as lines:
            for line in lines:
                self.last.append(line.rstrip())
                _print(f"[{self.index}] {line.rstrip()}")

    def _await(self) -> None:
        self._popen.wait()
        self.ended_at = time.monotonic()

    @property
    def code(self) -> int | None:
        """The exit code, or minus the signal; None while it lives."""
        return self._popen.poll()

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, number)  # its workers too

    def __enter__(self) -> _Process:
        return self

    def __exit__(self, *failure: Any) -> None:
        self.signal(signal.SIGKILL)
        self._popen.wait()
        for thread in self._threads:
            thread.join(timeout=1.0)


def _end_with_parent() -> None:
    """In the child: the kernel kills it when the launcher dies, however that happens."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


_printing = threading.Lock()


def _print(line: str) -> None:
    with _printing:
        print(line, flush=True)


@contextlib.contextmanager
def _asked() -> Iterator[list[int]]:
    """While this is open, SIGINT and SIGTERM are gathered and do nothing else."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    old = [signal.signal(number, lambda number, frame: asked.append(number)) for number in numbers]
    try:
        yield asked
    finally:
        for number, handler in zip(numbers, old, strict=True):
            signal.signal(number, handler)


def _wait(started: list[_Process], asked: list[int]) -> dict[int, int | None]:
    """The codes by index once all have ended, or none can be waited for any longer: None for one that still lives."""
    handed_on, until = 0, float("inf")
    while any(process.code is None for process in started) and time.monotonic() < until:
        if len(asked) > 1:
            break
        if len(asked) > handed_on:
            handed_on = len(asked)
            for process in started:
                process.signal(asked[0])
            until = min(until, time.monotonic() + _SAVING)
        if any(process.code for process in started) and until == float("inf"):
            until = time.monotonic() + _GRACE
        time.sleep(0.02)
    return {process.index: process.code for process in started}


def _verdict(started: list[_Process], codes: Mapping[int, int | None]) -> int:
    """The exit code of all together; says on stderr which one failed and what it said last."""
    found = set(codes.values())
    if found == {0}:
        return 0
    stopped = {_positive(code) for code in found if code is not None}
    if None not in found and len(stopped) == 1 and stopped <= {128 + signal.SIGTERM, 128 + signal.SIGINT}:
        return stopped.pop()
    first = _culprit(started, codes)
    code = codes[first.index]
    lines = "".join(f"\n  {line}" for line in first.last)
    print(
        f"jaxnets: process {first.index} of {len(started)} {_words(code)}; the others were ended. "
        f"Its last lines:{lines or ' none'}",
        file=sys.stderr,
    )
    return 1 if code is None else _positive(code)


def _culprit(started: list[_Process], codes: Mapping[int, int | None]) -> _Process:
    """The first that ended for a reason of its own; else one that lives while the others lost contact with it."""
    order = sorted((process for process in started if codes[process.index]), key=lambda process: process.ended_at)
    own = [process for process in order if codes[process.index] not in _LOST]
    alive = [process for process in started if codes[process.index] is None]
    return [*own, *alive, *order][0]


def _positive(code: int) -> int:
    return code if code >= 0 else 128 - code


def _words(code: int | None) -> str:
    if code is None:
        return "did not answer any more (stopped or frozen)"
    if code < 0:
        return f"was killed by signal {-code} ({signal.Signals(-code).name})"
    return f"ended with exit code {code}"
