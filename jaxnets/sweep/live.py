"""A sweep while it runs: a table that moves in a terminal, plain lines where there is none."""

from __future__ import annotations

import sys
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple

from jaxnets.columns import columns
from jaxnets.progress import short
from jaxnets.sweep.space import as_text

_PLAIN_SECONDS = 5.0  # between plain lines
_RECENT = 6  # trials shown that ended last
_BAR = 40  # letters: with how fast it goes behind it, of a narrow terminal's 80
_ENDED = ("complete", "pruned", "failed")
_COLOURS = {"complete": "", "pruned": "dim", "failed": "red"}


class State(NamedTuple):
    """What is shown: counts by state, the best trial, the last that ended, and how fast it goes.

    objectives: figures; the values of a trial are in their order
    rate:       trials that end in an hour, of this process and the others of the sweep; None before it is known
    """

    wanted: int | None
    counts: Mapping[str, int]
    objectives: Sequence[str]
    best: Mapping[str, Any] | None
    recent: Sequence[Mapping[str, Any]]
    rate: float | None

    @property
    def ended(self) -> int:
        return sum(self.counts.get(state, 0) for state in _ENDED)

    @property
    def seconds_left(self) -> float | None:
        if not self.rate or self.wanted is None:
            return None
        return max(self.wanted - self.ended, 0) / self.rate * 3600


class Live:
    """A context: `say(line)`, and `show(figures)` with the content of sweep.json, as often as it is written."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet, self._live = quiet, None
        self._terminal = sys.stdout.isatty() and not quiet
        self._states: dict[int, str] = {}
        self._recent: deque[Mapping[str, Any]] = deque(maxlen=_RECENT)
        self._first: tuple[float, int] | None = None  # (clock, trials that had ended before)
        self._shown, self._line, self._printed = 0.0, "", ""

    def __enter__(self) -> Live:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        elif self._line != self._printed and not self._quiet:
            self._print()

    def say(self, line: str) -> None:
        if self._live is not None:
            self._live.console.print(line, markup=False, highlight=False)
        elif not self._quiet:
            print(line, flush=True)

    def show(self, figures: Mapping[str, Any]) -> None:
        if self._quiet:
            return
        state = self._state(figures)
        if self._terminal:
            if self._live is None:
                from rich.live import Live as Moving

                self._live = Moving(auto_refresh=False)
                self._live.start()
            self._live.update(drawn(str(figures["name"]), state), refresh=True)
            return
        self._line = line(state)
        if time.monotonic() - self._shown >= _PLAIN_SECONDS:
            self._print()

    def _print(self) -> None:
        self._shown, self._printed = time.monotonic(), self._line
        print(self._line, flush=True)

    def _state(self, figures: Mapping[str, Any]) -> State:
        trials, now = figures["trials"], time.monotonic()
        for trial in trials:
            if trial["state"] in _ENDED and self._states.get(trial["number"]) != trial["state"]:
                self._recent.append(trial)
            self._states[trial["number"]] = trial["state"]
        counts = Counter(trial["state"] for trial in trials)
        ended = sum(counts[state] for state in _ENDED)
        if self._first is None:
            self._first = (now, ended)
        began, before = self._first
        rate = 3600 * (ended - before) / (now - began) if ended > before and now > began else None
        objectives = [one["figure"] for one in figures["objectives"]]
        return State(figures.get("wanted"), counts, objectives, figures.get("best"), tuple(self._recent), rate)


def line(state: State) -> str:
    """A state in one line.

    >>> print(line(State(8, {"complete": 2, "failed": 1, "running": 1}, ["valid.loss"], None, (), 3600.0)))
    trials 3/8  2 complete  1 failed  1 running  3,600 an hour  left 5 s
    """
    of = "" if state.wanted is None else f"/{state.wanted}"
    words = [f"trials {state.ended}{of}", *_counts(state.counts)]
    if state.best is not None:
        words.append(f"best {_values(state, state.best)} (trial {state.best['number']}: {_settings(state.best)})")
    return "  ".join([*words, *_speed(state)])


def _counts(counts: Mapping[str, int]) -> list[str]:
    order = (*_ENDED, "running", "waiting")
    return [f"{counts[state]:,} {state}" for state in order if counts.get(state)]


def _speed(state: State) -> list[str]:
    words = [] if state.rate is None else [f"{short(state.rate)} an hour"]
    return words if state.seconds_left is None else [*words, f"left {clock(state.seconds_left)}"]


def clock(seconds: float) -> str:
    """
    >>> clock(5.2), clock(75.0), clock(7325.0)
    ('5 s', '1:15', '2:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _values(state: State, trial: Mapping[str, Any]) -> str:
    return "  ".join(
        f"{figure} {short(value)}" for figure, value in zip(state.objectives, trial["values"] or (), strict=False)
    )


def _settings(trial: Mapping[str, Any]) -> str:
    """Settings by the last part of their paths, as far as it tells them apart."""
    ends = Counter(path.rpartition(".")[2] for path in trial["settings"])
    return "  ".join(
        f"{end if ends[end := path.rpartition('.')[2]] == 1 else path} "
        f"{f'{value:.4g}' if isinstance(value, float) else as_text(value)}"
        for path, value in trial["settings"].items()
    )


def drawn(name: str, state: State) -> Any:
    """The table, as rich draws it: lines that end where the terminal does."""
    from rich.console import Group
    from rich.text import Text

    of = "" if state.wanted is None else f" of {state.wanted:,}"
    head = "   ".join([f"{name}  {state.ended:,}{of} trials", *_counts(state.counts)])
    filled = _BAR * min(state.ended, state.wanted) // state.wanted if state.wanted else 0
    bar = Text.assemble(("━" * filled, "green"), ("━" * (_BAR - filled), "dim"), "  ", "   ".join(_speed(state)))
    rows: list[tuple[str, ...]] = [("", "trial", "state", *state.objectives, "settings")]
    styles = ["bold"]
    if state.best is not None:
        rows.append(_cells("best", state, state.best))
        styles.append("green")
    for trial in reversed(state.recent):
        rows.append(_cells("", state, trial))
        styles.append(_COLOURS.get(trial["state"], ""))
    lines = zip(columns(rows).splitlines(), styles, strict=True)
    return Group(
        Text(head, "bold", no_wrap=True, overflow="ellipsis"),
        bar,
        *(Text(words, style, no_wrap=True, overflow="ellipsis") for words, style in lines),
    )


def _cells(title: str, state: State, trial: Mapping[str, Any]) -> tuple[str, ...]:
    values = trial["values"] or [None] * len(state.objectives)
    shown = ["–" if value is None else short(value) for value in values]
    why = str(trial["why"]) if trial.get("why") and not trial["values"] else ""
    settings = "  ".join(filter(None, (why, _settings(trial))))
    return (title, str(trial["number"]), str(trial.get("state", "complete")), *shown, " ".join(settings.split("\n")))
