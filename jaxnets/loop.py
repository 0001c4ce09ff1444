"""The only `for step`: cadences, late metrics, signals, non-finite policy. It knows nothing of configs.

Blocks are dispatched ahead and their sums fetched late, so the device never waits for the host; what needs the
figures (a log line, an evaluation, a checkpoint) takes them in order. All that the loop must remember to continue as
if it had not been killed is `Notes`, plain JSON beside the train state in every checkpoint.
"""

from __future__ import annotations

import collections
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

import jax

from jaxnets import metrics
from jaxnets.errors import Interrupted, NonFiniteError
from jaxnets.signals import Signals
from jaxnets.types import TrainState, experiment_dataclass

_IN_FLIGHT = 2  # blocks dispatched before the oldest one's sums are fetched
_ROLLBACKS = 3


@experiment_dataclass
class Loop:
    """How long to train, and how often to look, test and save."""

    steps: int | None = None  # optimizer steps; or give epochs
    epochs: float | None = None  # passes over the train split
    limit_steps: int | None = None  # end after so many of them, with the schedule of the whole: a look at a long run
    overfit_batch: bool = False  # every step sees the first batch: what cannot learn it has a mistake
    log_every: int = 50  # steps
    eval_every: int = 200  # steps; also at the end
    save_every: int = 500  # steps; also at the end
    save_minutes: float = 10.0  # minutes
    keep_last: int = 2  # checkpoints
    keep_every: int | None = None  # steps: a checkpoint at a multiple of it is kept for good
    keep_best: bool = True  # the best by `monitor` is kept, and is what is tested and exported
    monitor: str = "loss"  # a figure of the validation split
    patience: int | None = None  # evaluations without a better `monitor` before training stops early
    nonfinite: Literal["abort", "skip", "rollback"] = "abort"
    dispatch: Literal["auto", "bare", "block"] = "auto"  # auto = the faster one, measured at the first start


@dataclass
class Notes:
    """What the loop remembers, saved with every checkpoint."""

    log_offset: int = 0  # bytes of metrics.jsonl
    window: Any = None  # metric sums since the last log line
    seconds: float = 0.0  # of training, over all starts
    events_due: bool = False  # the step's log line, evaluation and checkpoint are still to be done
    monitor: str = ""  # the figure that `best` is of
    best: float | None = None
    best_step: int | None = None
    waited: int = 0  # evaluations since the best
    stopped_early: bool = False
    skipped: int = 0  # steps left out by the policy "skip"
    passed_over: list[int] = field(default_factory=list)  # batch numbers left out by the policy "rollback"


class Actions(NamedTuple):
    """All that touches the world, given by the composition root.

    advance:  (train_state, batch numbers) -> (train_state, stacked sums); does not wait
    evaluate: (train_state, interrupted) -> figures of the validation split, or nothing if `interrupted()`, which is
              asked between batches, said so
    save:     (step, train_state, notes, value of the monitor) -> None; returns at once, raises an earlier failure
    restore:  () -> (train_state, notes, step) of the newest good checkpoint
    log:      record -> offset of the log after it
    cut:      offset -> None, cuts the log
    explain:  (batch number, index of a gradient leaf) -> words
    say, show: a line for the user; figures for the progress bar
    mark:     step -> None, at the steps of `Cadence.marks`
    agree:    signal received or 0 -> the one that is obeyed; asked at every boundary, in all processes equally often
    agree_to_save: whether the clock asks for a checkpoint -> whether one is written; asked once a block
    """

    advance: Callable[[TrainState, list[int]], tuple[TrainState, Any]]
    evaluate: Callable[[TrainState, Callable[[], bool]], dict[str, float]]
    save: Callable[[int, TrainState, dict[str, Any], float | None], None]
    restore: Callable[[], tuple[TrainState, dict[str, Any], int]]
    log: Callable[[metrics.Record], int]
    cut: Callable[[int], None]
    explain: Callable[[int, int], str]
    say: Callable[[str], None]
    show: Callable[[int, dict[str, float]], None]
    mark: Callable[[int], None] = lambda step: None
    agree: Callable[[int], int] = lambda received: received
    agree_to_save: Callable[[bool], bool] = lambda late: late


class Cadence(NamedTuple):
    """What the loop needs beside `Loop`: sizes that follow from the data and the compiled step."""

    total: int  # steps
    length: int  # steps a dispatch, at most
    examples: int  # a step
    summarise: Callable[[Any, int], dict[str, float]]  # (metric sums, step) -> figures
    larger_is_better: bool  # of the monitored figure
    seconds_at_peak: float | None = None  # a step's, at the peak of the devices: the log's utilisation follows from it
    marks: tuple[int, ...] = ()  # steps before which `Actions.mark` is called with nothing in flight


def batch_number(step: int, passed_over: list[int]) -> int:
    """The number of the batch that step `step` sees when some were passed over.

    >>> [batch_number(step, [2, 3]) for step in range(4)]
    [0, 1, 4, 5]
    """
    number = step
    for passed in sorted(passed_over):
        number += passed <= number
    return number


def fit(
    train_state: TrainState,
    notes: Notes,
    *,
    start: int,
    loop: Loop,
    cadence: Cadence,
    actions: Actions,
    signals: Signals,
) -> tuple[TrainState, Notes, int]:
    """Trains from step `start` to the end, or raises `Interrupted` after saving, or `NonFiniteError`."""
    return _Fit(train_state, notes, start, loop, cadence, actions, signals).run()


class _Bad(Exception):
    def __init__(self, step: int, leaf: int) -> None:
        self.step, self.leaf = step, leaf


class _Fit:
    def __init__(
        self,
        train_state: TrainState,
        notes: Notes,
        start: int,
        loop: Loop,
        cadence: Cadence,
        actions: Actions,
        signals: Signals,
    ) -> None:
        self.state, self.notes, self.step = train_state, notes, start
        if notes.monitor != loop.monitor:  # another one was allowed: what was best by the old one says nothing
            notes.monitor, notes.best, notes.best_step, notes.waited = loop.monitor, None, None, 0
        self.loop, self.cadence, self.actions, self.signals = loop, cadence, actions, signals
        self.in_flight: collections.deque[tuple[int, int, Any, float | None]] = collections.deque()
        self.began = time.perf_counter() - notes.seconds
        self.saved_at = time.perf_counter()
        self.saved_step = start if start else -1
        self.late = False  # the clock asks for a checkpoint
        self.window_began, self.window_step = time.perf_counter(), start

    def run(self) -> tuple[TrainState, Notes, int]:
        while True:
            try:
                return self._run()
            except _Bad as bad:
                self._recover(bad)

    def _run(self) -> tuple[TrainState, Notes, int]:
        if self.loop.nonfinite == "rollback" and self.step == 0 and self.saved_step < 0:
            self._save(None)
        if self.notes.events_due:
            self._events()
        while self.step < self.cadence.total and not self.notes.stopped_early:
            if number := self.actions.agree(self.signals.received):
                self._interrupt(number)
            self.late = self.actions.agree_to_save((time.perf_counter() - self.saved_at) / 60 >= self.loop.save_minutes)
            if self.step in self.cadence.marks:
                self._drain()
                jax.block_until_ready(self.state)
                self.actions.mark(self.step)
            count = self._until_event()
            numbers = [batch_number(self.step + i, self.notes.passed_over) for i in range(count)]
            self.state, sums = self.actions.advance(self.state, numbers)
            self.in_flight.append((self.step, count, sums, _now_if_done(sums)))
            self.step += count
            while len(self.in_flight) > _IN_FLIGHT:
                self._absorb()
            self._events()
        if self.step in self.cadence.marks:
            self.actions.mark(self.step)
        return self.state, self.notes, self.step

    def _until_event(self) -> int:
        loop, step = self.loop, self.step
        cadences = [loop.log_every, loop.eval_every, loop.save_every]
        nearest = min(every - step % every for every in cadences if every)
        marks = [mark - step for mark in self.cadence.marks if mark > step]
        return min(self.cadence.length, nearest, self.cadence.total - step, *marks)

    def _events(self) -> None:
        """Whatever is due at this step, in one order: evaluation, checkpoint. Log lines are written by `_absorb`."""
        step, loop = self.step, self.loop
        last = step == self.cadence.total
        evaluates = last or step % loop.eval_every == 0
        saves = last or step % loop.save_every == 0 or self.late
        if not evaluates and not saves:
            return
        self._drain()
        value = self._evaluate() if evaluates else None
        self.notes.events_due = False
        if saves or (value is not None and self.notes.best_step == step and loop.keep_best) or self.notes.stopped_early:
            self._save(value)

    def _evaluate(self) -> float | None:
        began = time.perf_counter()
        number = 0

        def interrupted() -> bool:
            nonlocal number
            number = self.actions.agree(self.signals.received)
            return bool(number)

        figures = self.actions.evaluate(self.state, interrupted)
        if number:
            self.notes.events_due = True
            self._interrupt(number)
        seconds = time.perf_counter() - began
        self.notes.log_offset = self.actions.log({"step": self.step, "valid": figures, "time": {"seconds": seconds}})
        self.actions.show(self.step, {f"valid {name}": value for name, value in figures.items()})
        self.window_began += seconds
        value = figures[self.loop.monitor]
        improved = note_value(self.notes, value, step=self.step, larger=self.cadence.larger_is_better)
        if not improved and self.loop.patience is not None and self.notes.waited >= self.loop.patience:
            self.notes.stopped_early = True
            self.actions.say(
                f"stopped early at step {self.step}: valid {self.loop.monitor} has not improved on "
                f"{self.notes.best:.6g} (step {self.notes.best_step}) for {self.notes.waited} evaluations"
            )
        return value

    def _save(self, value: float | None) -> None:
        self._drain()
        began = time.perf_counter()
        self.notes.seconds = began - self.began
        self.actions.save(self.step, self.state, asdict(self.notes), value)
        self.saved_at, self.saved_step, self.late = time.perf_counter(), self.step, False
        self.window_began += self.saved_at - began

    def _interrupt(self, number: int) -> None:
        self._drain()
        if self.saved_step != self.step:
            self._save(None)
        raise Interrupted(number, f"signal {number}: saved at step {self.step}; the same command continues from here")

    def _drain(self) -> None:
        while self.in_flight:
            self._absorb()

    def _absorb(self) -> None:
        """Fetches the oldest block's sums, checks them, and writes the log line if one is complete."""
        first, count, sums, done = self.in_flight.popleft()
        sums = jax.device_get(sums)
        now = done or self._between(first + count)
        finite, leaves = sums["health"]["finite"], sums["health"]["leaf"]
        for i in range(count):
            if not bool(finite[i]):
                if self.loop.nonfinite != "skip":
                    raise _Bad(first + i, int(leaves[i]))
                self.notes.skipped += 1
                why = self.actions.explain(batch_number(first + i, self.notes.passed_over), int(leaves[i]))
                self.actions.say(f"step {first + i} skipped: not finite ({why})")
        part = jax.tree.map(lambda leaf: leaf[:count].sum(axis=0, dtype="float64"), sums["metrics"])
        self.notes.window = metrics.add(self.notes.window, part)
        step = first + count
        if step % self.loop.log_every == 0 or step == self.cadence.total:
            self._line(step, now)

    def _between(self, step: int) -> float:
        """When a block that is fetched late was done: now, or its share of the time until blocks after it were."""
        now, later = time.perf_counter(), None
        for first, count, sums, done in self.in_flight:
            if done is not None:
                later = (first + count, done)
                break
            if not _is_done(sums):
                break
            later = (first + count, now)
        if later is None:
            return now
        share = (step - self.window_step) / (later[0] - self.window_step)
        return self.window_began + share * (later[1] - self.window_began)

    def _line(self, step: int, now: float) -> None:
        figures = self.cadence.summarise(self.notes.window, step)
        if self.notes.skipped:
            figures["skipped"] = self.notes.skipped
        rate = (step - self.window_step) * self.cadence.examples / max(now - self.window_began, 1e-9)
        clock = {"seconds": now - self.began, "examples_per_second": rate}
        if self.cadence.seconds_at_peak is not None:
            clock["mfu"] = rate / self.cadence.examples * self.cadence.seconds_at_peak
        self.notes.window, self.window_began, self.window_step = None, now, step
        self.notes.log_offset = self.actions.log({"step": step, "train": figures, "time": clock})
        shown = {"mfu": clock["mfu"]} if "mfu" in clock else {}
        self.actions.show(step, figures | {"examples/s": rate} | shown)

    def _recover(self, bad: _Bad) -> None:
        """Applies the policy to a step that was not finite: names it and ends, or returns to the last good state."""
        number = batch_number(bad.step, self.notes.passed_over)
        why = f"step {bad.step} is not finite ({self.actions.explain(number, bad.leaf)})"
        if self.loop.nonfinite == "abort":
            raise NonFiniteError(
                f"{why}; lower the learning rate, clip (--optim.clip_norm 1.0) or look at these examples; "
                "--loop.nonfinite skip leaves such steps out, rollback passes over their batches"
            )
        passed_over = [*self.notes.passed_over, number]
        if len(passed_over) > _ROLLBACKS:
            raise NonFiniteError(f"{why}, after {_ROLLBACKS} rollbacks; the batches {passed_over} were all bad")
        seconds = time.perf_counter() - self.began
        self.in_flight.clear()
        self.state, notes, self.step = self.actions.restore()
        self.notes = Notes(**notes)
        self.notes.passed_over, self.notes.seconds = passed_over, seconds
        self.actions.cut(self.notes.log_offset)
        self.window_began, self.window_step = time.perf_counter(), self.step
        self.saved_step = self.step
        self.actions.say(f"{why}; back to step {self.step}, passing over batch {number}")


def _now_if_done(sums: Any) -> float | None:
    """The time, if these are there already: a CPU may compute within the call; else they are timed when fetched."""
    return time.perf_counter() if _is_done(sums) else None


def _is_done(sums: Any) -> bool:
    return all(leaf.is_ready() for leaf in jax.tree.leaves(sums))


def note_value(notes: Any, value: float, *, step: int, larger: bool) -> bool:
    """Notes an evaluation in `best`, `best_step` and `waited`; whether it is the best so far.

    >>> notes = Notes()
    >>> [note_value(notes, value, step=step, larger=True) for step, value in enumerate((0.5, 0.4, 0.6))]
    [True, False, True]
    """
    if notes.best is None or better(value, notes.best, larger=larger):
        notes.best, notes.best_step, notes.waited = value, step, 0
        return True
    notes.waited += 1
    return False


def better(new: float, best: float, *, larger: bool) -> bool:
    """Whether a figure has improved; anything is better than NaN, and NaN never is.

    >>> better(0.9, 0.8, larger=True), better(0.9, 0.8, larger=False), better(1.0, float("nan"), larger=False)
    (True, False, True)
    """
    return math.isnan(best) or (new > best if larger else new < best)
