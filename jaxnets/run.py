"""A run: an experiment and a folder become a trained, tested, reported result; started again, it continues."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets import (
    compilation,
    config,
    data,
    distributed,
    evaluate,
    forward,
    metrics,
    optim,
    parallel,
    remote,
    report,
    warm_start,
)
from jaxnets.admission import Admitted, admit, admit_data
from jaxnets.build import Parts, build, build_model, build_task, experiment_step
from jaxnets.checkpoint import Checkpoints
from jaxnets.config import Experiment
from jaxnets.data import Schema
from jaxnets.dispatch import Dispatch, choose, forget_program
from jaxnets.errors import CheckpointError, ConfigError, DataError, Interrupted, NonFiniteError, UsageError, near
from jaxnets.files import read_json, write_atomically
from jaxnets.folders import refuse_series
from jaxnets.loop import Actions, Cadence, Notes, fit
from jaxnets.metrics import Opener
from jaxnets.profiling import Profile, Window
from jaxnets.progress import Progress
from jaxnets.remote import Home
from jaxnets.signals import Signals
from jaxnets.step import evaluation_params, init_state, larger_is_better, make_eval_step, results
from jaxnets.types import PyTree, TrainState
from jaxnets.utilisation import seconds_at_peak

_ENVIRONMENT = ("packages", "devices", "processes", "threads", "platform", "python")  # what bits depend on
_TEACHER = "teacher.json"  # which weights taught this run


class Result(NamedTuple):
    """What a run ends with; `figures` is the content of `result.json`."""

    run_dir: Path | str
    figures: dict[str, Any]


def run(
    experiment: Experiment,
    run_dir: str | Path,
    *,
    allow: Iterable[str] = (),
    progress: Progress | None = None,
    sinks: Iterable[Opener] | Callable[[Path], Iterable[Opener]] = (),
    profile: Window | None = None,
) -> Result:
    """Trains to the end, tests, and writes the report; on a folder that holds a run, continues it.

    run_dir: a folder, or a URL that fsspec knows, as in gs://bucket/runs/x; it works in a folder of this host then
    sinks: where the log goes as well; each is opened with the records that stand in the log already, at every start and
    again where a rollback cuts it. They are no part of the experiment, so they may change on the way. A function is
    given the folder that the run works in.
    profile: steps whose trace is written to `profile/`; no part of the experiment either.

    Raises ConfigError before anything compiles, if the experiment is not allowed or differs from the folder's in more
    than the paths of `allow`; DataError if the data is bad or has changed; Interrupted after a signal, once saved.
    """
    config.check(experiment)
    progress, allow = progress or Progress(), tuple(allow)
    with _opened(run_dir, experiment, allow, progress.say) as home, Signals() as signals, progress:
        run_dir = home.folder
        openers = tuple(sinks(run_dir) if callable(sinks) else sinks)
        if (run_dir / "result.json").exists() and not _differs(run_dir, experiment):
            progress.say(f"{home.name} is finished; here is its result (another --run-dir starts a new run)")
            if not (run_dir / "report.html").exists() and distributed.first():  # killed between the two
                report.write(run_dir)
            with contextlib.ExitStack() as stack:
                _open(openers, run_dir, stack)
            return Result(_place(home), read_json(run_dir / "result.json"))
        dataset = admit_data(experiment, say=progress.say)
        _check_same(experiment, dataset.schema)
        _check_fit(experiment, dataset.schema, run_dir)
        admitted = admit(experiment, dataset)
        _check_teacher(admitted, run_dir, allow)
        how = {"allow": allow, "sinks": openers, "profile": profile}
        return _Run(admitted, home, progress, signals, **how).run()


@contextlib.contextmanager
def _opened(
    run_dir: str | Path, experiment: Experiment, allow: tuple[str, ...], say: Callable[[str], None]
) -> Iterator[Home]:
    """The home of a run of this experiment, which no other run is in."""
    if remote.is_url(run_dir):
        with remote.opened(str(run_dir), say=say) as home:
            check_folder(home.folder, experiment, allow)
            yield home
        return
    folder = Path(run_dir)
    check_folder(folder, experiment, allow)
    with locked(folder):
        yield remote.local(folder)


def _place(home: Home) -> Path | str:
    """Where the user finds the run."""
    return home.name if remote.is_url(home.name) else home.folder


def _open(openers: Iterable[Opener], run_dir: Path, stack: contextlib.ExitStack) -> list[metrics.Sink]:
    """The sinks beside the log, each with what stands in it already; `stack` closes them. Only process 0 has any."""
    sinks = []
    if not distributed.first():
        return sinks
    for opener in openers:
        sinks.append(opener(metrics.read(run_dir / "metrics.jsonl")))
        stack.callback(sinks[-1].close)
    return sinks


def _check_same(experiment: Experiment, schema: Schema) -> None:
    """ConfigError or DataError if this process has not the config or the data of process 0: they train one model."""
    own = {"config": json.loads(config.dump(experiment)), "data": schema.fingerprint}
    first = distributed.of_first("experiment", own)
    who = f"process {distributed.index()} of {distributed.count()}"
    changed = config.difference(first["config"], own["config"])
    if changed:
        lines = "\n".join(f"  {path}: {there!r} -> {here!r}" for path, (there, here) in changed.items())
        raise ConfigError(f"{who} has another config than process 0:\n{lines}\ngive all the same file and options")
    if first["data"] != own["data"]:
        raise DataError(
            f"{schema.source} of {who} is not that of process 0 (sha256 {own['data'][:12]}…, there "
            f"{first['data'][:12]}…); give all processes the same data"
        )


def _check_fit(experiment: Experiment, schema: Schema, run_dir: Path) -> None:
    old = run_dir / "schema.json"
    if old.exists():
        evaluate.check_same_data(Schema.from_json(read_json(old)), schema)
    names = {"loss", *build_task(experiment, schema).metrics}
    if experiment.loop.monitor not in names:
        raise ConfigError(
            f"loop.monitor {experiment.loop.monitor!r} is not measured; use one of {', '.join(sorted(names))}"
        )


def _check_teacher(admitted: Admitted, run_dir: Path, allow: tuple[str, ...]) -> None:
    """ConfigError if the teacher is not the one that the run began with."""
    path = run_dir / _TEACHER
    if admitted.teacher is None or not path.exists() or _allowed("task.distill.teacher", allow):
        return
    if read_json(path)["weights_sha256"] != admitted.teacher.sha256:
        raise ConfigError(
            f"the weights of the teacher {read_json(path)['teacher']} are not those that {run_dir} began with; "
            "restore them, give another --run-dir, or continue with the change: --allow task.distill.teacher"
        )


def check_folder(run_dir: Path, experiment: Experiment, allow: tuple[str, ...]) -> None:
    """Raises UsageError if the folder cannot hold a run of this experiment, and names what differs."""
    if run_dir.exists() and not run_dir.is_dir():
        raise UsageError(f"--run-dir {run_dir} is a file; give a folder")
    refuse_series(run_dir)
    changed = _differs(run_dir, experiment)
    known = [*config.flatten(json.loads(config.dump(experiment))), *changed, "program"]
    for name in allow:
        if not any(_allowed(path, (name,)) for path in known):
            raise UsageError(f"--allow {name} is no path of the config{near(name, known)}")
    refused = {path: pair for path, pair in changed.items() if not _allowed(path, allow)}
    if refused:
        lines = "\n".join(f"  {path}: {old!r} -> {new!r}" for path, (old, new) in refused.items())
        raise ConfigError(
            f"{run_dir} holds a run of another config:\n{lines}\n"
            f"give another --run-dir, or continue with the change: --allow {' '.join(refused)}"
        )
    if not (run_dir / "config.json").exists() and run_dir.exists() and any(_foreign(run_dir)):
        raise UsageError(f"--run-dir {run_dir} is not empty and holds no run; give another folder")


def _foreign(run_dir: Path) -> Iterator[Path]:
    """What a run that was killed before it wrote its config cannot have left."""
    for path in run_dir.iterdir():
        if not path.name.startswith(".") and not (path.name == "checkpoints" and not any(path.iterdir())):
            yield path


def _allowed(path: str, allow: tuple[str, ...]) -> bool:
    return any(path == name or path.startswith(name + ".") for name in allow)


def _differs(run_dir: Path, experiment: Experiment) -> dict[str, tuple[Any, Any]]:
    path = run_dir / "config.json"
    if not path.exists():
        return {}
    return config.difference(config.filled(read_json(path)), json.loads(config.dump(experiment)))


@contextlib.contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Makes the folder and keeps other runs out of it. Raises UsageError if one is in it, or if not all of the run's
    processes see it.
    """
    with contextlib.ExitStack() as stack:
        token = ""
        if distributed.first():
            run_dir.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(open(run_dir / ".lock", "a+"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UsageError(
                    f"{run_dir} is in use by another process; wait for it or give another --run-dir"
                ) from error
            token = secrets.token_hex(8)
            file.truncate(0)
            file.write(token)
            file.flush()
        if distributed.of_first("locked", token) != _read_lock(run_dir):
            raise UsageError(
                f"--run-dir {run_dir} of process {distributed.index()} is not the folder of process 0; "
                "give one on a file system that all processes share"
            )
        yield


def _read_lock(run_dir: Path) -> str | None:
    path = run_dir / ".lock"
    return path.read_text() if path.exists() else None


def environment() -> dict[str, Any]:
    """What the figures of a run depend on beside its config and data."""
    packages = ("jaxnets", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    devices = jax.devices()
    return {
        "packages": {name: metadata.version(name) for name in packages},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "devices": [f"{device.platform} {device.device_kind}" for device in devices],
        "threads": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "processes": distributed.count(),
        "git_commit": _commit(),
        "command": sys.argv,
    }


def _commit() -> str | None:
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            cwd=Path(__file__).parent,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None


class _Run:
    """One start of a run: everything is compiled, then the loop drives it through `Actions`."""

    def __init__(
        self,
        admitted: Admitted,
        home: Home,
        progress: Progress,
        signals: Signals,
        *,
        sinks: tuple[Opener, ...],
        profile: Window | None,
        allow: tuple[str, ...],
    ) -> None:
        self.experiment, self.dataset, self.schema = admitted.experiment, admitted.dataset, admitted.schema
        self.parts, self.shapes, self.layout = admitted.parts, admitted.shapes, admitted.layout
        self.batch, self.train, self.total = admitted.batch, admitted.train, admitted.total
        self.teacher = admitted.teacher
        self.home, self.run_dir, self.progress, self.signals = home, home.folder, progress, signals
        self.allow, self.openers, self.window = allow, sinks, profile
        self.last = admitted.last
        self.numbers = self.layout.place_whole(jax.tree.map(jnp.asarray, self.experiment))
        self.monitor = self.experiment.loop.monitor
        self.larger_is_better = larger_is_better(self.parts.task, self.monitor)
        self.workers = data.workers_of(self.experiment.data.workers)
        self.stream = data.training_stream(
            self.train,
            seed=int(self.experiment.seed),
            batch_size=self.experiment.data.batch_size,
            workers=self.workers,
            same=self.experiment.loop.overfit_batch,
            **self._own(self.experiment.data.batch_size),
        )

    def run(self) -> Result:
        loop = self.experiment.loop
        checkpoints = Checkpoints(
            self.home.shelf,
            keep_last=loop.keep_last,
            keep_every=loop.keep_every,
            keep_best=loop.keep_best,
            mode="max" if self.larger_is_better else "min",
            monitor=self.monitor,
        )
        with checkpoints, self.stream:
            self.checkpoints = checkpoints
            train_state, notes, start = self._start()  # before anything is written: a change may not fit what was saved
            self.profile = self._profile(start)
            if distributed.first():
                self._describe()
            self._introduce()
            stands = start == self.last and not notes.events_due
            trained = stands and not (self.run_dir / "dispatch.json").exists()  # in lanes, by a program of theirs
            dispatch = None if trained else self._dispatch(train_state)
            self._validate_program(train_state)
            distributed.gather("ready")  # the first has more to compile, and a collective does not wait for ever
            self.log = metrics.Silent()
            if distributed.first():
                self.log = metrics.JsonLines(self.run_dir / "metrics.jsonl", offset=notes.log_offset)
            with contextlib.closing(self.log), contextlib.ExitStack() as self.open:
                self.sinks = _open(self.openers, self.run_dir, self.open)
                steps = start
                if dispatch is not None:
                    train_state, notes, steps = self._fit(train_state, notes, start, dispatch)
                self.log.flush()
            checkpoints.wait()
            return self._finish(train_state, notes, steps)

    def _own(self, batch_size: int) -> dict[str, int]:
        """Which of how many equal slices of a batch this process reads; some may read the same one."""
        own = self.layout.own_rows(batch_size)
        size = own.stop - own.start
        return {"index": own.start // size, "count": batch_size // size}

    def _init(self, seed: Any) -> TrainState:
        """The state before the first step, pure; the seed is an input, so that every seed shares one program."""
        return init_state(*self.parts, key=jax.random.key(seed), batch=self.batch)

    def _describe(self) -> None:
        """The files that say what this run is; written before the first step, whole or not at all."""
        if _differs(self.run_dir, self.experiment):
            forget_program(self.run_dir / "dispatch.json")
            (self.run_dir / "result.json").unlink(missing_ok=True)  # it is that of the experiment before the change
        write_atomically(self.run_dir / "config.json", config.dump(self.experiment).encode())
        write_atomically(self.run_dir / "schema.json", (json.dumps(self.schema.to_json(), indent=2) + "\n").encode())
        now = environment()
        old = self.run_dir / "env.json"
        if old.exists():
            before = read_json(old)
            changed = [k for k in _ENVIRONMENT if before.get(k) != now[k]]
            if changed:
                forget_program(self.run_dir / "dispatch.json")
                self.progress.say(
                    f"another environment than before ({', '.join(changed)}): continues within float tolerance, "
                    "not bit for bit"
                )
        write_atomically(old, (json.dumps(now, indent=2) + "\n").encode())
        self._describe_teacher()

    def _introduce(self) -> None:
        """What is trained, for the user."""
        parameters = sum(leaf.size for leaf in jax.tree.leaves((self.shapes.params, self.shapes.frozen)))
        self.parameters = parameters
        counts = ", ".join(f"{count} {split}" for split, count in dict(self.schema.counts).items())
        self.progress.say(
            f"{self.schema.source}: {counts}; {config.variant_name(type(self.experiment.model))} with "
            f"{parameters:,} parameters; {self.last} steps of {self.experiment.data.batch_size} examples on "
            f"{self.layout.devices} {jax.devices()[0].platform} device(s)"
            + (f" of {distributed.count()} processes" if distributed.count() > 1 else "")
        )
        if getattr(self.experiment.optim, "accumulate", 1) > 1 and "batch_stats" in self.shapes.state:
            self.progress.say("batch norm sees each micro-batch alone: accumulation is not the same as the whole batch")

    def _describe_teacher(self) -> None:
        if self.teacher is None:
            (self.run_dir / _TEACHER).unlink(missing_ok=True)
            return
        told = {"teacher": self.teacher.run, "weights_sha256": self.teacher.sha256}
        write_atomically(self.run_dir / _TEACHER, (json.dumps(told, indent=2) + "\n").encode())
        self.progress.say(self.teacher.words)

    def _start(self) -> tuple[TrainState, Notes, int]:
        """The newest good checkpoint, or the state before the first step if none was ever written."""
        restored = self.checkpoints.restore(self.layout.shapes(self.shapes), say=self.progress.say)
        if restored is None:
            return self._fresh(), Notes(), 0
        self.progress.say(f"continues {self.home.name} at step {restored.step}")
        return self.layout.place_state(restored.tree), Notes(**restored.notes), restored.step

    def _profile(self, start: int) -> Profile | None:
        if self.window is None:
            return None
        folder = self.run_dir / "profile"
        return Profile(self.window, folder, start=start, total=self.last, say=self.progress.say)

    def _fresh(self) -> TrainState:
        """The state before the first step, with the weights of `init_from` where they fit."""
        state = jax.jit(self._init, out_shardings=self.layout.state(self.shapes))(int(self.experiment.seed))
        if self.experiment.init_from is None:
            return state
        fitted = warm_start.fit(state, warm_start.read(self.experiment.init_from), self.parts.optimizer)
        for line in fitted.lines():
            self.progress.say(line)
        return self.layout.place_state(fitted.state)

    def _dispatch(self, train_state: TrainState) -> Dispatch:
        """The step compiled in the form that this run uses from its first step to its last."""
        on_device = data.fits_on_device(self.experiment.data, self.train)
        arrays = dict(self.train.arrays) if on_device else {}
        constants = (self.numbers, *self.layout.place_whole((arrays, self.teacher)))
        gather = partial(data.gather, window=self.train.window, stride=self.train.stride)

        own, size = self._own(self.experiment.data.batch_size), self.experiment.data.batch_size

        def rows(numbers: list[int], length: int) -> PyTree:
            if numbers[-1] - numbers[0] == len(numbers) - 1:
                ids = self._orders(numbers[0], len(numbers))
            else:  # some were passed over
                ids = np.concatenate([self._orders(number, 1) for number in numbers])
            ids = np.concatenate([ids, np.broadcast_to(ids[:1], (length - len(ids), ids.shape[1]))])
            ids = data.shard(ids.T, **own).T
            if on_device:
                return ids
            if self.train.reader is not None:
                return _padded(self.stream(numbers), length)
            return jax.tree.map(np.asarray, _stacked(gather, self.train.arrays, ids))

        def batch_of(constants: PyTree, rows: PyTree, index: Any) -> PyTree:
            row = jax.tree.map(lambda leaf: leaf[index], rows)
            return gather(constants[1], row) if on_device else row

        def step(state: TrainState, batch: PyTree, constants: PyTree) -> Any:
            how = {"schema": self.schema, "teacher": constants[2], "axis": self.layout.axis}
            return experiment_step(state, batch, constants[0], **how)

        compile_form = partial(
            parallel.compile_step, step, batch_of, self.layout, constants=constants, train_state=train_state
        )
        return choose(
            self.run_dir / "dispatch.json",
            wanted=self.experiment.loop.dispatch,
            compile_form=lambda length: compile_form(feed=_whole(rows([0], length), size), length=length),
            feed=lambda numbers, length: self.layout.place_own_feed(rows(numbers, length), size),
            train_state=train_state,
            copy=self.layout.copy,
            longest=max(1, min(self.experiment.loop.log_every, self.last)),
            changed=self._check_program,
        )

    def _orders(self, first: int, count: int) -> np.ndarray:
        """The example ids (count, batch) of batches `first` and on."""
        size, overfit = self.experiment.data.batch_size, self.experiment.loop.overfit_batch
        how = {"batch_size": size, "length": self.train.length, "groups": self.train.groups}
        if overfit:
            return np.repeat(data.orders(int(self.experiment.seed), 0, 1, **how), count, axis=0)
        return data.orders(int(self.experiment.seed), first, count, **how)

    def _check_program(self) -> None:
        """Refuses to continue with a step that is another function than before, where nothing says why it should be."""
        if "program" not in self.allow:
            raise ConfigError(
                f"the step of {self.run_dir} is not the one that it began with, though its config and environment are: "
                "a function of your own, or jaxnets itself, has changed; restore it, give another --run-dir, "
                "or continue with the change: --allow program"
            )

    def _validate_program(self, train_state: TrainState) -> None:
        """Evaluation and export, compiled before the first step so that no later moment compiles anything."""
        model = build_model(self.experiment, self.schema)
        params = jax.eval_shape(lambda s: evaluation_params(self.parts.optimizer, s), train_state)
        length, own = self.experiment.data.context or 0, isinstance(self.experiment.model, config.Custom)
        if distributed.first():
            forward.write_program(self.run_dir, model, self.schema, params, train_state.state, length=length, alone=own)
        valid = self.dataset.splits["valid"]
        self.eval_batch = min(max(self.experiment.data.batch_size, 1), valid.length)
        devices = self.layout.batch_devices
        self.eval_batch = -(-self.eval_batch // devices) * devices

        def measured(train_state: TrainState, numbers: Experiment, batch: PyTree) -> PyTree:
            parts: Parts = build(numbers, self.schema)
            params = evaluation_params(parts.optimizer, train_state)
            return make_eval_step(parts.model, parts.task)(params, train_state.state, batch)["metrics"]

        batch = next(self._valid_batches())
        with self.layout.naming():
            lowered = jax.jit(measured, out_shardings=self.layout.replicated).lower(train_state, self.numbers, batch)
        self.measured = lowered.compile()

    def _valid_batches(self) -> Iterator[PyTree]:
        valid = self.dataset.splits["valid"]
        own = self._own(self.eval_batch)
        for batch in data.evaluation_batches(valid, self.eval_batch, workers=self.workers, **own):
            yield self.layout.place_own_batch(batch, self.eval_batch)

    def _evaluate(self, train_state: TrainState, interrupted: Callable[[], bool]) -> dict[str, float]:
        sums: Any = None
        for batch in self._valid_batches():
            if interrupted():
                return {}
            found = jax.device_get(self.measured(train_state, self.numbers, batch))
            sums = metrics.gather(self.parts.task.metrics, sums, found)
        return results(self.parts.task, sums)

    def _cut(self, offset: int) -> None:
        """The sinks follow from the log: where it is cut they are opened anew."""
        self.log.cut(offset)
        self.open.close()
        self.sinks = _open(self.openers, self.run_dir, self.open)

    def _fit(
        self, train_state: TrainState, notes: Notes, start: int, dispatch: Dispatch
    ) -> tuple[TrainState, Notes, int]:
        loop = self.experiment.loop
        lines = np.append(np.arange(loop.log_every, self.last, loop.log_every), self.last)
        rate = optim.learning_rate(self.experiment.optim, total_steps=self.total)
        rates = dict(zip(lines.tolist(), jax.jit(jax.vmap(rate))(lines - 1).tolist(), strict=True))

        def summarise(sums: Any, step: int) -> dict[str, float]:
            return results(self.parts.task, sums) | {"learning_rate": rates[step]}

        def log(record: metrics.Record) -> int:
            self.log.write(record)
            for sink in self.sinks:
                sink.write(record)
            return self.log.offset()

        dtype = getattr(self.experiment.model, "dtype", "float32")
        cadence = Cadence(
            total=self.last,
            length=dispatch.length,
            examples=self.experiment.data.batch_size,
            summarise=summarise,
            larger_is_better=self.larger_is_better,
            seconds_at_peak=seconds_at_peak(dispatch.flops, devices=self.layout.devices, dtype=dtype),
            marks=self.profile.marks if self.profile else (),
        )
        actions = Actions(
            advance=dispatch.advance,
            evaluate=self._evaluate,
            save=lambda step, state, kept, value: self.checkpoints.save(step, state, kept, metric=value),
            restore=self._restore,
            log=log,
            cut=self._cut,
            explain=self._explain,
            say=self.progress.say,
            show=self.progress.show,
            mark=self.profile.mark if self.profile and distributed.first() else lambda step: None,
            agree=distributed.agree,
            agree_to_save=distributed.agree_to_save,
        )
        self.progress.begin(self.last, start)
        compilation.seal()
        self.signals.hold()
        try:
            with compilation.told(self.progress.say):
                return fit(
                    train_state, notes, start=start, loop=loop, cadence=cadence, actions=actions, signals=self.signals
                )
        except Interrupted:
            self.log.flush()
            self.checkpoints.wait()
            raise
        except NonFiniteError:
            self.checkpoints.wait()
            raise
        finally:
            if self.profile:
                self.profile.close()
            self.progress.end()

    def _restore(self) -> tuple[TrainState, dict[str, Any], int]:
        restored = self.checkpoints.restore(self.layout.shapes(self.shapes), say=self.progress.say)
        if restored is None:
            raise NonFiniteError("there is no checkpoint to roll back to; save more often with --loop.save_every")
        return self.layout.place_state(restored.tree), restored.notes, restored.step

    def _explain(self, number: int, leaf: int) -> str:
        ids = self.train.row(self._orders(number, 1)[0]).tolist()
        paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(self.shapes.params)]
        where = f"first bad gradient {paths[leaf]}" if leaf >= 0 else "the loss, with finite gradients"
        more = f" and {len(ids) - 8} more" if len(ids) > 8 else ""
        return f"{where}; batch {number}, example ids {', '.join(map(str, ids[:8]))}{more} (rows of the source)"

    def _finish(self, train_state: TrainState, notes: Notes, steps: int) -> Result:
        """Weights, test, samples, result and report. A run killed here comes back from its last checkpoint."""
        self.signals.release()
        train_state, tested_step = self._best(train_state, notes, steps)
        params = evaluation_params(self.parts.optimizer, train_state)
        params, state = self.layout.to_host((params, train_state.state))
        figures = self._tested(params, state, notes, steps, tested_step) if distributed.first() else None
        return Result(_place(self.home), distributed.of_first("finished", figures))

    def _tested(self, params: PyTree, state: PyTree, notes: Notes, steps: int, tested_step: int) -> dict[str, Any]:
        """The figures of the result; writes all that a finished run leaves."""
        began = time.perf_counter()
        forward.write_weights(self.run_dir, params, state)
        figures: dict[str, Any] = {
            split: evaluate.test(self.run_dir, split, dataset=self.dataset) for split in ("valid", "test")
        }
        for split in ("valid", "test"):
            figures[f"{split}_examples"] = figures[split].pop("examples")
        figures |= {
            "steps": steps,
            "tested_step": tested_step,
            "seconds": notes.seconds,
            "evaluation_seconds": time.perf_counter() - began,
            "parameters": self.parameters,
            "data": {"source": self.schema.source, "sha256": self.schema.fingerprint},
            "task": evaluate.task_name(self.experiment),
            "skipped_steps": notes.skipped,
            "passed_over_batches": notes.passed_over,
            "stopped_early": notes.stopped_early,
        }
        self._samples(params, state)
        write_atomically(self.run_dir / "result.json", (json.dumps(figures, indent=2) + "\n").encode())
        report.write(self.run_dir)
        return figures

    def _best(self, train_state: TrainState, notes: Notes, steps: int) -> tuple[TrainState, int]:
        """The state that is tested and exported, and its step: the best kept one, or the last."""
        best = notes.best_step if self.experiment.loop.keep_best else None
        if best is None or best == steps:
            return train_state, steps
        try:
            restored = self.checkpoints.restore(self.layout.shapes(self.shapes), step=best, say=self.progress.say)
        except CheckpointError:
            restored = None
        if restored is None:
            self.progress.say(f"the best weights, of step {best}, are lost; those of step {steps} are tested instead")
            return train_state, steps
        return TrainState(*restored.tree), restored.step

    def _samples(self, params: PyTree, state: PyTree) -> None:
        """`samples.txt`: what a language model of bytes writes when it continues the test text."""
        if "tokens" not in self.dataset.splits["test"].arrays or self.schema.vocabulary_size != 256:
            return
        from jaxnets.generate import generate

        model = build_model(self.experiment, self.schema)
        if model.cache is None:
            return
        context = self.experiment.data.context or 64
        tokens = np.asarray(self.dataset.splits["test"].arrays["tokens"][: max(1, context // 4)], np.int32)[None]
        written = generate(
            model, params, state, jnp.asarray(np.repeat(tokens, 4, axis=0)), key=jax.random.key(0),
            max_tokens=context - tokens.shape[1], temperature=0.8, context=context,
        )  # fmt: skip
        texts = [bytes(np.asarray(row, np.uint8)).decode("utf-8", "replace") for row in written]
        write_atomically(self.run_dir / "samples.txt", "\n\n--------\n\n".join(texts).encode())


def _whole(rows: PyTree, batch_size: int) -> PyTree:
    """Shapes of the rows (steps, batch, ...) of all processes, from this one's."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((leaf.shape[0], batch_size, *leaf.shape[2:]), leaf.dtype), rows
    )


def _padded(batches: list[PyTree], length: int) -> PyTree:
    """Batches on a new first axis, the first of them again up to `length`; a single one is not copied."""
    if len(batches) == length == 1:
        return jax.tree.map(lambda leaf: leaf[None], batches[0])
    return jax.tree.map(lambda *leaves: np.stack(leaves), *batches, *batches[:1] * (length - len(batches)))


def _stacked(gather: Any, arrays: Any, ids: np.ndarray) -> PyTree:
    flat = gather(arrays, ids.reshape(-1))
    return jax.tree.map(lambda leaf: leaf.reshape(*ids.shape, *leaf.shape[1:]), flat)
