"""The functions of a structure, compiled and placed: what a pool calls.

Lanes are spread over devices along the mesh axis `trial`, where no lane knows of another.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxnets import data, parallel
from jaxnets.admission import Admitted
from jaxnets.config import Experiment
from jaxnets.parallel import Plan
from jaxnets.sweep.functions import LONGEST, Functions, Slots, kept
from jaxnets.types import PyTree, TrainState

_STACKED_BYTES = 2**28  # of a split's batches, up to which one call evaluates all of them
_TRIAL = "trial"
# Of random numbers, drawn once a trial: on a CPU, LLVM's later passes take longer over them than they save.
_ONCE = {"xla_backend_optimization_level": "1"}


class Program(Functions):
    """The compiled functions of a structure, for `lanes` trials a call, or for one (`lanes` = 0).

    They are traced at once and compiled in a thread, first what trains, so that training begins while the rest is
    compiled; whoever calls one that is not ready waits.

    The arguments are those of `Functions`, and:

    devices: that the lanes are spread over; one of a queue
    probe:   compile only what trains, to be measured; the rest follows when `complete` is called
    """

    def __init__(
        self,
        admitted: Admitted,
        *,
        lanes: int,
        together: bool = True,
        devices: Sequence[Any] | None = None,
        figures: Collection[str] | None = None,
        sums: bool = False,
        length: int = LONGEST,
        probe: bool = False,
    ) -> None:
        super().__init__(admitted, lanes=lanes, together=together, figures=figures, sums=sums, length=length)
        self.devices = list(devices or jax.local_devices()[:1])
        self.mesh = Mesh(np.array(self.devices), (_TRIAL,), axis_types=(AxisType.Auto,))
        arrays = dict(self.train.arrays) if self.on_device else {}
        self.fixed = self._put((arrays, admitted.teacher), PartitionSpec())
        self._kept_batches: dict[str, list[PyTree]] = {}
        self._compiling: dict[str, Future[tuple[Any, float]]] = {}
        self._compiler = ThreadPoolExecutor(1, "jaxnets-compile")  # one at a time: XLA itself takes several threads
        self.traced = 0.0  # seconds
        self._compile(self._training())
        if not probe:
            self.complete()

    def complete(self) -> None:
        """Begins to compile what a probe left out."""
        if "score" not in self._compiling:
            self._compile(self._evaluating())

    def wait(self, *names: str) -> float:
        """Waits until these programs, or all that were begun, are compiled; the seconds that it took."""
        began = time.perf_counter()
        for name in names or list(self._compiling):
            self._compiling[name].result()
        return time.perf_counter() - began

    @property
    def compile_seconds(self) -> float:
        """What it took to trace and to compile, as far as it is done."""
        return self.traced + sum(one.result()[1] for one in self._compiling.values() if one.done())

    @functools.cached_property
    def bytes(self) -> int:
        """What a device holds while it trains, as the compiler counts."""
        memory = self._program("advance").memory_analysis()
        state = sum(_nbytes(leaf) for leaf in jax.tree.leaves(self._slots))
        return int(memory.temp_size_in_bytes if memory else 0) + state // len(self.devices) + _bytes(self.fixed)

    def like(self, *, lanes: int | None = None, devices: Sequence[Any]) -> Program:
        """The same for other devices, or another number of lanes."""
        return Program(
            self.admitted,
            lanes=self.lanes if lanes is None else lanes,
            together=self.together,
            devices=devices,
            figures=self.figures,
            length=self.length if lanes is None else LONGEST,
        )

    def _compile(self, lowered: Iterator[tuple[str, Any]]) -> None:
        """Traces these programs, and has each compiled while the next is traced."""
        began = time.perf_counter()
        once = _ONCE if self.lanes and self.devices[0].platform == "cpu" else None  # alone: the bits of train
        with self._naming(), self._placing():
            for name, program in lowered:
                options = once if name == "first" else None
                self._compiling[name] = self._compiler.submit(_compiled, program, options)
        self.traced += time.perf_counter() - began

    def _program(self, name: str) -> Any:
        return self._compiling[name].result()[0]

    def _training(self) -> Iterator[tuple[str, Any]]:
        """What trains, lowered: the one that is traced sooner first, so that the other is traced while it compiles."""
        lane, whole, each = PartitionSpec(_TRIAL), PartitionSpec(), PartitionSpec(None, _TRIAL)
        numbers, fixed = self._shapes(self.experiment), jax.tree.map(_shape, self.fixed)
        first = self._jit(self._mapped(self._first), (lane,), lane).lower(numbers)
        self._slots: Slots = first.out_info
        yield "first", first
        rows, count = jax.tree.map(self._feed_shape, self._one_row()), self._count_shape()
        at = (lane, lane, whole, whole if self.shared else each, whole)
        advance = self._jit(self._block, at, (lane, each), donate=(0,))
        yield "advance", advance.lower(self._slots.train, numbers, fixed, rows, count)

    def _evaluating(self) -> Iterator[tuple[str, Any]]:
        """What evaluates and keeps the best, lowered."""
        lane, numbers, slots = PartitionSpec(_TRIAL), self._shapes(self.experiment), self._slots
        if not self.lanes:
            yield "measure", jax.jit(self._measured).lower(slots.train, numbers, self._evaluation_shapes())
        yield "view", self._jit(self._mapped(self._seen), (lane, lane), lane).lower(slots.train, numbers)
        yield "keep", self._keeping().lower(slots.best, slots.best, self._mask_shape())
        yield "score", self._lowered_score(slots.best, numbers)

    def _refilling(self) -> Iterator[tuple[str, Any]]:
        yield "refill", self._keeping().lower(self._slots, self._slots, self._mask_shape())

    def _keeping(self) -> Any:
        lane = PartitionSpec(_TRIAL)
        return self._jit(kept, (lane, lane, lane), lane, donate=(0,))

    def _lowered_score(self, view: PyTree, numbers: Any) -> Any:
        lane, whole = PartitionSpec(_TRIAL), PartitionSpec()
        batch, count = self._evaluation_shapes(), self._count_shape()
        if self._stacked is None:
            return self._jit(self._scored, (lane, lane, whole), lane).lower(view, numbers, batch)
        return self._jit(self._scored_all, (lane, lane, whole, whole), lane).lower(view, numbers, batch, count)

    def _jit(self, function: Any, at: tuple[Any, ...], out: Any, *, donate: tuple[int, ...] = ()) -> Any:
        if len(self.devices) == 1 or not self.lanes:
            return jax.jit(function, donate_argnums=donate)
        mapped = jax.shard_map(function, mesh=self.mesh, in_specs=at, out_specs=out, check_vma=False)
        return jax.jit(mapped, donate_argnums=donate)

    def _naming(self) -> Any:
        return parallel.layout(Plan(data=1), devices=self.devices[:1]).naming()

    def _placing(self) -> Any:
        """What is compiled for one device is compiled for this one."""
        return contextlib.nullcontext() if len(self.devices) > 1 else jax.default_device(self.devices[0])

    def _shapes(self, experiment: Experiment) -> PyTree:
        """Of numbers: weak types, as Python's numbers have, so that a trial in bfloat16 stays in it."""
        shape = (self.lanes,) if self.lanes else ()
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(shape, jnp.asarray(leaf).dtype, weak_type=True), experiment
        )

    def _one_row(self) -> PyTree:
        if self.on_device:
            return jax.ShapeDtypeStruct((self.batch_size,), jnp.int32)
        return self.admitted.batch

    def _feed_shape(self, leaf: Any) -> jax.ShapeDtypeStruct:
        lanes = (self.lanes,) if self.lanes and not self.shared else ()
        return jax.ShapeDtypeStruct((self.length, *lanes, *leaf.shape), leaf.dtype)

    def _put(self, tree: PyTree, spec: PartitionSpec) -> PyTree:
        return jax.device_put(tree, NamedSharding(self.mesh, spec) if len(self.devices) > 1 else self.devices[0])

    # What a pool calls. Every tree of arrays stays on the devices.

    def numbers(self, experiments: Sequence[Experiment]) -> Experiment:
        """The numbers of the trials of all lanes, placed."""
        leaves = [jax.tree.leaves(one) for one in experiments]
        columns = [
            np.asarray(column, kind) for column, kind in zip(zip(*leaves, strict=True), self._kinds, strict=True)
        ]
        if not self.lanes:
            columns = [column[0] for column in columns]
        structure = jax.tree.structure(self.experiment)
        return self._put(
            jax.tree.unflatten(structure, columns), PartitionSpec(_TRIAL) if self.lanes else PartitionSpec()
        )

    @functools.cached_property
    def _kinds(self) -> list[Any]:
        return [leaf.dtype for leaf in jax.tree.leaves(self._shapes(self.experiment))]

    def start(self, numbers: Experiment) -> Slots:
        """Every lane before its first step."""
        return self._program("first")(numbers)

    def expect_refills(self) -> None:
        """Begins to compile what `refill` needs, which few sweeps do."""
        if "refill" not in self._compiling:
            self._compile(self._refilling())

    def refill(self, slots: Slots, numbers: Experiment, fresh: np.ndarray) -> Slots:
        """The lanes that are `fresh` (lanes,) before their first step, the others as they are."""
        self.expect_refills()
        return self._program("refill")(slots, self.start(numbers), self._mask(fresh))

    def place(self, train: TrainState) -> TrainState:
        """The train states of all lanes, from the host."""
        return self._put(train, PartitionSpec(_TRIAL))

    def ids(self, seed: int, step: int, count: int) -> np.ndarray:
        """The example ids (count, batch) of `count` steps of a trial with this seed, in its own order."""
        how = {"batch_size": self.batch_size, "length": self.train.length, "groups": self.train.groups}
        if self.experiment.loop.overfit_batch:
            return np.repeat(data.orders(seed, 0, 1, **how), count, axis=0)
        return data.orders(seed, step, count, **how)

    def take(self, slots: Slots, lanes: np.ndarray) -> Slots:
        """Lane i becomes what lane `lanes[i]` is, as a population needs it, or a smaller program that goes on."""
        spec = PartitionSpec(_TRIAL)
        taken = jax.jit(lambda slots, lanes: jax.tree.map(lambda leaf: leaf[lanes], slots))(slots, lanes)
        return self._put(taken, spec) if len(self.devices) > 1 else taken

    def advance(self, slots: Slots, numbers: Experiment, feed: PyTree, count: Any) -> tuple[Slots, PyTree]:
        """`count` steps, and what they told, with the axes (length, lanes): `finite`, and `sums` if they are wanted.

        count: int, or of lanes apart one for each, (lanes,)
        """
        spec = PartitionSpec(None, _TRIAL) if self.lanes and not self.shared else PartitionSpec()
        placed = self._put(feed, spec)
        train, told = self._program("advance")(slots.train, numbers, self.fixed, placed, self._count(count))
        return slots._replace(train=train), told

    def blank_feed(self) -> PyTree:
        """Rows to measure with: the first example, again and again."""
        return jax.tree.map(
            lambda leaf: np.zeros(leaf.shape, leaf.dtype), jax.tree.map(self._feed_shape, self._one_row())
        )

    def view(self, slots: Slots, numbers: Experiment) -> tuple[PyTree, PyTree]:
        """What evaluation looks at now."""
        return self._program("view")(slots.train, numbers)

    def keep(self, slots: Slots, view: tuple[PyTree, PyTree], better: np.ndarray) -> Slots:
        """`view` becomes the best of the lanes where it is `better`."""
        return slots._replace(best=self._program("keep")(slots.best, view, self._mask(better)))

    def measure(
        self, slots: Slots, view: tuple[PyTree, PyTree], numbers: Experiment, lanes: Sequence[int] | None = None
    ) -> Iterator[PyTree]:
        """The metric sums (lanes, …) of each batch of the validation split now, of which `view` is the view."""
        if self.lanes:
            yield from self.score(view, numbers, "valid", lanes)
            return
        for batch in self._placed("valid"):
            yield jax.device_get(self._program("measure")(slots.train, numbers, batch))

    def score(
        self, view: tuple[PyTree, PyTree], numbers: Experiment, split: str, lanes: Sequence[int] | None = None
    ) -> Iterator[PyTree]:
        """The metric sums (lanes, …) of each batch of a split, on the host; where `lanes` are given, of these."""
        if self._stacked is None:
            for batch in self._placed(split):
                yield jax.device_get(self._program("score")(view, numbers, batch))
            return
        batches, count = self._stacked[split]
        counts: Any = count
        if self.apart and lanes is not None:
            counts = np.where(np.isin(np.arange(self.lanes), lanes), count, 0)
        sums = jax.device_get(self._program("score")(view, numbers, batches, self._count(counts)))
        for index in range(count):
            yield jax.tree.map(lambda leaf, at=index: leaf[:, at], sums)

    def _mask(self, mask: np.ndarray) -> Any:
        return self._small(mask if self.lanes else mask[0], PartitionSpec(_TRIAL) if self.lanes else PartitionSpec())

    def _small(self, array: Any, spec: PartitionSpec) -> Any:
        """What a call takes from the host by itself, if it need not be divided."""
        return self._put(array, spec) if len(self.devices) > 1 else array

    def _mask_shape(self) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((self.lanes,) if self.lanes else (), bool)

    def _count_shape(self) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((self.lanes,) if self.apart else (), jnp.int32)

    def _count(self, count: Any) -> Any:
        return self._small(np.broadcast_to(np.int32(count), self._count_shape().shape), PartitionSpec())

    @functools.cached_property
    def _stacked(self) -> dict[str, tuple[PyTree, int]] | None:
        """{split: (its batches, as many as the longer one has; their number)} on the devices, if they are small.

        A program of one trial measures batch by batch, as `train` does, since a loop around it may move last bits.
        """
        splits = {name: self.admitted.dataset.splits[name] for name in ("valid", "test")}
        if not self.lanes or not self.on_device or any(part.reader is not None for part in splits.values()):
            return None
        found = {name: list(self._batches(name)) for name in splits}
        most = max(map(len, found.values()))
        if most * _bytes(found["valid"][0]) > _STACKED_BYTES:
            return None
        return {
            name: (
                self._put(
                    jax.tree.map(lambda *leaves: np.stack(leaves), *batches, *batches[:1] * (most - len(batches))),
                    PartitionSpec(),
                ),
                len(batches),
            )
            for name, batches in found.items()
        }

    def _batches(self, split: str) -> Iterator[PyTree]:
        """The evaluation batches of a split, on the host."""
        part, valid = self.admitted.dataset.splits[split], self.admitted.dataset.splits["valid"]
        size = min(self.batch_size, valid.length)
        return data.evaluation_batches(part, size, workers=data.workers_of(self.experiment.data.workers))

    def _placed(self, split: str) -> Iterator[PyTree]:
        """The evaluation batches of a split on the devices, where they stay if they are small and in memory."""
        if split in self._kept_batches:
            return iter(self._kept_batches[split])
        batches = (self._put(batch, PartitionSpec()) for batch in self._batches(split))
        part = self.admitted.dataset.splits[split]
        if self.on_device and part.reader is None and part.length * self._row_bytes() < _STACKED_BYTES:
            self._kept_batches[split] = list(batches)
            return iter(self._kept_batches[split])
        return batches

    def _evaluation_shapes(self) -> PyTree:
        if self._stacked is not None:
            return jax.tree.map(_shape, self._stacked["valid"][0])
        return jax.tree.map(_shape, next(iter(self._batches("valid"))))


def _compiled(lowered: Any, options: dict[str, str] | None) -> tuple[Any, float]:
    """(the program, the seconds that it took)."""
    began = time.perf_counter()
    return lowered.compile(options), time.perf_counter() - began


def _shape(leaf: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype, sharding=getattr(leaf, "sharding", None))


def _nbytes(leaf: Any) -> int:
    return int(np.prod(leaf.shape)) * leaf.dtype.itemsize


def _bytes(tree: PyTree) -> int:
    return sum(_nbytes(leaf) for leaf in jax.tree.leaves(tree))
