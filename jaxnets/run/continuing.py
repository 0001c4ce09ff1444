"""What must be as it was for the run in a folder to go on, and the same for all processes of one run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxnets import config, distributed, evaluate
from jaxnets.admission import Admitted
from jaxnets.build import build_task
from jaxnets.config import Experiment
from jaxnets.data import Schema
from jaxnets.errors import ConfigError, DataError, UsageError, near
from jaxnets.files import read_json
from jaxnets.folders import refuse_series

TEACHER = "teacher.json"  # which weights taught this run


def check_same(experiment: Experiment, schema: Schema) -> None:
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


def check_data(experiment: Experiment, schema: Schema, run_dir: Path) -> None:
    """DataError if the data is not that of the run, ConfigError if what is to be monitored is not measured on it."""
    old = run_dir / "schema.json"
    if old.exists():
        evaluate.check_same_data(Schema.from_json(read_json(old)), schema)
    names = {"loss", *build_task(experiment, schema).metrics}
    if experiment.loop.monitor not in names:
        raise ConfigError(
            f"loop.monitor {experiment.loop.monitor!r} is not measured; use one of {', '.join(sorted(names))}"
        )


def check_teacher(admitted: Admitted, run_dir: Path, allow: tuple[str, ...]) -> None:
    """ConfigError if the teacher is not the one that the run began with."""
    path = run_dir / TEACHER
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
    changed = differs(run_dir, experiment)
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


def differs(run_dir: Path, experiment: Experiment) -> dict[str, tuple[Any, Any]]:
    """What differs from the config of the run in the folder, by dotted path; {} if there is none."""
    path = run_dir / "config.json"
    if not path.exists():
        return {}
    return config.difference(config.filled(read_json(path)), json.loads(config.dump(experiment)))
