"""A trace of some steps of a run, by `jax.profiler`: what the device and the host did, and when."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax

from jaxnets.errors import ConfigError, UsageError


class Window(NamedTuple):
    """Steps `first` up to, but not with, `last`, counted from 0."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}:{self.last}"


def window(text: str) -> Window:
    """The window of `--profile A:B`; raises UsageError for anything else.

    >>> window("100:110")
    Window(first=100, last=110)
    """
    first, _, last = text.partition(":")
    if not (first.isdecimal() and last.isdecimal() and int(first) < int(last)):
        raise UsageError(f"--profile {text} is not allowed; give two steps, the first below the last, as in 100:110")
    return Window(int(first), int(last))


class Profile:
    """Traces the steps of a window into `folder`, once the loop reaches them.

    Raises ConfigError if the run, of `total` steps and now at `start`, does not reach them.
    """

    def __init__(self, steps: Window, folder: Path, *, start: int, total: int, say: Callable[[str], None]) -> None:
        if steps.last > total or steps.first < start:
            raise ConfigError(
                f"--profile {steps}: the run goes from step {start} to {total}; give steps between the two"
            )
        self.marks = tuple(steps)
        self._steps, self._folder, self._say, self._open = steps, folder, say, False

    def mark(self, step: int) -> None:
        """Begins or ends the trace; the loop calls it with nothing in flight."""
        if step == self._steps.first:
            jax.profiler.start_trace(self._folder, create_perfetto_trace=True)
            self._open = True
        else:
            self.close()

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        jax.profiler.stop_trace()
        found = sorted(self._folder.rglob("perfetto_trace.json.gz"))
        self._say(f"trace of steps {self._steps} in {found[-1] if found else self._folder}; open it in ui.perfetto.dev,"
                  f" or the folder {self._folder} in XProf")  # fmt: skip
