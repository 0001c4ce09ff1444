"""`sweep.json`: what the study and this process know of a sweep, for programs, pages and people to read."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxnets import config
from jaxnets.config import Experiment
from jaxnets.errors import CheckpointError
from jaxnets.files import read_json, write_atomically
from jaxnets.sweep.form import Chosen
from jaxnets.sweep.search import Objective, Study
from jaxnets.sweep.space import Space, text

SWEEP = "sweep.json"
WORKERS = "workers"  # the folder of what each worker knows
_SHARE = 0.05  # of the time, at most, that goes into writing while the sweep runs


class Record:
    """Writes the file, and beside it what this worker alone knows: how it spent its time, and its programs.

    What a worker knows is a file of its own (`workers/NAME.json`), and `sweep.json` has them all: of workers of
    earlier starts, and of those that work at the same time.

    began: `time.perf_counter()` when this process began
    """

    def __init__(
        self,
        folder: Path,
        study: Study,
        *,
        name: str,
        experiment: Experiment,
        space: Space,
        objectives: Sequence[Objective],
        searcher: str,
        stopping: str,
        source: str,
        began: float,
    ) -> None:
        self.folder, self.study, self.objectives, self.began = folder, study, tuple(objectives), began
        self.fixed = {
            "name": name,
            "config": source,
            "base": json.loads(config.dump(experiment)),
            "space": {path: text(dimension) for path, dimension in space.items()},
            "searcher": searcher,
            "stopping": stopping,
            "objectives": [one._asdict() for one in objectives],
        }
        self.since = time.time() - (time.perf_counter() - began)
        self.own = folder / WORKERS / f"{study.worker}.json"
        self.own.parent.mkdir(exist_ok=True)
        self.spent: dict[str, float] = defaultdict(float)
        self.groups: list[dict[str, Any]] = []
        self.written, self.cost = 0.0, 0.0

    def chosen(self, chosen: Chosen, settings: Mapping[str, Any]) -> dict[str, Any]:
        """A structure got its program; its trials are counted in what this returns."""
        self.spent["compiling"] += chosen.compiling
        self.spent["measuring"] += chosen.measuring
        found = {
            "trials": 0,
            "devices": {},  # and on which
            "structure": dict(settings),
            "form": chosen.form,
            "lanes": chosen.program.lanes if chosen.program.together else 0,
            "lanes_seconds": chosen.lanes_seconds,
            "queue_seconds": chosen.queue_seconds,
            "compile_seconds": chosen.compiling,
            "measure_seconds": chosen.measuring,
            "why": chosen.why,
        }
        self.groups.append(found)
        return found

    def seconds(self) -> dict[str, float]:
        """Where this worker's wall time went; `engine` is what nothing else explains."""
        spent = dict(self.spent) | {name: self.study.seconds[name] for name in ("searcher", "storage")}
        wall = time.perf_counter() - self.began
        spent["engine"] = max(0.0, wall - sum(spent.values()))
        return {"wall": wall} | spent

    def write_if_cheap(self) -> dict[str, Any] | None:
        """Writes if the last writing was long enough ago, for what it cost."""
        late = time.monotonic() - self.written > self.cost / _SHARE
        return self.write() if late else None

    def finish(self) -> dict[str, Any]:
        """Writes until the file says what the study does: another worker may have told and written meanwhile.

        Where others still have trials they will write after this one.
        """
        while True:
            figures = self.write()
            now = [(one.number, one.state) for one in self.study.records()]
            if now == _states(figures) or any(state == "running" for _, state in now):
                return figures

    def write(self) -> dict[str, Any]:
        """The whole file anew; returns its content."""
        began = time.monotonic()
        records = self.study.records()
        own = {"since": self.since, "seconds": self.seconds(), "groups": self.groups}
        write_atomically(self.own, json.dumps(own).encode())
        workers = _workers(self.own.parent)
        figures = self.fixed | {
            "wanted": self.study.wanted,
            "trials": [_shown(one) for one in records],
            "best": _best(records, self.objectives[0].larger_is_better),
            "front": _front(records, self.objectives) if len(self.objectives) > 1 else [],
            "groups": [group for one in workers for group in one["groups"]],
            "seconds": _seconds(workers),
            "devices": [f"{device.platform} {device.device_kind}" for device in jax.local_devices()],
            "workers": len({one.attributes.get("worker") for one in records if one.attributes.get("worker")}),
        }
        try:
            written = json.dumps(figures, allow_nan=False)
        except ValueError:
            figures = _finite(figures)
            written = json.dumps(figures)
        write_atomically(self.folder / SWEEP, (written + "\n").encode())
        self.written = time.monotonic()
        self.cost = self.written - began
        return figures


def _workers(folder: Path) -> list[dict[str, Any]]:
    """What the workers know, in the order of their starts; what is damaged is left out, for it is times alone."""
    found = []
    for path in sorted(folder.glob("*.json")):
        with contextlib.suppress(CheckpointError):
            found.append(read_json(path))
    return sorted(found, key=lambda one: one["since"])


def _finite(value: Any) -> Any:
    """As JSON has it, which knows no NaN: None in its place.

    >>> _finite({"rungs": {"3": float("nan")}, "curve": [[3, 0.5]]})
    {'rungs': {'3': None}, 'curve': [[3, 0.5]]}
    """
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _states(figures: Mapping[str, Any]) -> list[tuple[int, str]]:
    return [(one["number"], one["state"]) for one in figures["trials"]]


def _seconds(workers: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The seconds of all workers added up, but for `wall`: in which any of them worked.

    >>> times = [(0.0, 10.0), (5.0, 10.0), (100.0, 1.0)]
    >>> _seconds([{"since": since, "seconds": {"wall": wall, "training": 1.0}} for since, wall in times])
    {'wall': 16.0, 'training': 3.0}
    """
    total: dict[str, float] = defaultdict(float)
    end = -math.inf
    for one in workers:
        since, wall = one["since"], one["seconds"]["wall"]
        for name, seconds in one["seconds"].items():
            total[name] += seconds if name != "wall" else max(0.0, since + wall - max(since, end))
        end = max(end, since + wall)
    return dict(total)


def _best(records: Sequence[Any], larger: bool) -> dict[str, Any] | None:
    """The completed trial with the best first value, of equals the oldest."""
    done = [one for one in records if one.state == "complete" and one.values]
    if not done:
        return None
    sign = -1.0 if larger else 1.0
    best = min(done, key=lambda one: (sign * one.values[0], one.number))
    return {key: _shown(best)[key] for key in ("number", "settings", "values")}


def _front(records: Sequence[Any], objectives: Sequence[Objective]) -> list[int]:
    """The numbers of the completed trials that no other is better than in all objectives."""
    done = [one for one in records if one.state == "complete" and one.values]
    signs = np.array([-1.0 if one.larger_is_better else 1.0 for one in objectives])
    values = np.array([one.values for one in done]).reshape(len(done), len(signs)) * signs
    return [
        one.number
        for one, own in zip(done, values, strict=True)
        if not ((values <= own).all(axis=1) & (values < own).any(axis=1)).any()
    ]


def changes(trial: Mapping[str, Any]) -> list[Any]:
    """The part of a trial's history that its values come from: up to the step that was tested, and all without values.

    >>> history = [[10, 4, {"optim.lr": 0.1}], [20, 7, {"optim.lr": 0.2}]]
    >>> changes({"history": history, "values": [0.5], "tested_step": 20})
    [[10, 4, {'optim.lr': 0.1}]]
    """
    history = trial.get("history") or []
    until = trial["tested_step"] if trial["values"] else math.inf
    return [change for change in history if change[0] < until]


def _shown(record: Any) -> dict[str, Any]:
    """A trial as the file has it, with the settings that its values come from."""
    told = dict(record.attributes)
    first = dict(record.settings)
    changed = changes({"tested_step": None, "values": record.values} | told)
    return {
        "number": record.number,
        "state": record.state,
        "settings": dict(changed[-1][2]) if changed else first,
        "first_settings": first if changed else None,
        "history": told.get("history") or [],
        "values": record.values,
        "figures": told.get("figures") or {},
        "curve": told.get("curve") or [],
        "rungs": told.get("rungs") or {},
        "steps": told.get("steps"),
        "tested_step": told.get("tested_step"),
        "seconds": told.get("seconds"),
        "form": told.get("form"),
        "why": told.get("why"),
        "parent": told.get("parent"),
        "worker": told.get("worker"),
        "ended": told.get("ended"),
    }
