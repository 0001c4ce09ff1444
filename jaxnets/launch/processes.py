"""Processes that make one run: started together, read together, ended together.

Each is a process of this machine. One that has a `host` is the client of a process elsewhere (ssh): that one is told of
signals through the client's stdin, and ends when its stdin does.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from jaxnets.errors import ProcessLost, UsageError

_LINES = 12  # of output, kept of each process for the case that it fails
_GRACE = 5.0  # seconds in which the others end by themselves once one has failed
_SAVING = 120.0  # seconds in which a run may save after a signal
# How a process ends that lost another; SIGABRT is jax's own way, and a shell gives it as 128 + its number.
_LOST = (ProcessLost.exit_code, -signal.SIGABRT, 128 + signal.SIGABRT)
_UNREACHED = 255  # how ssh ends if the connection fails
LOST = ": what it had not told is taken by the others, or waits for the same command"  # of a worker of a sweep


class Command(NamedTuple):
    """One process: its words, what its environment holds beside this one's, and the host if it is not this one."""

    words: tuple[str, ...]
    variables: dict[str, str]
    host: str | None = None


def run(commands: Sequence[Command]) -> int:
    """Runs the processes to their end; their lines come out with their index before them.

    Where one fails the others are ended, and what failed is said on stderr. Returns 0, or the exit code of the one that
    failed (128 + signal). SIGINT and SIGTERM are handed on to all, so that a run saves; a second one ends them at once.
    """
    with contextlib.ExitStack() as stack:
        asked = stack.enter_context(asked_to_end())
        started = [stack.enter_context(_Process(index, command)) for index, command in enumerate(commands)]
        codes = _wait(started, asked)
        for process in started:
            process.end()  # all at once, before each is waited for
    return _verdict(started, codes)


def run_apart(
    commands: Sequence[Command],
    *,
    say: Callable[[str], None] | None = None,
    look: Callable[[], None] = lambda: None,
    lost: str = LOST,
) -> int:
    """Runs processes of which each can do without the others, and that all end with 0 once nothing is left to do.

    say:  takes their lines, with their index before them, and what befell them; default: prints
    look: called again and again meanwhile
    lost: what becomes of the work of one that failed, for the message about it

    Signals are handed on as in `run`. Returns 0 if one ended with 0; else the exit code of the first (128 + signal).
    """
    say = say or _print
    with contextlib.ExitStack() as stack:
        asked = stack.enter_context(asked_to_end())
        started = [stack.enter_context(_Process(index, one, say)) for index, one in enumerate(commands)]
        handed_on, told, until = 0, set[int](), float("inf")
        while len(told) < len(started) and len(asked) < 2 and time.monotonic() < until:
            if len(asked) > handed_on:
                handed_on, until = len(asked), time.monotonic() + _SAVING
                for process in started:
                    process.signal(asked[0])
            for process in started:
                if process.code is not None and process.index not in told:
                    told.add(process.index)
                    if process.code and process.code != UsageError.exit_code and not asked:  # of which it says why
                        process.join()
                        say(f"worker {process.index} of {len(started)} {_words(process.code, process.host)}{lost}")
            look()
            time.sleep(0.05)
    codes = [process.code for process in sorted(started, key=lambda process: process.ended_at)]
    if 0 in codes:
        return 0
    return 128 + asked[0] if asked else _positive(codes[0] or 0)


class _Process:
    """A process whose output is read by a thread; it is killed on the way out, and whenever the launcher dies."""

    def __init__(self, index: int, command: Command, say: Callable[[str], None] | None = None) -> None:
        self._say = say or _print
        self.index, self.host, self.ended_at = index, command.host, float("inf")
        self.last: collections.deque[str] = collections.deque(maxlen=_LINES)
        self._popen = subprocess.Popen(
            command.words,
            env={**os.environ, **command.variables},
            stdin=subprocess.DEVNULL if command.host is None else subprocess.PIPE,
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
                self._say(f"[{self.index}] {line.rstrip()}")

    def _await(self) -> None:
        self._popen.wait()
        self.ended_at = time.monotonic()

    @property
    def code(self) -> int | None:
        """The exit code, or minus the signal; None while it lives."""
        return self._popen.poll()

    def signal(self, number: int) -> None:
        """Hands a signal on, to its workers too."""
        if self._popen.stdin is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._popen.pid, number)
        else:
            with contextlib.suppress(OSError, ValueError):
                self._popen.stdin.write(f"{signal.Signals(number).name.removeprefix('SIG')}\n")
                self._popen.stdin.flush()

    def end(self) -> None:
        """Ends it now: at once if it is here, as soon as it is told if it is elsewhere."""
        if self._popen.stdin is None:
            self.signal(signal.SIGKILL)
        else:
            with contextlib.suppress(OSError):
                self._popen.stdin.close()

    def join(self) -> None:
        """Waits for what it said last."""
        self._threads[0].join(timeout=1.0)

    def __enter__(self) -> _Process:
        return self

    def __exit__(self, *failure: Any) -> None:
        self.end()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(timeout=_GRACE)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGKILL)
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
def asked_to_end() -> Iterator[list[int]]:
    """While this is open, SIGINT and SIGTERM are gathered, in order, and do nothing else."""
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
        f"jaxnets: process {first.index} of {len(started)}{f' on {first.host}' if first.host else ''} "
        f"{_words(code, first.host)}; the others were ended. Its last lines:{lines or ' none'}",
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


def _words(code: int | None, host: str | None) -> str:
    if code is None:
        return "did not answer any more (stopped or frozen)"
    if code < 0:
        return f"was killed by signal {-code} ({signal.Signals(-code).name})"
    if host is not None and code == _UNREACHED:
        return "could not be reached, or its connection broke (ssh ended with exit code 255)"
    return f"ended with exit code {code}"
