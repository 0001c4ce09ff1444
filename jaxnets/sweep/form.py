"""Lanes or queue: how the trials of one structure are run here; measured for a few steps, or as the user says.

Lanes start no program per trial and fill an accelerator, a queue has the smaller program and, of convolutions on a CPU,
the faster one. What a measurement costs is weighed too: work that is done sooner than a program is compiled is queued.
"""

from __future__ import annotations

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
from jaxnets.flops import flops
from jaxnets.sweep.functions import LONGEST
from jaxnets.sweep.program import Program

Form = Literal["auto", "lanes", "queue"]
MOST = 256  # lanes, unless the user asks for more
_LONG_STEP = 0.01  # seconds: from here on a few lanes tell what many would do
_FEW = 4  # lanes
_FEW_ON_A_CPU = 16
_PROBE_SECONDS = 0.03  # of one timing
_CALL_SECONDS = 0.5  # of short trials, in a queue, that go into one call together
_MOST_IN_A_CALL = 64  # of these
_SLOW = 1e10  # FLOPs a second that even small matrices reach, to tell short trials before anything has run
# Times of compilation that the queued work must exceed before lanes are tried, on a CPU and elsewhere: on a CPU they
# save a third of the time at best, and two programs are compiled to know that.
_WORTH_ON_A_CPU, _WORTH = 6.0, 1.5


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
    lanes:   at most; default: as many as wait, at most 256, and as fit the memory
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
            return self._chosen(self._lanes(self._most()), None, None, "asked for")
        if form == "queue" or self._most() < 2:
            why = "asked for" if form == "queue" else "there is one trial"
            return self._chosen(self._queue(), None, None, why)
        queue = self._queue()
        one, steps = self._seconds(queue), self.waiting * self.admitted.total
        if one * steps < self._worth() * queue.compile_seconds and not self.asked:
            return self._chosen(queue, None, one, f"its {one * steps:.1f} s of steps are not worth a second program")
        if self._few(one) < self._most():
            some = self._compiled(self._few(one))
            few = self._seconds(some)
            if few >= one:
                return self._chosen(queue, few, one, "a queued step is faster")
            if (one - few) * steps < some.compile_seconds and not self.asked:
                return self._chosen(queue, few, one, "lanes would save less time than they take to compile")
        many = self._lanes(self._most())
        each = self._seconds(many)
        if each < one:
            return self._chosen(many, each, one, "a step in lanes is faster")
        return self._chosen(queue, each, one, "a queued step is faster")

    def _worth(self) -> float:
        return _WORTH_ON_A_CPU if self._on_a_cpu() else _WORTH

    def _on_a_cpu(self) -> bool:
        return self.devices[0].platform == "cpu"

    def _few(self, seconds: float) -> int:
        """Lanes that tell what many would do, at a step of so many seconds: more are no faster where they compute."""
        if seconds > _LONG_STEP:
            return _FEW * len(self.devices)
        return _FEW_ON_A_CPU if self._on_a_cpu() else self._most()

    def _chosen(self, program: Program, lanes: float | None, queue: float | None, why: str) -> Chosen:
        before = program.traced
        program.complete()
        self.compiling += program.traced - before
        return Chosen(program, lanes, queue, self.compiling, self.measuring, why)

    def _most(self) -> int:
        """Lanes that there is work for, a multiple of the devices."""
        count = len(self.devices)
        wanted = self.asked or min(MOST, self.waiting)
        return wanted if wanted < 2 else -(-wanted // count) * count

    def _lanes(self, lanes: int) -> Program:
        """The program for this many lanes, or half as many as long as they do not fit."""
        while True:
            program = self._compiled(lanes)
            if program.bytes <= self.limit:
                return program
            if self.asked or lanes <= len(self.devices):
                raise ConfigError(
                    f"{lanes} lanes need {program.bytes / 2**20:,.0f} MiB on a device, of {self.limit / 2**20:,.0f} "
                    "that are there; give fewer with --lanes, or --form queue"
                )
            guess = int(lanes * self.limit / program.bytes)
            lanes = max(1, min(lanes // 2, guess) // len(self.devices)) * len(self.devices)

    def _queue(self) -> Program:
        """One trial a call; of trials so short that calls would count, as many as half a second holds."""
        seconds, share = about(self.admitted), -(-self.waiting // len(self.devices))
        several = min(share, _MOST_IN_A_CALL, int(_CALL_SECONDS / max(seconds, 1e-9)))
        several = -(-share // -(-share // max(several, 1)))  # calls of one size
        in_memory = data.fits_on_device(self.admitted.experiment.data, self.admitted.train)
        return self._compiled(several if several > 1 and in_memory else 0, together=False)

    def _compiled(self, lanes: int, *, together: bool = True) -> Program:
        """What trains of it; the rest follows for the form that is chosen."""
        devices = self.devices if together else self.devices[:1]
        program = Program(
            self.admitted, lanes=lanes, together=together, devices=devices, length=LONGEST, probe=True, **self.measured
        )
        self.compiling += program.traced + program.wait()
        return program

    def _seconds(self, program: Program) -> float:
        """Of one step of one trial: the median of three timings of some steps each, after two of one step."""
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


def about(admitted: Admitted) -> float:
    """Seconds that a whole trial may take on a slow device, from the FLOPs of its step: nothing is compiled."""

    def step(state: Any, batch: Any) -> Any:
        return experiment_step(state, batch, admitted.experiment, schema=admitted.schema, teacher=admitted.teacher)

    return flops(jax.make_jaxpr(step)(admitted.shapes, admitted.batch)) * admitted.total / _SLOW
