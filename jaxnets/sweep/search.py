"""Which settings to try next, and what came of those that were tried: a study in Optuna's storage.

A worker asks for as many trials as it can train at once and tells what came of them. Any number of workers share a
storage. A trial is one worker's; when its worker is gone, the next that asks gets it, with its number and settings.
Who gets it is decided by the storage: each that would have it adds a claim, and the first claim counts (`claims`).
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxnets.errors import UsageError, near
from jaxnets.sweep import draws
from jaxnets.sweep import space as spaces
from jaxnets.sweep.claims import ALONE, TOGETHER, Claims
from jaxnets.sweep.space import Choice, Space, active, ordered
from jaxnets.sweep.storage import Storage, needed, open_storage, quiet, told
from jaxnets.sweep.workers import Beats, is_dead, this_process

SEARCHERS = ("random", "quasi", "grid", "tpe", "gp", "cmaes", "nsga2")
_ONE_OBJECTIVE = ("cmaes",)  # searchers that can do no more
BY_NUMBER = ("random", "quasi", "grid")  # whose settings depend on the seed and the number alone
_HELD_SECONDS = 1.0  # a batch that takes longer is written in parts, so that other workers need not wait
_META, _WANTED, _WORKER, _TOLD = "jaxnets", "wanted", "worker", "told"  # names of attributes
_STATES = {"waiting": "WAITING", "running": "RUNNING", "complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}


class Objective(NamedTuple):
    """What is searched for, as a dotted figure of the last evaluation: `valid.loss`, `test.accuracy`."""

    figure: str
    larger_is_better: bool


class Asked(NamedTuple):
    """A trial to train."""

    number: int
    settings: dict[str, Any]


class Told(NamedTuple):
    """What came of a trial. A pruned one may give its last value, and `steps` among the attributes."""

    number: int
    state: str  # complete, pruned, failed
    values: Sequence[int | float] | None = None
    attributes: Mapping[str, Any] = {}  # JSON


class Record(NamedTuple):
    """A trial as it stands."""

    number: int
    state: str  # waiting, running, complete, pruned, failed
    settings: dict[str, Any]
    values: list[float] | None
    attributes: dict[str, Any]


class _Orphan(NamedTuple):
    """A trial whose worker is gone."""

    trial: Any  # Optuna's
    claim: int  # the number of the claim that would have it
    lost: int  # workers that were lost while they trained it


class Study:
    """One worker's view of a study. Its methods may be called from several threads.

    Every method raises UsageError if the storage cannot be used; what it holds is kept then.
    """

    seconds: dict[str, float]  # spent so far: in the searcher, and in the storage

    @classmethod
    def open(
        cls,
        name: str,
        *,
        storage: str | Path,
        space: Space,
        objectives: Sequence[Objective],
        searcher: str = "tpe",
        seed: int = 0,
        fixed: Mapping[str, Any],
        allow: Sequence[str] = (),
        patience: int | float = 60.0,
    ) -> Study:
        """Makes the study, or goes on with the one of that name.

        `fixed` is all else that trials depend on (JSON). Raises UsageError if the study there has another space,
        other objectives or another `fixed`, unless `allow` names what may differ: "space", "objectives", "fixed".
        `patience` are the seconds after which a worker of another machine that gives no sign of life counts as gone.
        """
        check_searcher(searcher, space, objectives)
        study = cls.__new__(cls)
        study._setup(name, open_storage(storage), dict(space), tuple(objectives), searcher, seed, patience)
        with study._at_work():
            study._create()
            study._agree({"space": _texts(space), "objectives": [list(o) for o in objectives], "fixed": fixed}, allow)
        study.beat()
        return study

    def _setup(
        self,
        name: str,
        storage: Storage,
        space: dict[str, Any],
        objectives: tuple[Objective, ...],
        searcher: str,
        seed: int,
        patience: int | float,
    ) -> None:
        self.name, self.space, self.objectives = name, space, objectives
        self.searcher, self.seed = searcher, seed
        self.seconds = {"searcher": 0.0, "storage": 0.0}
        self._storage = storage
        self._process = this_process()
        host = self._process["machine"].partition("/")[0]
        self.worker = f"{host}-{os.getpid()}-{os.urandom(3).hex()}"
        self._beats, self._patience = Beats(patience), patience
        self._beat, self._beaten = 0, -math.inf  # how many, and when the last was (monotonic seconds)
        self._lock = threading.RLock()
        self._depth, self._closed = 0, False
        self._ids: dict[int, int] = {}  # number -> Optuna's id, of the trials that this worker was given
        self._claimed: set[int] = set()  # those of them that were another's before
        self._alone: int | None = None  # the last trial that this worker was given alone
        self._points = draws.grid(space) if searcher == "grid" else None
        self._grid_from = 0  # the number of the grid's first trial
        self._names: dict[str, str] = {}  # path -> name in the storage

    # -- asked and told

    def ask(self, count: int) -> list[Asked]:
        """Up to `count` trials that nobody else has: of workers that are gone, waiting ones, then new ones.

        Fewer, or none, once the wanted number is reached or a grid is used up. A trial with which workers were lost
        again and again comes last and alone: see `alone`.
        """
        asked: list[Asked] = []
        with self._at_work():
            self._sign_of_life()
            while len(asked) < count and self.alone is None:
                more = self._ask(count - len(asked), count)
                if not more:
                    break
                asked += more
        return asked

    @property
    def alone(self) -> int | None:
        """The trial that this worker has and must train alone; until it is told, no other can be asked for."""
        return self._alone if self._alone in self._ids else None

    def begin(self, numbers: Iterable[int]) -> None:
        """Notes that trials are begun, where others had them before: who is lost with them counts against them."""
        if again := self._claimed.intersection(numbers):
            with self._at_work(), self._storage.batch():
                Claims(self._storage.optuna, self.name).begin(sorted(again), self.worker)

    def tell(
        self,
        number: int,
        state: str,
        values: Sequence[int | float] | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> bool:
        """What came of a trial; False if it was told before, by whoever had it then, and this is not counted."""
        return self.tell_all([Told(number, state, values, attributes or {})])[0]

    def tell_all(self, told: Iterable[tuple[Any, ...]]) -> list[bool]:
        """`tell` of many (`Told`, or its fields as a tuple), written at once where the storage can."""
        checked = [self._checked(Told(*one)) for one in told]
        with self._at_work(), self._storage.batch():
            self._sign_of_life()
            return [self._tell(one) for one in checked]

    def share(self, values: Mapping[int, Mapping[int, float]]) -> None:
        """Lets others see what trials of this worker have reached, {number: {step: value}}, before they end.

        They are Optuna's intermediate values, of which its dashboard draws curves; of one step the last counts, and
        they may be infinite or no number. Written at once where the storage can. A trial that this worker does not
        have any more is passed over.
        """
        from optuna.exceptions import UpdateFinishedTrialError

        with self._at_work(), self._storage.batch():
            for number, reached in values.items():
                for step, value in reached.items() if number in self._ids else ():
                    with contextlib.suppress(UpdateFinishedTrialError):  # another worker was faster with it
                        self._storage.optuna.set_trial_intermediate_value(self._ids[number], step, float(value))

    def shared(self, step: int) -> dict[int, float]:
        """{number: value} of all trials whose value at a step was shared, by whichever worker."""
        with self._at_work():
            reached = {trial.number: trial.intermediate_values for trial in self._trials()}
            return {number: values[step] for number, values in reached.items() if step in values}

    def records(self) -> list[Record]:
        """Every trial, by number, but for those that wait until more are wanted. What a closed study had waits."""
        paths = {name: path for path, name in self._names.items()}
        with self._at_work():
            limit = self._limit()
            records = [_record(trial, paths) for trial in self._trials()]
            if self._closed:
                mine = [one.state == "running" and one.number in self._ids for one in records]
                records = [
                    one._replace(state="waiting") if was else one for one, was in zip(records, mine, strict=True)
                ]
            return [one for one in records if one.state != "waiting" or one.number < limit]

    def want(self, trials: int | str) -> int:
        """Sets how many trials the study shall have in all; "+100" adds to what was wanted or is there.

        Returns the number. Before the first call there is no end.
        """
        more = isinstance(trials, str) and trials.startswith("+")
        digits = str(trials).removeprefix("+")
        if not digits.isdigit() or int(digits) < 1:
            raise UsageError(
                f"{trials!r} trials are not allowed; give a whole number of at least 1, or more as in +100"
            )
        with self._at_work(), self._storage.batch():
            before = self._attributes().get(_WANTED)
            there = before if before is not None else len(self._trials())
            wanted = there + int(digits) if more else int(digits)
            if wanted != before:
                self._storage.optuna.set_study_user_attr(self._id, _WANTED, wanted)
        return wanted

    @property
    def wanted(self) -> int | None:
        """How many trials the study shall have, a grid no more than its points; None if there is no end."""
        with self._at_work():
            limit = self._limit()
            return None if limit == math.inf else int(limit)

    def give_back(self, numbers: Iterable[int]) -> list[int]:
        """Lets others have trials that were asked for and not begun; returns those that stay with this worker."""
        kept = []
        with self._at_work(), self._storage.batch():
            for number in numbers:
                if number in self._claimed or number not in self._ids:  # a claim cannot be taken back
                    kept.append(number)
                else:
                    self._put_back(self._storage.optuna.get_trial(self._ids.pop(number)))
        return kept

    def workers(self) -> int:
        """How many work on the study now, this one among them, as far as it is known here."""
        with self._at_work():
            signs = self._attributes()
            known = [name.partition(":")[2] for name in signs if name.startswith(f"{_WORKER}:")]
            others = [one for one in known if one != self.worker and not self._is_gone(one, signs)]
        return 1 + len(others)

    def others_run(self) -> int:
        """How many trials other workers have, those of a worker that is gone among them."""
        with self._at_work():
            running = [trial for trial in self._trials() if trial.state.name == "RUNNING"]
            return sum(trial.number not in self._ids for trial in running)

    def beat(self) -> None:
        """A sign of life, for workers on other machines; asking and telling give it as well."""
        with self._at_work():
            self._sign_of_life()

    def close(self) -> None:
        """Says that this worker goes: what it has not told is for others at once."""
        with self._at_work():
            self._closed = True
            self._write_beat(left=True)

    def __enter__(self) -> Study:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- the study

    def _create(self) -> None:
        import optuna

        directions = [
            optuna.study.StudyDirection.MAXIMIZE if one.larger_is_better else optuna.study.StudyDirection.MINIMIZE
            for one in self.objectives
        ]
        with quiet(), contextlib.suppress(optuna.exceptions.DuplicatedStudyError):
            self._storage.optuna.create_new_study(directions, self.name)
        self._id = self._storage.optuna.get_study_id_from_name(self.name)
        there = self._storage.optuna.get_study_directions(self._id)
        if there != directions:
            words = ["larger" if one == optuna.study.StudyDirection.MAXIMIZE else "smaller" for one in there]
            asked = [f"{one.figure} ({'larger' if one.larger_is_better else 'smaller'})" for one in self.objectives]
            raise UsageError(
                f"study {self.name!r} in {self._storage.where} has {len(there)} objective(s), of which better is: "
                f"{', '.join(words)}; given are {', '.join(asked)}; give as many of the same kind, or another --name"
            )

    def _agree(self, meta: dict[str, Any], allow: Sequence[str]) -> None:
        meta = json.loads(json.dumps(meta))
        with self._storage.batch():
            before = self._attributes().get(_META)
            names = {path: path for path in self.space}
            if before is not None:
                self._refuse_others(before, meta, allow)
                names = _names(before, meta["space"])
            self._names = names
            if before is None or before != meta | {"names": names}:
                self._storage.optuna.set_study_user_attr(self._id, _META, meta | {"names": names})
            if self._points is not None:
                self._grid_from = self._first_of_grid(json.dumps(meta["space"]))

    def _first_of_grid(self, space: str) -> int:
        """The number of the first trial of this grid: others may have been tried before."""
        key = f"grid:{zlib.crc32(space.encode()):08x}"
        first = self._attributes().get(key)
        if first is None:
            first = len(self._trials())
            self._storage.optuna.set_study_user_attr(self._id, key, first)
        return first

    def _refuse_others(self, before: Mapping[str, Any], meta: Mapping[str, Any], allow: Sequence[str]) -> None:
        from jaxnets.config import difference

        others = [part for part in PARTS if part not in allow and before[part] != meta[part]]
        told = []
        for part in others:
            if part == "objectives":
                changes = f"{before[part]} is there, {meta[part]} is given"
            else:
                pairs = difference(before[part], meta[part])
                changes = "; ".join(f"{path}: {old} is there, {new} is given" for path, (old, new) in pairs.items())
            told.append(f"another {PARTS[part]} ({changes})")
        if told:
            raise UsageError(
                f"study {self.name!r} in {self._storage.where} has {' and '.join(told)}; "
                f"give the same, another --name, or --allow {' '.join(others)}"
            )

    def _attributes(self) -> dict[str, Any]:
        return self._storage.optuna.get_study_user_attrs(self._id)

    def _trials(self) -> list[Any]:
        return self._storage.optuna.get_all_trials(self._id, deepcopy=False)

    # -- asking

    def _ask(self, count: int, batch: int) -> list[Asked]:
        """Some of the trials asked for: as many as are found in the time for which others may wait."""
        end = time.monotonic() + _HELD_SECONDS
        asked: list[Asked] = []
        with self._storage.batch():
            search: _Search | None = None
            for trial in self._free():
                search = search or _Search(self, trial.number, batch)
                asked.append(self._settle(trial, search))
                if len(asked) == count or time.monotonic() > end:
                    break
        return asked

    def _free(self) -> Iterator[Any]:
        """The trials that this worker may have, one after the other, each its own from then on."""
        from optuna.trial import TrialState

        trials, limit = self._trials(), self._limit()
        number = len(trials) - 1
        trials = [one for one in trials if one.state is TrialState.RUNNING or one.state is TrialState.WAITING]
        orphans = self._orphans(trials)
        for one in orphans:
            if one.lost >= TOGETHER + ALONE:
                self._give_up(one)
            elif one.lost < TOGETHER and self._claim(one):
                yield one.trial
        for trial in trials:
            if trial.state is TrialState.WAITING and trial.number < limit and self._take(trial):
                yield trial
        while number + 1 < limit:
            trial = self._new()
            number = trial.number
            if number >= limit:  # others were faster: it waits until more are wanted
                self._put_back(trial)
            else:
                yield trial
        suspects = [one for one in orphans if TOGETHER <= one.lost < TOGETHER + ALONE]
        for one in sorted(suspects, key=lambda one: one.lost):
            if not self._ids and self._claim(one):
                self._alone = one.trial.number
                self._claims.begin([one.trial.number], self.worker)
                yield one.trial

    def _claim(self, orphan: _Orphan) -> bool:
        if not self._claims.add(orphan.trial.number, orphan.claim, self.worker):
            return False
        self._claimed.add(orphan.trial.number)
        return True

    def _give_up(self, orphan: _Orphan) -> None:
        if self._claim(orphan):
            why = f"{ALONE} workers were lost while they trained this trial alone, and {TOGETHER} before among others"
            self._tell(Told(orphan.trial.number, "failed", None, {"why": why, "worker": self.worker}))

    def _limit(self) -> int | float:
        """The number of trials after which there are no more."""
        wanted = self._attributes().get(_WANTED, math.inf)
        return wanted if self._points is None else min(wanted, self._grid_from + len(self._points))

    def _new(self) -> Any:
        from optuna.trial import TrialState, create_trial

        template = create_trial(state=TrialState.RUNNING, user_attrs={_WORKER: self.worker})
        return self._storage.optuna.get_trial(self._storage.optuna.create_new_trial(self._id, template))

    def _put_back(self, trial: Any) -> None:
        from optuna.trial import TrialState

        self._storage.optuna.set_trial_state_values(trial._trial_id, TrialState.WAITING)

    def _settle(self, trial: Any, search: _Search) -> Asked:
        """Gives the trial the settings that it lacks, and keeps them."""
        self._ids[trial.number] = trial._trial_id
        known = self._known(trial)
        begin = time.perf_counter()
        settings = search.settings(trial, known)
        self._spent_searching(time.perf_counter() - begin)
        for path, value in settings.items():
            if self._names[path] not in trial.params:
                kind = search.distributions[path]
                self._storage.optuna.set_trial_param(
                    trial._trial_id, self._names[path], kind.to_internal_repr(value), kind
                )
        return Asked(trial.number, settings)

    def _known(self, trial: Any) -> dict[str, Any]:
        """What a trial was given before: by a worker that is gone, or by whoever put it into the queue."""
        given = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        return {path: given[name] for path, name in self._names.items() if name in given and path in self.space}

    def _take(self, trial: Any) -> bool:
        """Takes a waiting trial, if nobody else did."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        try:
            taken = self._storage.optuna.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
        except UpdateFinishedTrialError:
            return False
        if taken:
            self._storage.optuna.set_trial_user_attr(trial._trial_id, _WORKER, self.worker)
        return taken

    # -- workers

    def _orphans(self, trials: Sequence[Any]) -> list[_Orphan]:
        """The trials of workers that are gone."""
        running = [trial for trial in trials if trial.state.name == "RUNNING" and trial.number not in self._ids]
        if not running:
            return []
        claims = self._claims = Claims(self._storage.optuna, self.name)
        owners = [claims.owner(trial.number, trial.user_attrs.get(_WORKER)) for trial in running]
        signs = self._attributes()
        gone = {worker for worker in {worker for worker, _ in owners} if self._is_gone(worker, signs)}
        return [
            _Orphan(trial, claimed + 1, self._lost(claims.begun(trial.number), signs))
            for trial, (worker, claimed) in zip(running, owners, strict=True)
            if worker in gone
        ]

    def _lost(self, workers: Iterable[str], signs: Mapping[str, Any]) -> int:
        """How many of these are not known to have ended as they should."""
        return sum(one != self.worker and not signs[f"{_WORKER}:{one}"]["left"] for one in workers)

    def _is_gone(self, worker: str | None, signs: Mapping[str, Any]) -> bool:
        sign = signs.get(f"{_WORKER}:{worker}")
        if sign is not None and (sign["left"] or is_dead(sign["process"])):
            return True
        return self._beats.silent(str(worker), sign and sign["beat"])

    def _sign_of_life(self) -> None:
        if time.monotonic() - self._beaten > self._patience / 6:
            self._write_beat(left=False)

    def _write_beat(self, *, left: bool) -> None:
        self._beat, self._beaten = self._beat + 1, time.monotonic()
        sign = {"beat": self._beat, "left": left, "process": self._process}
        self._storage.optuna.set_study_user_attr(self._id, f"{_WORKER}:{self.worker}", sign)

    # -- telling

    def _checked(self, told: Told) -> Told:
        """With values that can be kept; a trial without finite ones has failed."""
        if told.state not in ("complete", "pruned", "failed"):
            raise ValueError(f"state {told.state!r} is not allowed; use complete, pruned or failed")
        values = None if told.values is None else [float(value) for value in told.values]
        if told.state == "complete" and (values is None or len(values) != len(self.objectives)):
            raise ValueError(f"trial {told.number} gives {values}, and there are {len(self.objectives)} objectives")
        if values is not None and not all(map(math.isfinite, values)):
            bad = next(o.figure for o, value in zip(self.objectives, values, strict=False) if not math.isfinite(value))
            why = {"why": f"{bad} is not finite"} | dict(told.attributes)
            return Told(told.number, "failed" if told.state == "complete" else told.state, None, why)
        return told._replace(values=values)

    def _tell(self, told: Told) -> bool:
        import optuna
        from optuna.trial import TrialState

        storage = self._storage.optuna
        trial = self._ids.pop(told.number, None)
        if trial is None:
            trial = storage.get_trial_id_from_study_id_trial_number(self._id, told.number)
        with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
            if storage.get_trial(trial).state.is_finished():
                return False
            storage.set_trial_user_attr(trial, _TOLD, dict(told.attributes))
            values = told.values
            if told.state == "pruned":
                if values and len(values) == 1:
                    storage.set_trial_intermediate_value(trial, int(told.attributes.get("steps") or 0), values[0])
                values = None
            storage.set_trial_state_values(trial, TrialState[_STATES[told.state]], values)
            return True
        return False

    # -- time

    @contextlib.contextmanager
    def _at_work(self) -> Iterator[None]:
        """One thread at a time; all time but the searcher's is the storage's."""
        with self._lock, told(self._storage.where):
            self._depth += 1
            begin, searched = time.perf_counter(), self.seconds["searcher"]
            try:
                yield
            finally:
                self._depth -= 1
                if not self._depth:
                    spent = time.perf_counter() - begin - (self.seconds["searcher"] - searched)
                    self.seconds["storage"] += spent

    def _spent_searching(self, seconds: float) -> None:
        self.seconds["searcher"] += seconds


class _Search:
    """The searcher for one batch; what it learns from is read once."""

    def __init__(self, study: Study, first: int, batch: int) -> None:
        from jaxnets.sweep import samplers

        self._of = study
        self.distributions = {path: samplers.distribution(one) for path, one in study.space.items()}
        self._complete = samplers.complete
        if study.searcher not in BY_NUMBER:
            import optuna

            seed = int(np.random.SeedSequence([study.seed, first]).generate_state(1)[0])
            self._sampler = samplers.sampler(study.searcher, study.space, seed=seed, batch=batch)
            self._study = optuna.study.Study(study.name, study._storage.optuna, sampler=self._sampler)

    def settings(self, trial: Any, known: Mapping[str, Any]) -> dict[str, Any]:
        study = self._of
        if study.searcher not in BY_NUMBER:
            return self._complete(study.space, study._names, self._sampler, self._study, trial, known)
        if study._points is not None:
            drawn = study._points[(trial.number - study._grid_from) % len(study._points)]
        elif study.searcher == "quasi":
            drawn = draws.quasi_settings(study.space, seed=study.seed, number=trial.number)
        else:
            drawn = draws.random_settings(study.space, seed=study.seed, number=trial.number)
        return _with_known(study.space, drawn, known)


def check_searcher(searcher: str, space: Space, objectives: Sequence[Objective]) -> None:
    """Raises UsageError if a searcher cannot search this space for these objectives, MissingExtra if it needs one."""
    if searcher not in SEARCHERS:
        raise UsageError(
            f"searcher {searcher!r} is not known; use one of {', '.join(SEARCHERS)}{near(searcher, SEARCHERS)}"
        )
    if not objectives:
        raise UsageError("there is no objective; give one, as in valid.loss")
    several = [one for one in SEARCHERS if one not in _ONE_OBJECTIVE]
    if len(objectives) > 1 and searcher in _ONE_OBJECTIVE:
        raise UsageError(
            f"searcher {searcher} takes one objective; with {len(objectives)} use one of {', '.join(several)}"
        )
    numbers = [path for path, one in space.items() if not isinstance(one, Choice) and one.when is None]
    if searcher == "cmaes" and len(numbers) < 2:
        raise UsageError(
            f"searcher cmaes moves in at least two numbers (log, uniform, int, without a condition), and the space has "
            f"{', '.join(numbers) or 'none'}; use tpe"
        )
    if searcher == "grid":
        draws.check_grid(space)
    if searcher == "cmaes":
        needed("cmaes", extra="sweep", purpose="for the searcher cmaes")
    if searcher == "gp":
        needed("torch", extra="gp", purpose="for the searcher gp")


PARTS = {"space": "space", "objectives": "objectives", "fixed": "base config"}


def _texts(space: Space) -> dict[str, str]:
    return {path: spaces.text(space[path]) for path in sorted(space)}


def _names(before: Mapping[str, Any], space: Mapping[str, str]) -> dict[str, str]:
    """What each path is called in the storage: by itself, until its values change in a way that Optuna refuses.

    A choice of other values, or another kind of range, goes by a new name: `seed`, `seed (2)`.
    """
    names: dict[str, str] = {}
    for path, given in space.items():
        name = before["names"].get(path, path)
        old = before["space"].get(path)
        if old is not None and _family(old) != _family(given):
            name = f"{path} ({int(name[len(path) + 2 : -1] or 1) + 1})"
        names[path] = name
    return before["names"] | names


def _family(text: str) -> Any:
    """What must not change under one name: the choices, or that it is a log, a uniform or a whole number."""
    dimension = spaces.parse(f"path={text}")[1]
    return dimension.values if isinstance(dimension, Choice) else (type(dimension), getattr(dimension, "log", None))


def _with_known(space: Space, drawn: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for path in ordered(space):
        if active(space[path], settings):
            settings[path] = known[path] if path in known else drawn.get(path, draws.value_at(space[path], 0.5))
    return settings


def _record(trial: Any, paths: Mapping[str, str]) -> Record:
    states = {optuna: word for word, optuna in _STATES.items()}
    settings = {paths.get(name, name): value for name, value in trial.params.items()}
    return Record(trial.number, states[trial.state.name], settings, trial.values, trial.user_attrs.get(_TOLD, {}))
