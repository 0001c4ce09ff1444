"""What the folder of a run holds from before its first step on: what describes it, and its checkpoints."""

from __future__ import annotations

from pathlib import Path

from jaxnets import config
from jaxnets.checkpoint import Checkpoints
from jaxnets.config import Experiment
from jaxnets.data import Schema
from jaxnets.dispatch import forget_program
from jaxnets.files import read_json, write_atomically, write_json
from jaxnets.loop import Loop
from jaxnets.run.continuing import TEACHER, differs
from jaxnets.run.environment import environment, moved
from jaxnets.shelf import Shelf
from jaxnets.tasks import Teacher


def describe(run_dir: Path, experiment: Experiment, schema: Schema) -> str:
    """Writes `config.json`, `schema.json` and `env.json`, each whole or not at all; what is to be said about it, or "".

    What a change of config or environment makes untrue goes: the result, the program that the steps must be of.
    """
    program = run_dir / "dispatch.json"
    if differs(run_dir, experiment):
        forget_program(program)
        (run_dir / "result.json").unlink(missing_ok=True)  # it is that of the experiment before the change
    write_atomically(run_dir / "config.json", config.dump(experiment).encode())
    write_json(run_dir / "schema.json", schema.to_json())
    path, now = run_dir / "env.json", environment()
    changed = moved(read_json(path), now) if path.exists() else []
    if changed:
        forget_program(program)
    write_json(path, now)
    if not changed:
        return ""
    return f"another environment than before ({', '.join(changed)}): continues within float tolerance, not bit for bit"


def describe_teacher(run_dir: Path, teacher: Teacher | None) -> None:
    """Writes which weights teach the run; no file where it has no teacher."""
    if teacher is None:
        (run_dir / TEACHER).unlink(missing_ok=True)
        return
    write_json(run_dir / TEACHER, {"teacher": teacher.run, "weights_sha256": teacher.sha256})


def checkpoints(shelf: Shelf, loop: Loop, *, larger_is_better: bool) -> Checkpoints:
    """The checkpoints of a run, kept as its loop says."""
    return Checkpoints(
        shelf,
        keep_last=loop.keep_last,
        keep_every=loop.keep_every,
        keep_best=loop.keep_best,
        mode="max" if larger_is_better else "min",
        monitor=loop.monitor,
    )
