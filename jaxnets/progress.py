"""What a person sees: a bar in a terminal or a notebook, plain lines where there is neither."""

from __future__ import annotations

import html
import importlib
import sys
import time
from types import TracebackType
from typing import Any

_PLAIN_SECONDS = 5.0  # between plain lines
_PAGE_SECONDS = 0.25  # between what is sent to a notebook's page


class Progress:
    """A context: `begin(total, start)`, then `show(step, figures)` and `say(line)`, then `end()`."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet, self._bar, self._task = quiet, None, None
        self._terminal = sys.stdout.isatty() and not quiet
        self._page: Any = None  # IPython's handle of the place that a notebook's bar is drawn into, again and again
        self._figures: dict[str, float] = {}
        self._shown = 0.0
        self._total = self._start = self._step = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        self.end()

    def begin(self, total: int, start: int) -> None:
        self._total, self._start, self._step, self._began = total, start, start, time.monotonic()
        self._figures = {}  # of the run before this one
        if not self._quiet and _in_notebook():
            # Not rich's way: it needs ipywidgets, cuts long lines, and leaves no bar in a saved page.
            display = importlib.import_module("IPython.display").display
            self._page = display(self._drawn(), raw=True, display_id=True)
        if not self._terminal or self._page is not None:
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
        self._step = step
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=step, description=self._words())
        elif self._page is not None:
            if time.monotonic() - self._shown >= _PAGE_SECONDS:
                self._shown = time.monotonic()
                self._page.update(self._drawn(), raw=True)
        elif not self._quiet:
            now = time.monotonic()
            evaluated = any(name.startswith("valid ") for name in figures)
            if now - self._shown >= _PLAIN_SECONDS or (step == self._total and evaluated):
                self._shown = now
                print(self._line(), flush=True)

    def _line(self) -> str:
        done = max(self._step - self._start, 1)
        left = (time.monotonic() - self._began) / done * (self._total - self._step)
        return f"step {self._step}/{self._total}  {self._words()}  left {left:.0f} s"

    def _drawn(self) -> dict[str, str]:
        """The bar as a notebook takes it: as a page and as text."""
        line = self._line() if self._figures else f"step {self._step}/{self._total}"
        bar = f'<progress value="{self._step}" max="{self._total}"></progress> {html.escape(line)}'
        return {"text/html": bar, "text/plain": line}

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
        if self._page is not None:
            self._page.update(self._drawn(), raw=True)
            self._page = None


def _in_notebook() -> bool:
    if "IPython" not in sys.modules:
        return False
    from rich import get_console

    return get_console().is_jupyter


def short(value: float) -> str:
    """A figure as a terminal shows it.

    >>> short(1234.5), short(0.123456)
    ('1,234', '0.1235')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
