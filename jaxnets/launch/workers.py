"""One command on all workers of a TPU VM: its lines come out as they come, and it is given up once the node is lost."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from jaxnets.launch import tool
from jaxnets.launch.lease import Lost
from jaxnets.launch.worker import LAST_LINE


class Ended(NamedTuple):
    """How a command ended, and the programs that ended meanwhile."""

    code: int
    programs: dict[str, int]  # worker: exit code, in the order in which they ended


def follow(
    words: Sequence[str], *, id: str, lost: Callable[[], str | None], poll: float, folder: str | None = None
) -> Ended:
    """Runs a command to its end, in a folder; `lost` is asked each `poll` seconds. Raises Lost with its words."""
    tool.require(words[0])
    with _Client(words, id, folder) as client:
        look = time.monotonic() + poll
        while not client.over(within=0.05):
            if time.monotonic() > look:
                if (found := lost()) is not None:
                    raise Lost(f"the node is {found}")
                look = time.monotonic() + poll
        return client.ended()


class _Client:
    """gcloud as a process whose output is read by a thread; it is killed on the way out."""

    def __init__(self, words: Sequence[str], id: str, folder: str | None) -> None:
        self._programs: dict[str, int] = {}
        ending = re.escape(LAST_LINE.format(id=id, code="CODE")).replace("CODE", r"(\d+)")
        self._last_line = re.compile(rf"\[(\S+)\] {ending}")
        self._popen = subprocess.Popen(
            words,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C comes to the launcher alone
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._popen.stdout is not None
        with self._popen.stdout as lines, contextlib.suppress(BrokenPipeError):
            for line in lines:
                if found := self._last_line.fullmatch(line.rstrip()):
                    self._programs[found[1]] = int(found[2])
                else:
                    print(line.rstrip(), flush=True)

    def over(self, *, within: float) -> bool:
        self._thread.join(timeout=within)
        return self._popen.poll() is not None

    def ended(self) -> Ended:
        self._thread.join(timeout=2.0)  # its last lines
        return Ended(self._popen.wait(), dict(self._programs))

    def __enter__(self) -> _Client:
        return self

    def __exit__(self, *failure: Any) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()
        self._thread.join(timeout=2.0)
