"""Who works, and who is gone: processes by their machine and number, other machines' by a beat that has stopped.

No wall clock is read and none is compared with another machine's: an observer counts seconds of its own monotonic
clock since the beat last changed, so that clocks may differ and jump.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def this_process() -> dict[str, Any]:
    """What tells this process from all others: machine, number, and when it began in the machine's own count.

    >>> is_dead(this_process())
    False
    """
    return {"machine": _machine(), "pid": os.getpid(), "began": _life(os.getpid())[1]}


def is_dead(process: Mapping[str, Any]) -> bool:
    """Whether a process is certainly gone: it was of this machine, and there is no such process any more.

    >>> is_dead({"machine": "elsewhere", "pid": 1, "began": None})
    False
    """
    if process.get("machine") != _machine():
        return False
    try:
        os.kill(process["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False  # another user's, and alive
    state, began = _life(process["pid"])
    return state in ("Z", "X") or None not in (began, process.get("began")) and began != process.get("began")


class Beats:
    """What one observer saw of the others' beats."""

    def __init__(self, patience: float) -> None:
        self._patience = patience  # seconds
        self._seen: dict[str, tuple[Any, float]] = {}

    def silent(self, worker: str, beat: Any) -> bool:
        """Whether the beat of a worker has been the same for as long as this observer waits.

        >>> beats = Beats(patience=0.0)
        >>> beats.silent("a", 1), beats.silent("a", 1), beats.silent("a", 2)
        (False, True, False)
        """
        now = time.monotonic()
        last, since = self._seen.get(worker, (None, now))
        if worker not in self._seen or last != beat:
            self._seen[worker] = (beat, now)
            return False
        return now - since >= self._patience


def _machine() -> str:
    """The host, and which of its containers where processes are numbered apart."""
    try:
        numbering = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return socket.gethostname()
    return f"{socket.gethostname()}/{numbering}"


def _life(pid: int) -> tuple[str | None, str | None]:
    """(state, beginning) of a process, where the system tells: a number may have been given again."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None, None
    return fields[0], fields[19]
