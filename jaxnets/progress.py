"""What the terminal shows: a bar where there is one to draw on, plain lines where there is not."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

_PLAIN_SECONDS = 5.0  # between plain lines


class Progress:
    """A context: `begin(total, start)`, then `show(step, figures)` and `say(line)`, then `end()`."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet, self._bar, self._task = quiet, None, None
        self._terminal = sys.stdout.isatty() and not quiet
        self._figures: dict[str, float] = {}
        self._shown = 0.0
        self._total = self._start = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        self.end()

    def begin(self, total: int, start: int) -> None:
        self._total, self._start, self._began = total, start, time.monotonic()
        if not self._terminal:
            return
        from rich import progress

        self._bar = progress.Progress(
            progress.TextColumn("step {task.completed}/{task.total}"),
            progress.BarColumn(),
            progress.TextColumn("{task.description}"),
            progress.TimeElapsedColumn(),
            progress.TextColumn("left"),
            progress.TimeRemainingColumn(),
        )
        self._bar.start()
        self._task = self._bar.add_task("", total=total, completed=start)

    def show(self, step: int, figures: dict[str, float]) -> None:
        self._figures |= figures
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=step, description=self._words())
        elif not self._quiet:
            now = time.monotonic()
            evaluated = any(name.startswith("valid ") for name in figures)
            if now - self._shown >= _PLAIN_SECONDS or (step == self._total and evaluated):
                self._shown = now
                done = max(step - self._start, 1)
                left = (now - self._began) / done * (self._total - step)
                print(f"step {step}/{self._total}  {self._words()}  left {left:.0f} s", flush=True)

    def _words(self) -> str:
        names = [
            n for n in self._figures if n in ("loss", "accuracy", "rmse", "examples/s", "mfu") or n.startswith("valid ")
        ]
        return "  ".join(f"{name} {short(self._figures[name])}" for name in names)

    def say(self, line: str) -> None:
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False)
        elif not self._quiet:
            print(line, flush=True)

    def end(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = self._task = None


def short(value: float) -> str:
    """A figure as a terminal shows it.

    >>> short(1234.5), short(0.123456)
    ('1,234', '0.1235')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
