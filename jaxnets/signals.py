"""SIGTERM and SIGINT: noted while there is something to save, obeyed at once while there is not.

A Python handler runs only when the interpreter does, and a compilation can hold it for minutes. The wake-up pipe is
written by the C handler at once, so a thread of our own can end the process while nothing would be lost. Where a
person types (a notebook, a Python prompt), Ctrl-C then raises KeyboardInterrupt instead: the process is theirs.
"""

from __future__ import annotations

import signal
import socket
import sys
import threading
from types import TracebackType
from typing import Any

from jaxnets import distributed

_NUMBERS = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """`with Signals() as signals:` … `signals.hold()` before state exists that must be saved, `release()` after.

    received: the number of the signal, or 0. Outside the main thread nothing is caught. Of several processes all end
    where one is told to: one that holds passes its signal on by `distributed.agree`, one that does not by its end.
    """

    def __init__(self) -> None:
        self.received = 0
        self._holding = False
        self._typed = hasattr(sys, "ps1") or "ipykernel" in sys.modules
        self._main = threading.current_thread() is threading.main_thread()

    def hold(self) -> None:
        self._holding = True

    def release(self) -> None:
        self._holding = False
        if self.received and self._is_theirs(self.received):
            raise KeyboardInterrupt
        if self.received:
            self._end(self.received)

    def _is_theirs(self, number: int) -> bool:
        return self._typed and number == signal.SIGINT

    def __enter__(self) -> Signals:
        if self._main:
            self._reader, self._writer = socket.socketpair()
            self._writer.setblocking(False)
            self._old = [signal.signal(number, self._note) for number in _NUMBERS]
            self._old_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
            self._thread = threading.Thread(target=self._watch, daemon=True, name="jaxnets-signals")
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        if self._main:
            signal.set_wakeup_fd(self._old_fd)
            for number, old in zip(_NUMBERS, self._old, strict=True):
                signal.signal(number, old)
            self._writer.close()
            self._thread.join()
            self._reader.close()

    def _note(self, number: int, frame: Any) -> None:
        self.received = number
        if not self._holding and self._is_theirs(number):
            raise KeyboardInterrupt

    def _watch(self) -> None:
        while data := self._reader.recv(1):
            if data[0] in _NUMBERS and not self._holding and not self._is_theirs(data[0]):
                self._end(data[0])

    def _end(self, number: int) -> None:
        """No clean-up: half-written things are temporary files by design, and the main thread may be compiling."""
        sys.stderr.write(f"\nsignal {number}: ended; nothing had to be saved\n")
        sys.stderr.flush()
        distributed.leave(128 + number, f"signal {number}, while nothing had to be saved")
