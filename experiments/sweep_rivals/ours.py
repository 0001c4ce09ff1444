"""The same work by `jaxnets.sweep.sweep`."""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxnets import Data, Experiment, Loop
from jaxnets.models import CNN, MLP
from jaxnets.optim import AdamW, Constant
from jaxnets.tasks import Classification
from sweep_rivals.work import LABEL_SMOOTHING, LR, SEED, WEIGHT_DECAY, Outcome, Work


def experiment(work: Work, *, model: str = "mlp") -> Experiment:
    """A trial of the work as a config; looked at on valid at the end alone."""
    whole = Experiment(
        data=work.data,
        model=MLP(widths=(work.width, work.width), activation="relu"),
        task=Classification(label_smoothing=0.1),
        optim=AdamW(lr=1e-3, weight_decay=0.01, schedule=Constant()),
        loop=Loop(
            steps=work.steps, log_every=work.steps, eval_every=work.steps, save_every=10**6,
            monitor="nll", keep_best=False,
        ),
    )  # fmt: skip
    if model == "cnn":
        small = CNN(channels=(8, 16), hidden=64)
        whole = replace(whole, model=small, data=Data(source="parquet:mnist", batch_size=work.batch_size))
    return whole


def swept(
    work: Work, *, stopping: str = "none", form: str = "auto", searcher: str = "random", **shape: Any
) -> tuple[list[Outcome], dict[str, Any]]:
    """Outcomes of the trials, those stopped early with what they had; and `seconds` and `groups` of sweep.json."""
    from jaxnets.sweep import Int, Log, Uniform, sweep

    space = {
        "optim.lr": Log(*LR),
        "optim.weight_decay": Log(*WEIGHT_DECAY),
        "task.label_smoothing": Uniform(*LABEL_SMOOTHING),
        "seed": Int(*SEED),
    }
    with tempfile.TemporaryDirectory() as folder:
        found = sweep(
            experiment(work, **shape), space, name="benchmark", folder=Path(folder) / "sweep", trials=work.trials,
            objectives=("valid.nll",), searcher=searcher, stopping=stopping, form=form, seed=work.seed,
            say=lambda line: None,
        ).figures  # fmt: skip
    outcomes = [_outcome(trial) for trial in found["trials"]]
    return outcomes, {"sweep": found["seconds"], "groups": found["groups"]}


def _outcome(trial: dict[str, Any]) -> Outcome:
    """A trial that was stopped or failed does not count as tested to its end."""
    if trial["state"] != "complete":
        return Outcome(math.nan, math.nan, math.nan, math.nan)
    of = trial["figures"]
    return Outcome(of["valid"]["nll"], of["valid"]["accuracy"], of["test"]["nll"], of["test"]["accuracy"])
