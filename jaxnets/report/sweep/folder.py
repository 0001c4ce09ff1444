"""What the page reads of a sweep: its sweep.json alone, so that it can be read anywhere and at any time."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxnets.errors import CheckpointError, UsageError, near
from jaxnets.files import read_json
from jaxnets.report.sweep.dimension import Dimension, read_dimension

FILE = "sweep.json"
HOME = Path("sweeps")  # where sweeps lie that were given no folder
_NEEDED = {"name": str, "space": dict, "objectives": list, "trials": list}


class Objective(NamedTuple):
    """What a sweep looks for: a figure and its direction."""

    figure: str
    larger: bool


class Sweep(NamedTuple):
    """A sweep, read. A trial's place in `trials` is its place in every array.

    space:   {dotted path: Dimension}
    trials:  as in sweep.json, in order of number
    values:  (trial, objective), NaN where a trial has none
    written: the whole of sweep.json
    """

    path: Path
    name: str
    space: dict[str, Dimension]
    objectives: list[Objective]
    trials: list[dict[str, Any]]
    values: np.ndarray
    written: dict[str, Any]

    def states(self) -> np.ndarray:
        return np.array([trial["state"] for trial in self.trials], dtype=str)

    def complete(self) -> np.ndarray:
        """Which trials have finished with a value of every objective: those that are compared."""
        return (self.states() == "complete") & np.isfinite(self.values).all(axis=1)

    def losses(self, objective: int = 0) -> np.ndarray:
        """The values of an objective, turned so that less is better; NaN where a trial is not to be compared."""
        sign = -1.0 if self.objectives[objective].larger else 1.0
        return np.where(self.complete(), sign * self.values[:, objective], np.nan)

    def order(self) -> np.ndarray:
        """The places of the comparable trials, the best first: by the first objective."""
        losses = self.losses()
        return np.argsort(losses, kind="stable")[: int(np.isfinite(losses).sum())]

    def ended(self) -> np.ndarray:
        """Which trials have finished or were stopped early, by no fault of their own."""
        return self.complete() | (self.states() == "pruned")

    def settings(self, path: str) -> list[Any]:
        return [trial["settings"].get(path) for trial in self.trials]


def curve(trial: dict[str, Any]) -> np.ndarray:
    """The points of a trial's curve that are finite, in order: (step, value). Rungs, where it was judged, are some."""
    measured = {float(step): number(value) for step, value in [*trial["rungs"].items(), *trial["curve"]]}
    points = np.array(sorted(measured.items()), float).reshape(-1, 2)
    return points[np.isfinite(points).all(axis=1)]


def at_one_step(sweep: Sweep) -> tuple[int, np.ndarray]:
    """(a step, the values there of the first objective's curve, NaN where a trial has none): the last step that two
    thirds of the trials that ended have reached, so that those that were stopped early are compared as well."""
    curves = [
        dict(curve(trial).tolist()) if there else {} for trial, there in zip(sweep.trials, sweep.ended(), strict=True)
    ]
    reached = Counter(step for one in curves for step in one)
    enough = [step for step, count in reached.items() if count >= 2 / 3 * sweep.ended().sum()]
    step = max(enough, default=math.nan)
    return int(step) if enough else 0, np.array([one.get(step, math.nan) for one in curves], float)


def find(name: str) -> Path:
    """The folder of a sweep, from its name or its path. Raises UsageError naming those that are near."""
    for folder in (Path(name), HOME / name):
        if (folder / FILE).is_file():
            return folder
    if Path(name).is_dir():
        raise UsageError(f"{name} is not the folder of a sweep: it has no {FILE}; give the name or folder of a sweep")
    known = sorted(file.parent.name for file in HOME.glob(f"*/{FILE}"))
    have = f"there are {', '.join(known[:8])}" if known else f"{HOME}/ holds none"
    raise UsageError(
        f"there is no sweep {name}{near(Path(name).name, known)}; give a name under {HOME}/ ({have}) or a folder with "
        f"a {FILE}"
    )


def read(folder: Path) -> Sweep:
    """Raises UsageError if the folder holds no sweep, CheckpointError if its sweep.json is damaged."""
    file = folder / FILE
    if not file.is_file():
        raise UsageError(f"{folder} is not the folder of a sweep: it has no {FILE}; give the name or folder of a sweep")
    written = read_json(file)
    try:
        return _sweep(folder, written)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{file} is damaged ({_words(error)}); the same `jaxnets sweep` command writes it again from its storage"
        ) from error


def _words(error: Exception) -> str:
    return f"it holds no {error.args[0]}" if isinstance(error, KeyError) else str(error)


def _sweep(folder: Path, written: Any) -> Sweep:
    for key, kind in _NEEDED.items():
        if not isinstance(written, dict) or not isinstance(written.get(key), kind):
            raise ValueError(f"it holds no {key}")
    objectives = [Objective(str(one["figure"]), bool(one["larger_is_better"])) for one in written["objectives"]]
    if not objectives:
        raise ValueError("it holds no objective")
    trials = sorted((_trial(trial) for trial in written["trials"]), key=lambda trial: trial["number"])
    space = {
        path: read_dimension(str(text), [trial["settings"][path] for trial in trials if path in trial["settings"]])
        for path, text in written["space"].items()
    }
    values = [_values(trial["values"], len(objectives)) for trial in trials]
    return Sweep(
        folder,
        written["name"],
        space,
        objectives,
        trials,
        np.array(values, np.float64).reshape(len(trials), len(objectives)),
        written,
    )


def _trial(trial: dict[str, Any]) -> dict[str, Any]:
    """A trial with everything that the page looks for in its place."""
    absent = {"values": None, "figures": {}, "curve": [], "rungs": {}, "seconds": None, "why": None, "history": []}
    filled = absent | {key: value for key, value in trial.items() if value is not None}
    if not isinstance(filled["settings"], dict):
        raise ValueError(f"trial {filled['number']} has no settings")
    return filled | {"number": int(filled["number"]), "state": str(filled["state"])}


def _values(values: Any, count: int) -> list[float]:
    if values is None:
        return [math.nan] * count
    if len(values) != count:
        raise ValueError(f"a trial has {len(values)} values for {count} objective(s)")
    return [number(value) for value in values]


def number(value: Any) -> float:
    """A value as a float, NaN where it is none or not finite."""
    good = isinstance(value, (int, float)) and math.isfinite(value)
    return float(value) if good else math.nan
