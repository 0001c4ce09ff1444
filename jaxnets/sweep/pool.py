"""Trials that share a program, in its lanes: trained side by side, judged at their rungs, and replaced where they end.

A queue is a pool of one lane. The pool asks for trials whenever lanes are free, and hands back what each ended with;
where they come from and where results go is not its concern.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxnets import data, metrics
from jaxnets.config import Experiment
from jaxnets.loop import note_value
from jaxnets.step import larger_is_better, results
from jaxnets.sweep.program import Program
from jaxnets.sweep.stopping import Population, Rule
from jaxnets.sweep.trial import Outcome, Progress, Trial
from jaxnets.types import PyTree

_CALL_SECONDS = 0.5  # aimed duration of a call: signals are answered, and a screen is drawn, between two


class Actions(NamedTuple):
    """All that touches the world.

    more:  (how many lanes are free) -> trials of this pool's structure, fewer or none
    done:  outcomes of trials, at once
    look:  called between calls of the program; True = stop here, and give running trials back
    explore: (a trial that is replaced, the one whose weights it takes) -> the trial that goes on in its place
    smaller: lanes -> the program for fewer of them, or None if it costs more than it saves, in seconds
    """

    more: Callable[[int], Sequence[Trial]]
    done: Callable[[Sequence[Outcome]], None]
    look: Callable[[Sequence[Progress]], bool]
    explore: Callable[[Trial, Trial], Trial] = lambda loser, winner: loser
    smaller: Callable[[int], Program | None] = lambda lanes: None


class Pool:
    """The lanes of a program and who is in them.

    judged:  the figure of the validation split that the rule looks at
    seconds: that went into training and evaluating, and into waiting for what is still compiled
    """

    def __init__(self, program: Program, *, rule: Rule, judged: str, actions: Actions) -> None:
        self.program, self.rule, self.judged, self.actions = program, rule, judged, actions
        admitted = program.admitted
        self.loop, self.last = admitted.experiment.loop, admitted.last
        self.task = admitted.parts.task._replace(metrics=program.measured(admitted.parts.task))
        self.larger = larger_is_better(self.task, self.loop.monitor)
        self.lanes: list[Progress | None] = [None] * max(program.lanes, 1)
        self.experiments: list[Experiment] = [program.experiment] * len(self.lanes)
        self.slots: Any = None  # Slots, once there are trials
        self.numbers: Any = None
        self.seconds_a_step: float | None = None
        self.seconds = {"training": 0.0, "evaluating": 0.0, "compiling": 0.0}
        self._opened: tuple[int, data.Stream] | None = None  # the batches that are read, and their seed

    def run(self) -> list[Trial]:
        """Trains until no more trials come; of one that is stopped by `look`, the trials that were not finished."""
        if self.rule.rungs and self.rule.refills and len(self.lanes) > 1:
            self.program.expect_refills()
        self._await("first", "advance")
        while True:
            self._fill()
            if not self._active():
                return []
            self._compact()
            if self.actions.look([one for one in self.lanes if one is not None]):
                return [one.trial for one in self.lanes if one is not None]
            self._stretch()
            self._judge()

    def _await(self, *names: str) -> None:
        self.seconds["compiling"] += self.program.wait(*names)

    def _active(self) -> list[tuple[int, Progress]]:
        return [(lane, one) for lane, one in enumerate(self.lanes) if one is not None]

    def _fill(self) -> None:
        """New trials for the lanes that are free; for all at once where they share batches, or the rule wants it."""
        free = [lane for lane, one in enumerate(self.lanes) if one is None]
        at_once = self.program.shared or not self.rule.refills
        if not free or (at_once and len(free) < len(self.lanes)):
            return
        fresh = np.zeros(len(self.lanes), bool)
        for lane, trial in zip(free, self.actions.more(len(free)), strict=False):
            self.lanes[lane], self.experiments[lane], fresh[lane] = Progress(trial), trial.experiment, True
        if not fresh.any():
            return
        self.numbers = self.program.numbers(self.experiments)
        if self.slots is None or all(fresh[lane] for lane, _ in self._active()):
            self.slots = self.program.start(self.numbers)
        else:
            self.slots = self.program.refill(self.slots, self.numbers, fresh)

    def _compact(self) -> None:
        """Goes on in fewer lanes where half of them are free, nobody comes, and a smaller program saves time."""
        active = self._active()
        count = len(self.program.devices)
        lanes = max(-(-len(active) // count), 1) * count
        if self.program.shared or self.program.apart or 2 * lanes > len(self.lanes) or not self.seconds_a_step:
            return
        left = max(self.last - one.step for _, one in active)
        saved = left * self.seconds_a_step * (1 - lanes / len(self.lanes))
        if saved < self.program.compile_seconds or (program := self.actions.smaller(lanes)) is None:
            return
        index = np.resize(np.array([lane for lane, _ in active], np.int32), lanes)
        self.slots = self.program.take(self.slots, index)
        self.experiments = [self.experiments[lane] for lane in index]
        self.lanes = [one for _, one in active] + [None] * (lanes - len(active))
        self.program, self.seconds_a_step = program, None
        self._await()
        self.numbers = program.numbers(self.experiments)

    def _stretch(self) -> None:
        """Steps up to the first event of any lane, or, of lanes apart, of each; or as many as a call should take."""
        active = self._active()
        counts = np.zeros(len(self.lanes), int)
        for lane, one in active:
            counts[lane] = min(self._until(one), self._most_at_once(len(active)))
        if not self.program.apart:
            counts[:] = min(counts[lane] for lane, _ in active)
        began = time.perf_counter()
        given = counts if self.program.apart else int(counts[0])
        self.slots, told = self.program.advance(self.slots, self.numbers, self._feed(active, counts), given)
        finite = np.asarray(jax.device_get(told["finite"])).reshape(self.program.length, len(self.lanes))
        seconds = time.perf_counter() - began
        self.seconds["training"] += seconds
        self.seconds_a_step = seconds / counts.mean()
        self._advanced(active, counts, seconds, finite)

    def _most_at_once(self, active: int) -> int:
        """Steps of each of the active lanes, at most."""
        if not self.seconds_a_step:
            return self.program.length
        share = active / len(self.lanes) if self.program.apart else 1.0
        return max(1, min(self.program.length, int(_CALL_SECONDS / (self.seconds_a_step * share))))

    def _advanced(
        self, active: list[tuple[int, Progress]], counts: np.ndarray, seconds: float, finite: np.ndarray
    ) -> None:
        failed, whole = [], sum(int(counts[lane]) for lane, _ in active)
        for lane, one in active:
            count = int(counts[lane])
            one.seconds += seconds * count / whole
            bad = np.flatnonzero(~finite[:count, lane])
            if bad.size and self.loop.nonfinite == "abort":
                step = one.step + int(bad[0])
                failed.append(self._outcome(lane, one, "failed", {}, why=f"step {step} is not finite", steps=step))
            one.step += count
        self.actions.done(failed) if failed else None

    def _until(self, one: Progress) -> int:
        """Steps until a trial's next evaluation, rung or end."""
        ends = [self.last, (one.step // self.loop.eval_every + 1) * self.loop.eval_every]
        ends += [rung for rung in self.rule.rungs if rung > one.step][:1]
        return min(ends) - one.step

    def _feed(self, active: list[tuple[int, Progress]], counts: np.ndarray) -> PyTree:
        """The rows of so many steps: ids of each lane's own order, or the batches that all see."""
        program = self.program
        if program.on_device:
            rows = np.zeros((program.length, len(self.lanes), program.batch_size), np.int32)
            known: dict[tuple[int, int, int], np.ndarray] = {}
            for lane, one in active:
                key = (int(one.trial.experiment.seed), one.step, int(counts[lane]))
                if key not in known:
                    known[key] = program.ids(*key)
                rows[: counts[lane], lane] = known[key]
            return rows if program.lanes else rows[:, 0]
        lane, first = active[0]
        count = int(counts[lane])
        batches = self._stream(int(first.trial.experiment.seed))(list(range(first.step, first.step + count)))
        padded = [*batches, *batches[:1] * (program.length - count)]
        return jax.tree.map(lambda *leaves: np.stack(leaves), *padded)

    def _stream(self, seed: int) -> data.Stream:
        if self._opened is None or self._opened[0] != seed:
            self.close()
            stream = data.training_stream(
                self.program.train,
                seed=seed,
                batch_size=self.program.batch_size,
                workers=data.workers_of(self.program.experiment.data.workers),
                same=self.loop.overfit_batch,
            )
            self._opened = (seed, stream)
        return self._opened[1]

    def close(self) -> None:
        """Lets go of the threads that read."""
        if self._opened is not None:
            self._opened[1].close()
        self._opened = None

    def _judge(self) -> None:
        """Whatever is due where the lanes stand: evaluation, the rule, the test of those that are done."""
        due = [(lane, one) for lane, one in self._active() if self._is_due(one)]
        if not due:
            return
        self._await()
        began = time.perf_counter()
        view = self.program.view(self.slots, self.numbers)
        lanes = [lane for lane, _ in due]
        figures = self._figures(self.program.measure(self.slots, view, self.numbers, lanes), lanes)
        ended = {lane for lane, one in due if self._evaluated(lane, one, figures[lane])}
        self._keep(view, due)
        stopped = self._stopped(due, figures) - ended
        self._exploit([(lane, one) for lane, one in due if lane not in ended])
        done = [
            self._outcome(lane, one, "pruned", {}, why=f"stopped at step {one.step}")
            for lane, one in due
            if lane in stopped
        ]
        if ended:
            tests = self._figures(
                self.program.score(self.slots.best, self.numbers, "test", sorted(ended)), sorted(ended)
            )
            done += [self._complete(lane, one, tests[lane]) for lane, one in due if lane in ended]
        self.seconds["evaluating"] += time.perf_counter() - began
        self.actions.done(done) if done else None

    def _is_due(self, one: Progress) -> bool:
        return one.step == self.last or one.step % self.loop.eval_every == 0 or one.step in self.rule.rungs

    def _figures(self, batches: Iterable[PyTree], lanes: list[int]) -> dict[int, dict[str, float]]:
        """Of each of these lanes, from the sums of each batch, which are added in the order of `train`."""
        sums: Any = None
        for found in batches:
            sums = metrics.gather(self.task.metrics, sums, found)
        if not self.program.lanes:
            return {0: results(self.task, sums)}
        return {lane: results(self.task, _of(sums, lane)) for lane in lanes}

    def _evaluated(self, lane: int, one: Progress, figures: dict[str, float]) -> bool:
        """Notes an evaluation of the trial's own cadence; whether the trial ends with it."""
        ends = one.step == self.last
        if not ends and one.step % self.loop.eval_every:
            return False
        one.curve.append((one.step, figures))
        note_value(one, figures[self.loop.monitor], step=one.step, larger=self.larger)
        return ends or (self.loop.patience is not None and one.waited >= self.loop.patience)

    def _keep(self, view: PyTree, due: list[tuple[int, Progress]]) -> None:
        """What evaluation saw of the lanes that are at their best, or at their end where the last step counts."""
        taken = np.zeros(len(self.lanes), bool)
        for lane, one in due:
            taken[lane] = one.best_step == one.step if self.loop.keep_best else True
        if taken.any():
            self.slots = self.program.keep(self.slots, view, taken)

    def _stopped(self, due: list[tuple[int, Progress]], figures: dict[int, dict[str, float]]) -> set[int]:
        """The lanes whose trials the rule ends here."""
        found: set[int] = set()
        for rung in sorted({one.step for _, one in due} & set(self.rule.rungs)):
            here = {one.trial.number: (lane, one) for lane, one in due if one.step == rung}
            values = {number: figures[lane][self.judged] for number, (lane, _) in here.items()}
            for number, (_, one) in here.items():
                one.rungs[rung] = values[number]
            found |= {here[number][0] for number in self.rule.decide(rung, values)}
        return found

    def _exploit(self, due: list[tuple[int, Progress]]) -> None:
        """Of a population: the worst go on from the weights of the best, with numbers near theirs."""
        if not isinstance(self.rule, Population):
            return
        index, places = np.arange(len(self.lanes), dtype=np.int32), {one.trial.number: (lane, one) for lane, one in due}
        values = {number: one.rungs[one.step] for number, (_, one) in places.items() if one.step in one.rungs}
        trials = {number: one.trial for number, (_, one) in places.items()}
        for number, parent in self.rule.parents(due[0][1].step, values).items() if values else ():
            lane, one = places[number]
            index[lane] = places[parent][0]
            one.trial = self.actions.explore(trials[number], trials[parent])
            one.history.append((one.step, parent, one.trial.settings))
            self.experiments[lane] = one.trial.experiment
        if (index != np.arange(len(index))).any():
            train = self.program.take(self.slots, index).train
            self.slots = self.slots._replace(train=train)
            self.numbers = self.program.numbers(self.experiments)

    def _complete(self, lane: int, one: Progress, test: dict[str, float]) -> Outcome:
        step = one.best_step if self.loop.keep_best else one.step
        valid = dict(one.curve)[step]
        lost = not math.isfinite(valid["loss"])
        why = f"the validation loss is {valid['loss']}" if lost else None
        return self._outcome(lane, one, "failed" if lost else "complete", {"valid": valid, "test": test}, why=why)

    def _outcome(
        self,
        lane: int,
        one: Progress,
        state: str,
        figures: dict[str, dict[str, float]],
        *,
        why: str | None,
        steps: int | None = None,
    ) -> Outcome:
        """Frees the lane."""
        self.lanes[lane] = None
        return Outcome(
            trial=one.trial,
            state=state,
            figures=figures,
            curve=one.curve,
            rungs=one.rungs,
            steps=one.step if steps is None else steps,
            tested_step=one.best_step if self.loop.keep_best else one.step,
            seconds=one.seconds,
            form="lanes" if self.program.together else "queue",
            why=why,
            history=one.history,
        )


def _of(sums: Any, lane: int) -> Any:
    """The sums of one lane."""
    return jax.tree.map(lambda leaf: leaf[lane], sums)
