"""Runs that differ in their seeds alone, trained at once: lanes of one program, each with a run folder of its own.

Every member's folder gets the log, the checkpoints and the notes that `run` would write, so that whatever becomes of
this process, `run` continues the member from there: tested, reported, extended and used it is a run like any other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxnets import data, metrics, optim, remote
from jaxnets.admission import Admitted, admit, admit_data
from jaxnets.config import Experiment
from jaxnets.errors import Interrupted, NonFiniteError
from jaxnets.loop import Notes, note_value
from jaxnets.run.folder import checkpoints, describe
from jaxnets.signals import Signals
from jaxnets.step import larger_is_better, results
from jaxnets.sweep.form import Chosen, Form, about, choose
from jaxnets.sweep.functions import Slots
from jaxnets.types import PyTree, TrainState

_WORTH = 20.0  # seconds that all of them may take, from which on it is measured whether lanes are faster


def train_together(
    members: Mapping[str, Experiment],
    folder: Path,
    *,
    form: Form = "auto",
    signals: Signals,
    say: Callable[[str], None] = print,
) -> bool:
    """Trains the members of a series to their last step in lanes, if that is faster; whether it did.

    members: {name of the run folder: its experiment}, equal but for numbers
    form:    "lanes" to do so anyway, "queue" never, "auto" by measuring

    What cannot be lanes is left to `run`: members that stand at different steps, that may end at different ones
    (`loop.patience`), or whose data is read while they train. Raises Interrupted after a signal, with all saved;
    NonFiniteError naming the member; what was saved before stands.
    """
    first = next(iter(members.values()))
    why = _refusal(first) if form != "queue" else "asked for"
    if why is None:
        admitted = admit(first, admit_data(first, say=say), devices=jax.local_devices()[:1])
        if not data.fits_on_device(first.data, admitted.train):
            why = "the data is read while they train"
    if why is None and form == "auto" and about(admitted) * len(members) < _WORTH:
        return False
    if why is None and any((folder / name / "result.json").exists() for name in members):
        why = "some are finished"
    if why is not None:
        if form == "lanes":
            say(f"one after the other: {why}")
        return False
    chosen = choose(admitted, list(members.values()), form=form, sums=True, waiting=len(members))
    if chosen.form == "queue" or chosen.program.lanes < len(members):  # slower, or they do not fit all at once
        return False
    say(f"{len(members)} seeds at once, as lanes on {len(chosen.program.devices)} device(s): {chosen.why}")
    with _Together(admitted, members, folder, chosen, signals, say) as together:
        return together.run()


def _refusal(experiment: Experiment) -> str | None:
    loop, plan = experiment.loop, experiment.plan
    if loop.patience is not None:
        return f"loop.patience {loop.patience} may end them at different steps"
    if loop.nonfinite == "rollback":
        return "loop.nonfinite rollback sends one of them back"
    if plan.fsdp != 1 or plan.tensor != 1:
        return "the plan divides a model over devices"
    return None


class _Member:
    """One run: its folder, its log, its checkpoints, its notes."""

    def __init__(self, experiment: Experiment, folder: Path, admitted: Admitted, *, larger: bool) -> None:
        self.experiment, self.folder = experiment, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.notice = describe(folder, experiment, admitted.schema)
        self.checkpoints = checkpoints(remote.local(folder).shelf, experiment.loop, larger_is_better=larger)
        self.notes = Notes(monitor=experiment.loop.monitor)
        self.log: Any = None

    def open(self, offset: int) -> None:
        self.log = metrics.JsonLines(self.folder / "metrics.jsonl", offset=offset)

    def write(self, record: dict[str, Any]) -> None:
        self.log.write(record)
        self.notes.log_offset = self.log.offset()


class _Together:
    """All members at one step, from the first to the last."""

    def __init__(
        self,
        admitted: Admitted,
        members: Mapping[str, Experiment],
        folder: Path,
        chosen: Chosen,
        signals: Signals,
        say: Callable[[str], None],
    ) -> None:
        self.admitted, self.loop, self.task = admitted, admitted.experiment.loop, admitted.parts.task
        self.signals, self.say = signals, say
        self.last = admitted.last
        self.larger = larger_is_better(self.task, self.loop.monitor)
        self.members = [_Member(one, folder / name, admitted, larger=self.larger) for name, one in members.items()]
        for notice in dict.fromkeys(one.notice for one in self.members if one.notice):
            say(notice)
        self.program = chosen.program
        spare = [admitted.experiment] * (self.program.lanes - len(self.members))
        self.numbers = self.program.numbers([one.experiment for one in self.members] + spare)
        self.step = 0
        rate = optim.learning_rate(admitted.experiment.optim, total_steps=admitted.total)
        self.rate = jax.jit(rate)

    def __enter__(self) -> _Together:
        return self

    def __exit__(self, *_: object) -> None:
        for member in self.members:
            if member.log is not None:
                member.log.close()

    def run(self) -> bool:
        slots = self._start()
        if slots is None:
            return False
        self.began = time.perf_counter() - self.members[0].notes.seconds
        self.signals.hold()
        while self.step < self.last:
            count = min(self._until(), self.program.length)
            began = time.perf_counter()
            slots, told = self.program.advance(slots, self.numbers, self._feed(count), count)
            self._absorb(jax.device_get(told), count, time.perf_counter() - began)
            self.step += count
            self._events(slots)
            if self.signals.received:
                self._save(slots, {})
                number = self.signals.received
                raise Interrupted(number, f"signal {number}: saved at step {self.step}; the same command continues")
        for member in self.members:
            member.checkpoints.wait()
        self.signals.release()
        return True

    def _start(self) -> Slots | None:
        """The lanes before the first step, or where all members stand; None if they stand at different steps."""
        slots = self.program.start(self.numbers)
        like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), slots.train)
        found = [one.checkpoints.restore(like, say=self.say) for one in self.members]
        there = [one for one in found if one is not None]
        if there and (len(there) < len(found) or len({one.step for one in there}) > 1):
            return None
        for member, one in zip(self.members, found, strict=True):
            member.notes = Notes(**one.notes) if one else member.notes
            member.open(member.notes.log_offset)
        if not there:
            return slots
        self.step = there[0].step
        self.say(f"continues at step {self.step}")
        spare = [there[0].tree] * (self.program.lanes - len(there))
        trees = [TrainState(*one.tree) for one in there] + [TrainState(*tree) for tree in spare]
        train = jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
        return slots._replace(train=self.program.place(train))

    def _until(self) -> int:
        every = (self.loop.log_every, self.loop.eval_every, self.loop.save_every)
        return min(self.last - self.step, *(one - self.step % one for one in every))

    def _feed(self, count: int) -> np.ndarray:
        program = self.program
        rows = np.zeros((program.length, program.lanes, program.batch_size), np.int32)
        for lane, member in enumerate(self.members):
            rows[:count, lane] = program.ids(int(member.experiment.seed), self.step, count)
        return rows

    def _absorb(self, told: PyTree, count: int, seconds: float) -> None:
        """Adds the sums of these steps, and writes the log line if one is complete."""
        step = self.step + count
        for lane, member in enumerate(self.members):
            bad = np.flatnonzero(~told["finite"][:count, lane])
            if bad.size and self.loop.nonfinite == "abort":
                raise NonFiniteError(
                    f"step {self.step + int(bad[0])} of {member.folder} is not finite; lower the learning rate, or "
                    "train its seed alone to see which examples did it"
                )
            member.notes.skipped += int(bad.size)
            part = jax.tree.map(
                lambda leaf, at=lane: leaf[:count, at].sum(axis=0, dtype="float64"), told["sums"]["metrics"]
            )
            member.notes.window = metrics.add(member.notes.window, part)
            if step % self.loop.log_every == 0 or step == self.last:
                figures = results(self.task, member.notes.window) | {"learning_rate": float(self.rate(step - 1))}
                pace = count * self.program.batch_size / max(seconds, 1e-9)
                clock = {"seconds": time.perf_counter() - self.began, "examples_per_second": pace}
                member.notes.window = None
                member.write({"step": step, "train": figures, "time": clock})

    def _events(self, slots: Slots) -> None:
        ends = self.step == self.last
        values = self._evaluate(slots) if ends or self.step % self.loop.eval_every == 0 else {}
        if ends or self.step % self.loop.save_every == 0:
            self._save(slots, values)
        elif self.loop.keep_best and (best := self._at_their_best(values)):
            self._save(slots, best)

    def _at_their_best(self, values: dict[int, float]) -> dict[int, float]:
        return {lane: value for lane, value in values.items() if self.members[lane].notes.best_step == self.step}

    def _evaluate(self, slots: Slots) -> dict[int, float]:
        """Notes and logs the validation split of each member; {its place: the monitored figure}."""
        began = time.perf_counter()
        sums: list[Any] = [None] * len(self.members)
        for found in self.program.score(self.program.view(slots, self.numbers), self.numbers, "valid"):
            for lane in range(len(self.members)):
                one = jax.tree.map(lambda leaf, at=lane: leaf[at], found)
                sums[lane] = metrics.gather(self.task.metrics, sums[lane], one)
        seconds = time.perf_counter() - began
        values = {}
        for lane, member in enumerate(self.members):
            figures = results(self.task, sums[lane])
            member.write({"step": self.step, "valid": figures, "time": {"seconds": seconds}})
            values[lane] = figures[self.loop.monitor]
            note_value(member.notes, values[lane], step=self.step, larger=self.larger)
        shown = ", ".join(f"{value:.4g}" for value in values.values())
        self.say(f"step {self.step}/{self.last}  valid {self.loop.monitor} {shown}")
        return values

    def _save(self, slots: Slots, values: dict[int, float]) -> None:
        """A checkpoint of the members with a value, or of all where there are none."""
        host = jax.device_get(slots.train)
        for lane in values or range(len(self.members)):
            member = self.members[lane]
            member.notes.seconds = time.perf_counter() - self.began
            tree = jax.tree.map(lambda leaf, at=lane: np.asarray(leaf[at]), host)
            member.checkpoints.save(self.step, tree, asdict(member.notes), metric=values.get(lane))
