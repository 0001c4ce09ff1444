"""One start of a run: everything is compiled, then the loop drives it through `Actions`, and its result is left."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets import compilation, config, distributed, forward, optim, warm_start
from jaxnets.admission import Admitted
from jaxnets.build import build_model, experiment_step
from jaxnets.dispatch import Dispatch, choose
from jaxnets.errors import CheckpointError, ConfigError, Interrupted, NonFiniteError
from jaxnets.loop import Actions, Cadence, Notes, fit
from jaxnets.metrics import Opener
from jaxnets.parallel import Compiled, compile_step
from jaxnets.profiling import Profile, Window
from jaxnets.progress import Progress
from jaxnets.remote import Home
from jaxnets.run import folder
from jaxnets.run.feed import Feed
from jaxnets.run.log import opened
from jaxnets.run.result import leave
from jaxnets.run.validation import Validation
from jaxnets.signals import Signals
from jaxnets.step import evaluation_params, init_state, larger_is_better, results
from jaxnets.types import PyTree, TrainState
from jaxnets.utilisation import seconds_at_peak


class Drive:
    """Of an admitted experiment, in the home of its run, which no other run is in."""

    def __init__(
        self,
        admitted: Admitted,
        home: Home,
        progress: Progress,
        signals: Signals,
        *,
        allow: tuple[str, ...],
        sinks: tuple[Opener, ...],
        profile: Window | None,
    ) -> None:
        self.admitted, self.experiment, self.schema = admitted, admitted.experiment, admitted.schema
        self.parts, self.shapes, self.layout = admitted.parts, admitted.shapes, admitted.layout
        self.last = admitted.last
        self.home, self.run_dir, self.progress, self.signals = home, home.folder, progress, signals
        self.allow, self.openers, self.window = allow, sinks, profile
        self.numbers = self.layout.place_whole(jax.tree.map(jnp.asarray, self.experiment))
        self.larger_is_better = larger_is_better(self.parts.task, self.experiment.loop.monitor)
        self.feed = Feed(admitted)

    def run(self) -> dict[str, Any]:
        """Trains to the end, or goes on to it, and leaves the result in the run's folder; its figures."""
        larger = self.larger_is_better
        checkpoints = folder.checkpoints(self.home.shelf, self.experiment.loop, larger_is_better=larger)
        with checkpoints, self.feed.stream:
            self.checkpoints = checkpoints
            train_state, notes, start = self._start()  # before anything is written: a change may not fit what was saved
            self.profile = self._profile(start)
            if distributed.first():
                self._describe()
            self._introduce()
            stands = start == self.last and not notes.events_due
            trained = stands and not (self.run_dir / "dispatch.json").exists()  # in lanes, by a program of theirs
            dispatch = None if trained else self._dispatch(train_state)
            self._write_program(train_state)
            self.validation = Validation(self.admitted, self.numbers, train_state)
            distributed.gather("ready")  # the first has more to compile, and a collective does not wait for ever
            with opened(self.run_dir, self.openers, offset=notes.log_offset) as self.log:
                steps = start
                if dispatch is not None:
                    train_state, notes, steps = self._fit(train_state, notes, start, dispatch)
                self.log.flush()
            checkpoints.wait()
            return self._finish(train_state, notes, steps)

    def _init(self, seed: Any) -> TrainState:
        """The state before the first step, pure; the seed is an input, so that every seed shares one program."""
        return init_state(*self.parts, key=jax.random.key(seed), batch=self.admitted.batch)

    def _describe(self) -> None:
        """The files that say what this run is; written before the first step."""
        notice = folder.describe(self.run_dir, self.experiment, self.schema)
        if notice:
            self.progress.say(notice)
        folder.describe_teacher(self.run_dir, self.admitted.teacher)
        if self.admitted.teacher is not None:
            self.progress.say(self.admitted.teacher.words)

    def _introduce(self) -> None:
        """What is trained, for the user."""
        counts = ", ".join(f"{count} {split}" for split, count in dict(self.schema.counts).items())
        self.progress.say(
            f"{self.schema.source}: {counts}; {config.variant_name(type(self.experiment.model))} with "
            f"{self.admitted.parameters:,} parameters; {self.last} steps of {self.experiment.data.batch_size} examples "
            f"on {self.layout.devices} {jax.devices()[0].platform} device(s)"
            + (f" of {distributed.count()} processes" if distributed.count() > 1 else "")
        )
        if getattr(self.experiment.optim, "accumulate", 1) > 1 and "batch_stats" in self.shapes.state:
            self.progress.say("batch norm sees each micro-batch alone: accumulation is not the same as the whole batch")

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
        place = self.run_dir / "profile"
        return Profile(self.window, place, start=start, total=self.last, say=self.progress.say)

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
        constants = (self.numbers, *self.layout.place_whole((self.feed.arrays, self.admitted.teacher)))

        def step(state: TrainState, batch: PyTree, constants: PyTree) -> Any:
            how = {"schema": self.schema, "teacher": constants[2], "axis": self.layout.axis}
            return experiment_step(state, batch, constants[0], **how)

        def compile_form(length: int) -> Compiled:
            form = {"feed": self.feed.shapes(length), "length": length, "constants": constants}
            return compile_step(step, self.feed.batch_of, self.layout, train_state=train_state, **form)

        return choose(
            self.run_dir / "dispatch.json",
            wanted=self.experiment.loop.dispatch,
            compile_form=compile_form,
            feed=self.feed.placed,
            train_state=train_state,
            copy=self.layout.copy,
            longest=max(1, min(self.experiment.loop.log_every, self.last)),
            changed=self._check_program,
        )

    def _check_program(self) -> None:
        """Refuses to continue with a step that is another function than before, where nothing says why it should be."""
        if "program" not in self.allow:
            raise ConfigError(
                f"the step of {self.run_dir} is not the one that it began with, though its config and environment are: "
                "a function of your own, or jaxnets itself, has changed; restore it, give another --run-dir, "
                "or continue with the change: --allow program"
            )

    def _write_program(self, train_state: TrainState) -> None:
        """The forward pass, compiled before the first step so that no later moment compiles anything."""
        if not distributed.first():
            return
        model = build_model(self.experiment, self.schema)
        params = jax.eval_shape(lambda s: evaluation_params(self.parts.optimizer, s), train_state)
        length, own = self.experiment.data.context or 0, isinstance(self.experiment.model, config.Custom)
        forward.write_program(self.run_dir, model, self.schema, params, train_state.state, length=length, alone=own)

    def _fit(
        self, train_state: TrainState, notes: Notes, start: int, dispatch: Dispatch
    ) -> tuple[TrainState, Notes, int]:
        loop = self.experiment.loop
        lines = np.append(np.arange(loop.log_every, self.last, loop.log_every), self.last)
        rate = optim.learning_rate(self.experiment.optim, total_steps=self.admitted.total)
        rates = dict(zip(lines.tolist(), jax.jit(jax.vmap(rate))(lines - 1).tolist(), strict=True))

        def summarise(sums: Any, step: int) -> dict[str, float]:
            return results(self.parts.task, sums) | {"learning_rate": rates[step]}

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
            evaluate=self.validation,
            save=lambda step, state, kept, value: self.checkpoints.save(step, state, kept, metric=value),
            restore=self._restore,
            log=self.log.write,
            cut=self.log.cut,
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
        ids = self.admitted.train.row(self.feed.ids(number, 1)[0]).tolist()
        paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(self.shapes.params)]
        where = f"first bad gradient {paths[leaf]}" if leaf >= 0 else "the loss, with finite gradients"
        more = f" and {len(ids) - 8} more" if len(ids) > 8 else ""
        return f"{where}; batch {number}, example ids {', '.join(map(str, ids[:8]))}{more} (rows of the source)"

    def _finish(self, train_state: TrainState, notes: Notes, steps: int) -> dict[str, Any]:
        """Weights, test, samples, result and report. A run killed here comes back from its last checkpoint."""
        self.signals.release()
        train_state, tested_step = self._best(train_state, notes, steps)
        params = evaluation_params(self.parts.optimizer, train_state)
        params, state = self.layout.to_host((params, train_state.state))
        figures = None
        if distributed.first():
            how = {"notes": notes, "steps": steps, "tested_step": tested_step}
            figures = leave(self.run_dir, self.admitted, params, state, **how)
        return distributed.of_first("finished", figures)

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
