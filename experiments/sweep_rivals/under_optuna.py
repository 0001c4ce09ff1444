"""Trials that Optuna asks for one by one, in memory, at random: a jitted step in a loop, and processes of torch."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna

from sweep_rivals.hand import Bench, bare_trial
from sweep_rivals.work import LABEL_SMOOTHING, LR, SEED, WEIGHT_DECAY, Outcome, Settings, Work, arrays


def study(work: Work, trial: Callable[[Settings], Outcome], *, jobs: int = 1) -> list[Outcome]:
    """`study.optimize` as its users call it, the figures kept as attributes."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def objective(asked: optuna.Trial) -> float:
        settings = Settings(
            asked.suggest_float("lr", *LR, log=True),
            asked.suggest_float("weight_decay", *WEIGHT_DECAY, log=True),
            asked.suggest_float("label_smoothing", *LABEL_SMOOTHING),
            asked.suggest_int("seed", *SEED),
        )
        found = Outcome(*(float(value) for value in trial(settings)))
        asked.set_user_attr("outcome", found)
        return found.valid_nll

    found = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=work.seed))
    found.optimize(objective, n_trials=work.trials, n_jobs=jobs)
    return [Outcome(*one.user_attrs["outcome"]) for one in found.get_trials(deepcopy=False)]


def jitted_step(work: Work) -> list[Outcome]:
    """One process, one compiled step, a loop in Python for each trial."""
    return study(work, bare_trial(Bench(work)))


def torch_processes(work: Work, *, python: Path, jobs: int) -> list[Outcome]:
    """A process of torch for each trial, `jobs` of them at a time, the cores shared among them."""
    with tempfile.TemporaryDirectory() as folder:
        held = arrays(work)
        named = {f"{split}_{part}": array for split in held._fields
                 for part, array in zip(("inputs", "targets"), getattr(held, split), strict=True)}  # fmt: skip
        np.savez(Path(folder) / "arrays.npz", **named)
        threads = max(1, len(os.sched_getaffinity(0)) // jobs)
        task = {"width": work.width, "steps": work.steps, "batch_size": work.batch_size, "threads": threads}
        script = Path(__file__).with_name("torch_trial.py")
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

        def trial(settings: Settings) -> Outcome:
            words = [python, script, folder, json.dumps(task | settings._asdict())]
            out = subprocess.run(words, capture_output=True, text=True, check=True, env=environment).stdout
            return Outcome(*json.loads(out.splitlines()[-1]))

        return study(work, trial, jobs=jobs)
