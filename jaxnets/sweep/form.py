"""Lanes or queue: how the trials of one structure are run here; measured for a few steps, or as the user says.

Lanes start no program per trial and fill an accelerator, a queue has the smaller program and, of convolutions on a CPU,
the faster one. What a measurement costs is weighed too: work that is done sooner than a program is compiled is queued.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Collection, Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from jaxnets import data
from jaxnets.admission import Admitted
from jaxnets.batch_size import device_bytes
from jaxnets.build import experiment_step
from jaxnets.config import Experiment
from jaxnets.errors import ConfigError
from jaxnets.flops import flops, primitives
from jaxnets.sweep.functions import LONGEST
from jaxnets.sweep.program import Program

Form = Literal["auto", "lanes", "queue"]
MOST, _MOST_ON_A_CPU = 256, 64  # lanes, unless the user asks for more
_CACHE_BYTES = 2**23  # of the state of all lanes, on a CPU: with more, steps wait for memory
_MANY, _FEW = 8, 4  # trials, and lanes, from which on lanes are likely to be faster on a CPU
_LONG_STEP = 0.01  # seconds: from here on a few lanes tell what many would do
_PROBE_SECONDS = 0.03  # of one timing
_CALL_SECONDS = 0.5  # of short trials, in a queue, that go into one call together
_MOST_IN_A_CALL = 64  # of these
_SLOW = 1e10  # FLOPs a second that even small matrices reach, to tell short trials before anything has run
_SMALL, _LEAST_STEP = 4e10, 2e-5  # FLOPs a second of small matrices, and seconds a step beside
# Times of compilation that work must exceed before a second form is tried, on a CPU and elsewhere: on a CPU it saves a
# third of the time at best, where the first was well guessed.
_WORTH_ON_A_CPU, _WORTH = 10.0, 1.5
_LEAST_COMPILING = 1.0  # seconds that no program is below


class Chosen(NamedTuple):
    """The program that a structure's trials run in, and why.

    lanes_seconds, queue_seconds: of one step of one trial, where it was measured
    compiling, measuring: seconds of the choice
    """

    program: Program
    lanes_seconds: float | None
    queue_seconds: float | None
    compiling: float
    measuring: float
    why: str

    @property
    def form(self) -> str:
        return "lanes" if self.program.together else "queue"


def choose(
    admitted: Admitted,
    some: Sequence[Experiment],
    *,
    form: Form = "auto",
    lanes: int | None = None,
    waiting: int,
    figures: Collection[str] | None = None,
    sums: bool = False,
    devices: Sequence[Any] | None = None,
    limit: int | None = None,
) -> Chosen:
    """Compiles what these trials need and, where nobody has said which form, takes the faster one.

    some:    trials of the structure, whose numbers are measured with
    lanes:   at most; default: as many as wait, at most 256 (64 on a CPU), and as fit the memory
    waiting: trials that could run
    figures: that are measured of them, None = all
    sums:    whether the steps' own sums are wanted, for a log
    limit:   bytes on one device that lanes may take; default: 0.9 of what is free

    Raises ConfigError if the number of lanes that the user asks for cannot be.
    """
    measured = {"figures": figures, "sums": sums}
    found = _Choice(admitted, list(some), lanes, waiting, measured, list(devices or jax.local_devices()), limit)
    return found.made(form)


class _Choice:
    def __init__(
        self,
        admitted: Admitted,
        some: list[Experiment],
        lanes: int | None,
        waiting: int,
        measured: dict[str, Any],
        devices: list[Any],
        limit: int | None,
    ) -> None:
        self.admitted, self.some, self.devices, self.asked = admitted, some, devices, lanes
        self.measured = measured
        self.waiting, self.limit = waiting, device_bytes() if limit is None else limit
        self.compiling = self.measuring = 0.0

    def made(self, form: Form) -> Chosen:
        if form == "lanes":
            return self._chosen(self._lanes(self._most(MOST), probe=False), why="asked for")
        if form == "queue" or self._most() < 2:
            why = "asked for" if form == "queue" else "there is one trial"
            return self._chosen(self._queue(probe=False), why=why)
        lanes = self._lanes_are_likely()
        if not self.asked and (work := self._at_most()) < self._worth() * _LEAST_COMPILING:
            program = self._lanes(self._most(), probe=False) if lanes else self._queue(probe=False)
            return self._chosen(program, why=f"its {work:.1f} s of steps, at most, are not worth a second program")
        return self._lanes_first() if lanes else self._queue_first()

    def _lanes_first(self) -> Chosen:
        many = self._lanes(self._most())
        each = self._seconds(many)
        if why := self._settled(each, many):
            return self._chosen(many, each, None, why=why)
        queue = self._queue()
        return self._faster(many, each, queue, self._seconds(queue))

    def _queue_first(self) -> Chosen:
        queue = self._queue()
        one = self._seconds(queue)
        if why := self._settled(one, queue):
            return self._chosen(queue, None, one, why=why)
        few = _FEW * len(self.devices)
        if one > _LONG_STEP and few < self._most() and (each := self._seconds(self._compiled(few))) >= one:
            return self._chosen(queue, each, one, why="a queued step is faster")
        many = self._lanes(self._most())
        return self._faster(many, self._seconds(many), queue, one)

    def _faster(self, many: Program, each: float, queue: Program, one: float) -> Chosen:
        if each < one:
            return self._chosen(many, each, one, why="a step in lanes is faster")
        return self._chosen(queue, each, one, why="a queued step is faster")

    def _settled(self, seconds: float, program: Program) -> str | None:
        """Why the other form is not tried, at so many seconds for a step of a trial."""
        work = seconds * self.waiting * self.admitted.total
        if self.asked or work > self._worth() * program.compile_seconds:
            return None
        return f"its {work:.1f} s of steps are not worth a second program"

    def _at_most(self) -> float:
        """Seconds that all trials may take in a queue; nothing is measured."""
        return self.waiting * self.admitted.total * (self.flops / _SMALL + _LEAST_STEP)

    def _lanes_are_likely(self) -> bool:
        """Whether lanes are tried first: on a CPU, where some of them stay in its cache and nothing is convolved."""
        many = self.waiting >= _MANY and self._in_cache() >= _FEW
        return self._on_a_cpu() and self._in_memory() and many and "conv_general_dilated" not in primitives(self.step)

    @functools.cached_property
    def step(self) -> Any:
        return _step_of(self.admitted)

    @functools.cached_property
    def flops(self) -> float:
        return flops(self.step)

    def _worth(self) -> float:
        """Times of compilation that work must exceed before a second form is tried."""
        return _WORTH_ON_A_CPU if self._on_a_cpu() else _WORTH

    def _in_memory(self) -> bool:
        return data.fits_on_device(self.admitted.experiment.data, self.admitted.train)

    def _on_a_cpu(self) -> bool:
        return self.devices[0].platform == "cpu"

    def _chosen(self, program: Program, lanes: float | None = None, queue: float | None = None, *, why: str) -> Chosen:
        before = program.traced
        program.complete()
        self.compiling += program.traced - before
        return Chosen(program, lanes, queue, self.compiling, self.measuring, why)

    def _most(self, most: int | None = None) -> int:
        """Lanes that there is work for, a multiple of the devices; at most so many, or as many as are fast."""
        count = len(self.devices)
        if most is None:
            most = max(_MANY, self._in_cache()) if self._on_a_cpu() else MOST
        wanted = self.asked or _even(self.waiting, most)
        return wanted if wanted < 2 else -(-wanted // count) * count

    def _in_cache(self) -> int:
        """Lanes whose states and gradients stay in the caches of a CPU."""
        shapes = self.admitted.shapes
        lane = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves((shapes, shapes.params)))
        return min(_MOST_ON_A_CPU, _CACHE_BYTES * len(self.devices) // lane)

    def _lanes(self, lanes: int, *, probe: bool = True) -> Program:
        """The program for this many lanes, or half as many as long as they do not fit."""
        while True:
            program = self._compiled(lanes, probe=probe)
            if program.bytes <= self.limit:
                return program
            if self.asked or lanes <= len(self.devices):
                raise ConfigError(
                    f"{lanes} lanes need {program.bytes / 2**20:,.0f} MiB on a device, of {self.limit / 2**20:,.0f} "
                    "that are there; give fewer with --lanes, or --form queue"
                )
            guess = int(lanes * self.limit / program.bytes)
            lanes = max(1, min(lanes // 2, guess) // len(self.devices)) * len(self.devices)

    def _queue(self, *, probe: bool = True) -> Program:
        """One trial a call; of trials so short that calls would count, as many as half a second holds."""
        share = -(-self.waiting // len(self.devices))
        seconds = self.flops * self.admitted.total / _SLOW
        several = min(share, _MOST_IN_A_CALL, int(_CALL_SECONDS / max(seconds, 1e-9)))
        several = _even(share, several)
        return self._compiled(several if several > 1 and self._in_memory() else 0, together=False, probe=probe)

    def _compiled(self, lanes: int, *, together: bool = True, probe: bool = True) -> Program:
        """It can train; of a probe the rest follows if its form is chosen."""
        how = {"together": together, "devices": self.devices if together else self.devices[:1], "probe": probe}
        program = Program(self.admitted, lanes=lanes, length=LONGEST, **how, **self.measured)
        self.compiling += program.traced + program.wait("first", "advance")
        return program

    def _seconds(self, program: Program) -> float:
        """Of one step of one trial: the median of three timings of some steps each, after two unheard."""
        began = time.perf_counter()
        lanes = max(program.lanes, 1)
        numbers = program.numbers([self.some[n % len(self.some)] for n in range(lanes)])
        slots, feed = program.start(numbers), program.blank_feed()
        times, count = [], 1
        for repeat in range(5):
            start = time.perf_counter()
            slots, told = program.advance(slots, numbers, feed, count)
            jax.block_until_ready(told["finite"])
            found = time.perf_counter() - start
            if repeat > 1:
                times.append(found / count)
            count = int(np.clip(_PROBE_SECONDS / (found / count), 1, program.length))
        self.measuring += time.perf_counter() - began
        return statistics.median(times) / lanes


def _even(trials: int, most: int) -> int:
    """How many at a time, at most `most`, so that each time has about as many.

    >>> _even(256, 19), _even(3, 19), _even(64, 64)
    (19, 3, 64)
    """
    return -(-trials // max(1, -(-trials // max(most, 1))))


def about(admitted: Admitted) -> float:
    """Seconds that a whole trial may take on a slow device, from the FLOPs of its step: nothing is compiled."""
    return flops(_step_of(admitted)) * admitted.total / _SLOW


def _step_of(admitted: Admitted) -> Any:
    """The step as a jaxpr."""

    def step(state: Any, batch: Any) -> Any:
        return experiment_step(state, batch, admitted.experiment, schema=admitted.schema, teacher=admitted.teacher)

    return jax.make_jaxpr(step)(admitted.shapes, admitted.batch)
