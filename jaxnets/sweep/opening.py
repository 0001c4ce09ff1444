"""What must hold before a sweep compiles anything: space, objectives, rule and data checked, and the study opened."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax

from jaxnets import config
from jaxnets.admission import admit_data
from jaxnets.build import build_task
from jaxnets.config import Experiment
from jaxnets.data import Dataset
from jaxnets.errors import ConfigError, UsageError, near
from jaxnets.step import larger_is_better
from jaxnets.sweep.form import Form
from jaxnets.sweep.search import PARTS, Objective, Study
from jaxnets.sweep.space import Choice, Space, assigned, check, ends, required, text
from jaxnets.sweep.stopping import STOPPINGS

JOURNAL = "study.journal"  # in a sweep's folder, where no storage is given


class Begun(NamedTuple):
    """A sweep that may start.

    began: `time.perf_counter()` when its checks did
    lines: what is to be said of its structures
    """

    name: str
    experiment: Experiment
    space: Space
    folder: Path
    study: Study
    objectives: tuple[Objective, ...]
    searcher: str
    stopping: str
    dataset: Dataset
    began: float
    lines: tuple[str, ...]


def begin(
    experiment: Experiment,
    space: Space,
    name: str,
    folder: Path,
    objectives: Sequence[str],
    searcher: str,
    stopping: str,
    form: Form,
    storage: str,
    allow: tuple[str, ...],
    seed: int,
    say: Callable[[str], None],
) -> Begun:
    """Everything that can be checked before a program is compiled, and the study opened."""
    began = time.perf_counter()
    if Path(name).name != name:
        raise UsageError(f"--name {name} is not allowed; give a name without folders, and the folder as --sweep-dir")
    unknown = [one for one in allow if one not in PARTS]
    if unknown:
        raise UsageError(f"--allow {unknown[0]} is not allowed; use one of {', '.join(PARTS)}{near(unknown[0], PARTS)}")
    config.check(experiment)
    check(space, experiment)
    lines = _structures(experiment, space, form)
    if stopping not in STOPPINGS:
        raise UsageError(
            f"--stopping {stopping} is not allowed; use one of {', '.join(STOPPINGS)}{near(stopping, STOPPINGS)}"
        )
    plan = experiment.plan
    if plan.fsdp != 1 or plan.tensor != 1:
        raise ConfigError(
            f"plan.fsdp {plan.fsdp} and plan.tensor {plan.tensor} divide a model over devices, and a trial of a sweep "
            "has one; set both to 1, or train such runs one by one with jaxnets train"
        )
    if experiment.loop.nonfinite == "rollback":
        raise ConfigError(
            "loop.nonfinite rollback needs checkpoints, which trials of a sweep do not have; use abort or skip"
        )
    dataset = admit_data(experiment, say=say)
    found = tuple(_objective(one, experiment, dataset) for one in objectives)
    twice = [one for one in objectives if list(objectives).count(one) > 1]
    if twice:
        raise UsageError(f"--objective {twice[0]} is there twice; give each figure once")
    _make(folder)
    study = Study.open(
        name,
        storage=storage,
        space=space,
        objectives=found,
        searcher=searcher,
        seed=seed,
        fixed={
            "experiment": json.loads(config.dump(experiment)),
            "stopping": stopping,
            "data": dataset.schema.fingerprint,
        },
        allow=allow,
    )
    return Begun(name, experiment, space, folder, study, found, searcher, stopping, dataset, began, tuple(lines))


def _structures(experiment: Experiment, space: Space, form: Form) -> list[str]:
    """What is said of dimensions that change the program. ConfigError for one that would do so in every trial."""
    lines = []
    for path, dimension in space.items():
        if not is_structural(experiment, space, path):
            continue
        if isinstance(dimension, Choice):
            lines.append(f"{path} changes the program: trials are grouped by its {len(dimension.values)} values")
        elif form == "lanes":
            raise ConfigError(
                f"{path}={text(dimension)} is no number of a lane but part of the program, which each of its values "
                f"would compile anew; give a few: {path}=choice(...), or leave the form to the sweep"
            )
        else:
            lines.append(
                f"{path} changes the program: each of its values is compiled by itself; choice(...) of few is faster"
            )
    return lines


def is_structural(experiment: Experiment, space: Space, path: str) -> bool:
    """Whether two values of a dimension make two programs."""
    around = required(space, path)
    found = {jax.tree.structure(assigned(experiment, around | {path: value})) for value in ends(space[path])}
    return len(found) > 1


def check_numbers(*, eta: int, least: int | None, lanes: int | None) -> None:
    """Raises UsageError for a number that no sweep can have."""
    for name, value, lowest in (("eta", eta, 2), ("least", least, 1), ("lanes", lanes, 1)):
        if value is not None and value < lowest:
            raise UsageError(f"--{name} {value} is not allowed; give a whole number of at least {lowest}")


def _make(folder: Path) -> None:
    """The sweep's folder, in which files can be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(
            f"the sweep's folder {folder} cannot be written ({error.strerror}); give another --sweep-dir"
        ) from error


def _objective(text: str, experiment: Experiment, dataset: Dataset) -> Objective:
    task = build_task(experiment, dataset.schema)
    known = ["loss", *task.metrics]
    split, _, figure = text.partition(".")
    if split not in ("valid", "test") or figure not in known:
        names = [f"{split}.{figure}" for split in ("valid", "test") for figure in known]
        raise ConfigError(f"--objective {text} is not measured; use one of {', '.join(names)}{near(text, names)}")
    return Objective(text, larger_is_better(task, figure))


def prepare(
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
    say: Callable[[str], None] = print,
) -> int:
    """Checks all that `sweep` checks and makes the study, for workers that are started then; trains nothing.

    Returns how many trials there are to be in all. Arguments and errors are those of `sweep`.
    """
    check_numbers(eta=eta, least=least, lanes=lanes)
    folder = Path(folder or Path("sweeps") / name)
    storage = storage or str(folder / JOURNAL)
    begun = begin(
        experiment, space, name, folder, objectives, searcher, stopping, form, storage, tuple(allow), seed, say
    )
    with begun.study as study:
        return study.want(trials)
