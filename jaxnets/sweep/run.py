"""A sweep: trials from a searcher, grouped by the program that they share, trained, and told back.

The study in the storage is the truth; this process only takes trials from it and gives results back, so that it can be
killed at any time, and so that several may work on the same sweep. `sweep.json` is what the study says, for reading.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxnets import config, data, distributed
from jaxnets.admission import Admitted, admit
from jaxnets.build import check_schema
from jaxnets.config import Experiment
from jaxnets.data import Dataset
from jaxnets.errors import ConfigError, DataError, Interrupted, JaxnetsError
from jaxnets.signals import Signals
from jaxnets.sweep.form import Chosen, Form, choose
from jaxnets.sweep.joining import together
from jaxnets.sweep.opening import JOURNAL, Begun, begin, check_numbers, is_structural
from jaxnets.sweep.pool import Actions, Pool
from jaxnets.sweep.population import explored
from jaxnets.sweep.program import Program
from jaxnets.sweep.record import Record
from jaxnets.sweep.search import BY_NUMBER, Asked, Objective, Study, Told
from jaxnets.sweep.space import Space, as_text, assigned
from jaxnets.sweep.stopping import Rule, rule
from jaxnets.sweep.trial import Outcome, Progress, Trial

_AHEAD_SECONDS = 1.0  # of work that a queue takes from the storage at once
_AHEAD = 64  # trials, at most
_BATCH_SHARE = 16  # a searcher that learns is asked for at most this part of the sweep at once
_TOLD_SECONDS = 0.5  # for which results may wait for others to be written with them
_FIRST = 8  # trials of a structure that count as begun while its program is compiled and measured
_LANES: Form = "lanes"
_QUEUE: Form = "queue"
_LOOK_SECONDS = 2.0  # between two looks at the other workers, and two writings of sweep.json
_BEAT_SECONDS = 5.0  # between two signs of life
_WAIT_SECONDS = 1.0  # between two looks for trials that nobody has, once there are no others


class Result(NamedTuple):
    """What a sweep ends with; `figures` is the content of `sweep.json`."""

    folder: Path
    figures: dict[str, Any]


@dataclass
class _Group:
    """Trials of one structure: what they share, and who waits."""

    admitted: Admitted
    settings: dict[str, Any]  # of its first trial, those that make the structure
    waiting: collections.deque[Trial] = field(default_factory=collections.deque)
    chosen: Chosen | None = None
    pools: list[Pool] = field(default_factory=list)  # one, or one for each device
    smaller: dict[tuple[Any, int], Program] = field(default_factory=dict)  # by the first device and the lanes
    told: dict[str, Any] = field(default_factory=dict)  # what sweep.json says of it


def sweep(
    experiment: Experiment,
    space: Space,
    *,
    name: str,
    folder: str | Path | None = None,
    trials: int | str,
    objectives: Sequence[str] = ("valid.loss",),
    searcher: str = "tpe",
    stopping: str = "none",
    eta: int = 3,
    least: int | None = None,
    form: Form = "auto",
    lanes: int | None = None,
    storage: str | None = None,
    seed: int = 0,
    allow: Iterable[str] = (),
    workers: int = 1,
    wait: bool = True,
    say: Callable[[str], None] = print,
    show: Callable[[dict[str, Any]], None] = lambda figures: None,
    source: str = "",
) -> Result:
    """Trains trials of `experiment` until there are as many as asked for; on a folder that holds this sweep, goes on.

    space:      {dotted path: where its values come from}, see `jaxnets.sweep.space`
    trials:     how many there are to be in all, or "+100": as many more
    objectives: figures of the splits valid and test, as in "valid.loss" and "test.accuracy"
    stopping:   "asha", "halving", "median", "pbt": which trials end early; eta, least: see `jaxnets.sweep.stopping`
    form:       "lanes", "queue", or the faster one by measuring; lanes: how many at most
    storage:    a URL of Optuna's; default: a journal in the folder
    allow:      what may differ from the sweep that the folder holds: "space", "objectives", "fixed" (all else)
    workers:    how many processes share the sweep, as far as it is known: none takes more than its share at once
    wait:       whether to stay until the trials of all workers are done, and take those of one that dies
    source:     the config file, to be named in the results

    Raises ConfigError, DataError or UsageError before anything is trained; Interrupted after a signal: the trials that
    ran wait then, and the same call continues. Within `jaxnets.distributed.processes(apart=True)` each process is a
    worker that trains on its own devices.
    """
    folder = Path(folder or Path("sweeps") / name)
    given = {"eta": eta, "least": least, "form": form, "lanes": lanes, "seed": seed, "source": source}
    given |= {"workers": max(workers, distributed.count()), "wait": wait}
    storage = storage or str(folder / JOURNAL)

    def opened(trials: int | str, allow: tuple[str, ...]) -> Begun:
        check_numbers(eta=eta, least=least, lanes=lanes)
        begun = begin(experiment, space, name, folder, objectives, searcher, stopping, form, storage, allow, seed, say)
        begun.study.want(trials)
        for line in begun.lines:
            say(line)
        return begun

    with Signals() as signals:
        begun = together(opened, trials, allow, storage=storage)
        with _left(begun.study):
            return _Sweep(begun, given, signals, say=say, show=show).run()


@contextlib.contextmanager
def _left(study: Study) -> Iterator[None]:
    """After an error the trials of this worker are for others at once: its process may live on."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, Interrupted):  # after which it has left already
            with contextlib.suppress(JaxnetsError):
                study.close()
        raise


class _Sweep:
    """This process' part of a sweep."""

    def __init__(
        self,
        begun: Begun,
        given: dict[str, Any],
        signals: Signals,
        *,
        say: Callable[[str], None],
        show: Callable[[dict[str, Any]], None],
    ) -> None:
        self.begun, self.study, self.given, self.signals = begun, begun.study, given, signals
        self.say, self.show = say, show
        self.groups: dict[Any, _Group] = {}
        self.datasets: dict[Any, Dataset] = {_data_key(begun.experiment): begun.dataset}
        self.record = Record(
            begun.folder,
            begun.study,
            name=begun.name,
            experiment=begun.experiment,
            space=begun.space,
            objectives=begun.objectives,
            searcher=begun.searcher,
            stopping=begun.stopping,
            source=given["source"],
            began=begun.began,
        )
        self.record.spent["loading"] = time.perf_counter() - begun.began
        self.looked = self.told_at = 0.0
        self.untold: list[Told] = []
        self.unshared: dict[int, dict[int, float]] = collections.defaultdict(dict)  # {trial: {rung: value}}
        self.lock, self.failed = threading.RLock(), False  # of several pools, and whether one of them has failed
        self.worker = self.study.worker
        self.workers, self.waited = max(given["workers"], self.study.workers()), False
        self.joined = self.workers > 1  # by others, ever: what they shared stays when they go

    def run(self) -> Result:
        self.signals.hold()
        with self._alive():
            self._ask(1)
            while (group := self._next()) or self._others_run():
                if group:
                    self._run(group)
                if self.signals.received:
                    self.study.close()  # what it has and did not tell is for others, or for the next start
                    figures = self.record.write()
                    done = sum(one["state"] in ("complete", "pruned", "failed") for one in figures["trials"])
                    raise Interrupted(
                        self.signals.received,
                        f"signal {self.signals.received}: {done} trials are done; the same command continues",
                    )
                self._ask(1)
        self.signals.release()
        self.study.close()
        return Result(self.begun.folder, self._finished())

    def _finished(self) -> dict[str, Any]:
        """The last figures; of several processes process 0 has those of all, in which each has ended."""
        figures = self.record.finish()
        if self.given["wait"] and distributed.count() > 1:
            distributed.living()
            if distributed.first():
                figures = self.record.write()
        return figures

    @contextlib.contextmanager
    def _alive(self) -> Iterator[None]:
        """Gives signs of life meanwhile, also while a program is compiled or a call takes long."""
        ended = threading.Event()

        def beat() -> None:
            with contextlib.suppress(JaxnetsError):  # the main thread meets it as well, and says so
                while not ended.wait(_BEAT_SECONDS):
                    self.study.beat()

        thread = threading.Thread(target=beat, daemon=True, name="jaxnets-beat")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _others_run(self) -> bool:
        """Whether other workers have trials; waits a little then."""
        if not self.given["wait"] or not (count := self.study.others_run()):
            return False
        if not self.waited:
            self.say(f"{count} trials are with other workers: waiting for them, to take those of a worker that dies")
        self.waited, began = True, time.monotonic()
        while time.monotonic() < began + _WAIT_SECONDS and not self.signals.received:
            time.sleep(0.05)
        self.record.spent["waiting"] += time.monotonic() - began
        return True

    def _next(self) -> _Group | None:
        """The group with the most trials waiting."""
        return max((g for g in self.groups.values() if g.waiting), key=lambda g: len(g.waiting), default=None)

    def _run(self, group: _Group) -> None:
        """Trains what waits in a group, and what comes to it meanwhile."""
        if not group.pools:
            if len(group.waiting) < self._batch():
                self._ask(self._batch() - len(group.waiting))
            self.study.begin(trial.number for trial in itertools.islice(group.waiting, _FIRST))
            self._choose(group, form=_LANES if self.begun.stopping == "pbt" else self.given["form"])
        pools, before = group.pools, [dict(pool.seconds) for pool in group.pools]
        try:
            self._train(pools)
            self._tell()
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error) or len(pools[0].lanes) < 2:
                raise
            self._halve(group)
        finally:
            for pool, old in zip(pools, before, strict=True):
                pool.close()
                for name, seconds in pool.seconds.items():
                    self.record.spent[name] += (seconds - old[name]) / len(pools)

    def _pools(self, group: _Group) -> list[Pool]:
        """The pool of a group's lanes, or of its queue one for each device that this process has."""
        assert group.chosen is not None
        first, rule = group.chosen.program, self._rule(group)
        queued = not first.together and self.study.alone is None
        devices = [one for one in jax.local_devices() if queued and one not in first.devices]
        began = time.perf_counter()
        programs = [first, *(first.like(devices=[one]) for one in devices)]  # each compiles in a thread of its own
        if devices:
            self.record.spent["compiling"] += time.perf_counter() - began
            self.say(f"  the same queue on {len(devices)} more device(s): a trial on each")
        return [
            Pool(one, rule=rule, judged=self._judged(), actions=self._actions(group, one.devices)) for one in programs
        ]

    def _train(self, pools: Sequence[Pool]) -> None:
        """Runs the pools to their end, each in a thread of its own; what one meets stops all."""
        if len(pools) == 1:
            pools[0].run()
            return
        self.failed = False

        def run(pool: Pool) -> None:
            try:
                pool.run()
            except BaseException:
                self.failed = True
                raise

        with ThreadPoolExecutor(len(pools)) as threads:
            for one in [threads.submit(run, pool) for pool in pools]:
                one.result()

    def _choose(self, group: _Group, *, form: Form, lanes: int | None = None) -> None:
        """Gives a group its program and its pools; a trial that may end its worker gets no more than its own."""
        alone = self.study.alone is not None
        group.chosen = choose(
            group.admitted,
            [trial.experiment for trial in group.waiting],
            form=_QUEUE if alone else form,
            lanes=lanes or self._asked_lanes(),
            waiting=1 if alone else self._there(group),
            figures=self._figures(group.admitted),
        )
        group.told = self.record.chosen(group.chosen, group.settings)
        self._tell_chosen(group)
        group.pools = self._pools(group)
        if self.begun.stopping != "none" and not group.pools[0].rule.rungs:
            self.say(
                f"  --stopping {self.begun.stopping} ends none of these trials: with --least {self.given['least']} it "
                f"looks at none of their {group.admitted.last} steps"
            )

    def _halve(self, group: _Group) -> None:
        """After a device ran out of memory: its trials begin again, half as many at once."""
        assert group.chosen is not None
        form, many = _LANES if group.chosen.program.together else _QUEUE, len(group.pools[0].lanes)
        running = [one.trial for pool in group.pools for one in pool.lanes if one is not None]
        group.waiting.extendleft(reversed(running))
        for pool in group.pools:
            pool.slots = None
        lanes = many // 2
        self.say(f"out of memory with {many} at once: their trials begin again, {lanes} at once")
        group.pools, group.chosen, group.smaller = [], None, {}
        self._choose(group, form=form if lanes > 1 else _QUEUE, lanes=lanes if lanes > 1 else None)

    def _tell_chosen(self, group: _Group) -> None:
        chosen = group.chosen
        assert chosen is not None
        words = ", ".join(f"{path} {as_text(value)}" for path, value in group.settings.items()) or "one structure"
        program = chosen.program
        how = f"{program.lanes} lanes" if program.together else "a queue"
        self.say(f"{words}: {how} on {len(program.devices)} device(s): {chosen.why}")
        if program.shared:
            self.say(
                "  the data is not on the device: all lanes see the same batches, and a free lane waits for the others"
            )

    def _rule(self, group: _Group) -> Rule:
        total = group.admitted.last
        found = rule(
            self.begun.stopping,
            total=total,
            eta=self.given["eta"],
            least=self.given["least"] or max(1, total // 27),
            larger_is_better=self.begun.objectives[0].larger_is_better,
            share=self._alone(self._at_rung),
        )
        for record in self.study.records():
            seen = record.attributes.get("rungs") or {}
            found.remember(record.number, {int(step): value for step, value in seen.items()})
        return found

    def _at_rung(self, rung: int, values: dict[int, float]) -> dict[int, float]:
        """Tells other workers of values at a rung, and what theirs are; writes nothing until there was another."""
        for number, value in values.items():
            self.unshared[number][rung] = value
        if not self.joined:
            return {}
        self._tell_rungs()
        return self.study.shared(rung)

    def _tell_rungs(self) -> None:
        if self.unshared and self.joined:
            self.study.share(self.unshared)
            self.unshared.clear()

    def _judged(self) -> str:
        return self.begun.objectives[0].figure.partition(".")[2]

    def _figures(self, admitted: Admitted) -> set[str]:
        """What is measured of a trial: ranks (ROC-AUC) need every score on the host, and only if they are asked for."""
        wanted = {one.figure.partition(".")[2] for one in self.begun.objectives} | {admitted.experiment.loop.monitor}
        metrics = admitted.parts.task.metrics
        return wanted | {name for name, metric in metrics.items() if not metric.collects}

    def _batch(self) -> int:
        """Trials that are asked for at once, where lanes are free for them."""
        wanted = -(-(self.study.wanted or 1) // self.workers)
        return max(8, -(-wanted // _BATCH_SHARE)) if self.begun.searcher not in BY_NUMBER else wanted

    def _asked_lanes(self) -> int | None:
        """What the user asks for, and no more than the sweep has trials."""
        return self.given["lanes"] and min(self.given["lanes"], self.study.wanted or self.given["lanes"])

    def _there(self, group: _Group) -> int:
        """Trials that there are for a group at once, as far as it is known: a searcher that learns gives more later."""
        return len(group.waiting) if self.begun.searcher in BY_NUMBER else self._batch()

    def _actions(self, group: _Group, devices: Sequence[Any]) -> Actions:
        """What a pool on these devices does to the world, one pool at a time."""

        def more(free: int) -> list[Trial]:
            others = max((len(g.waiting) for g in self.groups.values() if g is not group), default=0)
            ahead = self._ahead(group, free)
            if len(group.waiting) < free and others < max(free, ahead):
                self._ask(ahead - len(group.waiting))
            taken = [group.waiting.popleft() for _ in range(min(free, len(group.waiting)))]
            self.study.begin(trial.number for trial in taken)
            group.told["trials"] += len(taken)
            place = ", ".join(map(str, devices))
            group.told["devices"][place] = group.told["devices"].get(place, 0) + len(taken)
            return taken

        return Actions(
            more=self._alone(more),
            done=self._alone(self._done),
            look=self._alone(self._look),
            explore=self._explore,
            smaller=lambda lanes: self._smaller(group, lanes, devices),
        )

    def _alone(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function for several threads, of which one at a time is in it."""

        def alone(*arguments: Any) -> Any:
            with self.lock:
                return function(*arguments)

        return alone

    def _explore(self, loser: Trial, winner: Trial) -> Trial:
        """The winner's settings, each number a little changed, and the loser's seed."""
        settings = explored(self.begun.space, winner.settings, draw=random.Random(f"{loser.number} {winner.settings}"))
        settings |= {path: loser.settings[path] for path in ("seed",) if path in loser.settings}
        return loser._replace(experiment=assigned(self.begun.experiment, settings), settings=settings)

    def _smaller(self, group: _Group, lanes: int, devices: Sequence[Any]) -> Program:
        """The program for fewer lanes of a group, compiled once."""
        assert group.chosen is not None
        key = (devices[0], lanes)
        if key not in group.smaller:
            group.smaller[key] = group.chosen.program.like(lanes=lanes, devices=devices)
            self.record.spent["compiling"] += group.smaller[key].traced
        return group.smaller[key]

    def _ahead(self, group: _Group, free: int) -> int:
        """Trials to ask for when some lanes are free: more than these where they are short and nothing is learned."""
        known = [pool for pool in group.pools if pool.seconds_a_step]
        if self.begun.searcher not in BY_NUMBER or not known:
            return free
        pool = known[0]
        seconds = (pool.seconds_a_step or 0.0) * group.admitted.total / len(pool.lanes)
        return max(free, min(_AHEAD, int(_AHEAD_SECONDS / max(seconds, 1e-9))))

    def _ask(self, count: int) -> None:
        """Takes trials from the study, each to the group of its structure; one that cannot be fails."""
        for asked in self.study.ask(max(1, count)):
            try:
                self._admit(asked)
            except (ConfigError, DataError) as error:
                self.study.tell(asked.number, "failed", attributes={"why": str(error), "worker": self.worker})
            if asked.number == self.study.alone:
                self.say(f"trial {asked.number} is trained alone: workers were lost again and again while they had it")

    def _admit(self, asked: Asked) -> None:
        """Ranges were checked at their ends, so that only what is new in structure is checked again."""
        one = assigned(self.begun.experiment, asked.settings)
        key = jax.tree.structure(one)
        if key not in self.groups:
            config.check(one)
            self.groups[key] = _Group(self._admitted(one), self._structural(asked.settings))
        self.groups[key].waiting.append(Trial(asked.number, one, asked.settings))

    def _admitted(self, one: Experiment) -> Admitted:
        key = _data_key(one)
        if key not in self.datasets:
            self.datasets[key] = data.load(one.data)
        check_schema(one, self.datasets[key].schema)
        return admit(one, self.datasets[key], devices=jax.local_devices()[:1])

    def _structural(self, settings: dict[str, Any]) -> dict[str, Any]:
        """The settings that change the program."""
        experiment, space = self.begun.experiment, self.begun.space
        return {path: value for path, value in settings.items() if is_structural(experiment, space, path)}

    def _done(self, outcomes: Sequence[Outcome]) -> None:
        """Told at once where the searcher learns of it or a trial is long; else many in one write."""
        self.untold += [self._told(one) for one in outcomes]
        for one in outcomes:
            self.unshared.pop(one.trial.number, None)  # its rungs are told with it
        if self.begun.searcher not in BY_NUMBER or time.monotonic() - self.told_at > _TOLD_SECONDS:
            self._tell()

    def _tell(self) -> None:
        if self.untold:
            self.study.tell_all(self.untold)
        self.untold, self.told_at = [], time.monotonic()

    def _told(self, one: Outcome) -> Told:
        judged = self._judged()
        attributes = {
            "figures": one.figures,
            "curve": [[step, figures[judged]] for step, figures in one.curve],
            "rungs": {str(step): value for step, value in one.rungs.items()},
            "steps": one.steps,
            "tested_step": one.tested_step,
            "seconds": one.seconds,
            "form": one.form,
            "why": one.why,
            "parent": one.history[-1][1] if one.history else None,
            "history": one.history,
            "worker": self.worker,
            "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        values = None
        if one.state == "complete":
            values = [_value(one.figures, objective) for objective in self.begun.objectives]
        elif one.state == "pruned" and one.rungs:
            values = [one.rungs[max(one.rungs)]]  # so that a searcher learns of it
        return Told(one.trial.number, one.state, values, attributes)

    def _look(self, running: Sequence[Progress]) -> bool:
        now = time.monotonic()
        if now - self.looked >= _LOOK_SECONDS:
            self.looked = now
            self._share()
            self._tell_rungs()
            if figures := self.record.write_if_cheap():
                self.show(figures)
        return bool(self.signals.received)

    def _share(self) -> None:
        """Gives back what waits beyond this worker's share, once there are more workers than were known of."""
        workers = max(self.given["workers"], self.study.workers())
        self.joined = self.joined or workers > 1
        if workers <= self.workers:
            self.workers = workers
            return
        self.workers = workers
        waiting = [trial.number for group in self.groups.values() for trial in group.waiting]
        kept = set(waiting[: -(-len(waiting) // workers)])
        kept |= set(self.study.give_back(number for number in waiting if number not in kept))
        for group in self.groups.values():
            group.waiting = collections.deque(trial for trial in group.waiting if trial.number in kept)


def _value(figures: dict[str, dict[str, float]], objective: Objective) -> float:
    split, _, figure = objective.figure.partition(".")
    return figures[split][figure]


def _data_key(experiment: Experiment) -> Any:
    """Equal exactly where two experiments read the same data."""
    plain = replace(experiment.data, augment=(), batch_size=1)
    leaves, structure = jax.tree.flatten(plain)
    return structure, tuple(leaves)
