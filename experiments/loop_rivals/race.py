"""jaxnets against `fit` of other frameworks, each in a process of its own that stays between the repeats."""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxnets import Experiment
from jaxnets import data as sources
from jaxnets.build import build
from jaxnets.models import CNN, MLP
from loop_rivals.environments import interpreter

RIVALS = {
    "keras, 1 a call": ("keras", "1"),
    "keras, 32 a call": ("keras", "32"),
    "lightning, plain": ("lightning", "plain"),
    "lightning, tuned": ("lightning", "tuned"),
}
EPOCH = 480  # steps of an epoch of the others, at most: a multiple of 32


class Rival:
    """One process of another framework, warm; each call answers seconds a step.

    Raises RuntimeError with what the process said if it ends, and AssertionError if its model is another one.
    """

    def __init__(self, framework: str, option: str, task: Path, sizes: list[int]) -> None:
        script = Path(__file__).with_name(f"{framework}_fit.py")
        self.said = task / f"{framework}-{option}.txt"
        with self.said.open("w") as said:
            self.process = subprocess.Popen(
                [interpreter(framework), script, task, option],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True,
                env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            )  # fmt: skip
        about = self._answer()
        assert sorted(about["sizes"]) == sorted(sizes), f"{framework} has params of {about['sizes']}, jaxnets {sizes}"
        assert about["dtype"] == "float32", f"{framework} computes in {about['dtype']}, jaxnets in float32"
        self.versions: str = about["versions"]

    def _answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            raise RuntimeError(f"{self.process.args} ended with {self.process.wait()}:\n{self.said.read_text()}")
        return json.loads(line)

    def __call__(self) -> float:
        assert self.process.stdin
        self.process.stdin.write("fit\n")
        self.process.stdin.flush()
        answer = self._answer()
        assert 0 <= answer["loss"] < 1, f"loss {answer['loss']} after training: nothing was learned"
        return answer["seconds"]

    def close(self) -> None:
        self.process.communicate()  # the end of its input ends it


def layers(model: Any) -> dict[str, Any]:
    """What the others build the same model from; empty where they have none."""
    match model:
        case MLP(widths=widths, activation="relu", dropout=None):
            return {"channels": (), "widths": widths}
        case CNN(channels=channels, hidden=hidden, dropout=None):
            return {"channels": channels, "widths": (hidden,)}
    return {}


def write_task(experiment: Experiment, dataset: sources.Dataset, folder: Path) -> list[int]:
    """Puts rows of one epoch and the settings in `folder`; returns the sizes of the params of jaxnets.

    The rows are those of the train split, as the model sees them, repeated or cut to `EPOCH` whole batches at most:
    epochs of three steps would make the others pay for the ends of epochs more than for the steps.
    """
    steps, split = experiment.loop.steps or 0, dataset.splits["train"]
    batch_size, epoch = experiment.data.batch_size, math.gcd(steps, EPOCH) if steps > EPOCH else steps
    rows = np.resize(np.arange(split.length), epoch * batch_size)
    inputs = np.asarray(sources.preprocess(dataset.schema, split.arrays["inputs"]))
    np.save(folder / "inputs.npy", inputs[rows])
    np.save(folder / "targets.npy", np.asarray(split.arrays["targets"], np.int32)[rows])
    optim = {name: getattr(experiment.optim, name) for name in ("lr", "b1", "b2", "eps", "weight_decay")}
    numbers = {
        "num_classes": dataset.schema.num_outputs, "batch_size": batch_size, "epochs": steps // epoch,
        "log_every": experiment.loop.log_every, "threads": len(os.sched_getaffinity(0)),
    }  # fmt: skip
    (folder / "settings.json").write_text(json.dumps(layers(experiment.model) | optim | numbers))
    params, _ = jax.eval_shape(build(experiment, dataset.schema).model.init, jax.random.key(0), inputs[:batch_size])
    return [leaf.size for leaf in jax.tree.leaves(params)]


def race(experiment: Experiment, own: Callable[[], float], repeats: int, spread: Callable[[list[float]], str]) -> None:
    """Prints examples a second of jaxnets (`own` gives seconds a step) and of the others, and the ratios."""
    if not layers(experiment.model):
        print(f"  the others have no {type(experiment.model).__name__}")
        return
    with tempfile.TemporaryDirectory() as folder:
        sizes = write_task(experiment, sources.load(experiment.data), Path(folder))
        rivals = {name: Rival(*which, Path(folder), sizes) for name, which in RIVALS.items()}
        try:
            own()  # warm, as the others are
            seconds = interleaved({"jaxnets": own, **rivals}, repeats)
        finally:
            for rival in rivals.values():
                rival.close()
    print(f"  {sum(sizes)} params in each; {'; '.join(sorted({rival.versions for rival in rivals.values()}))}")
    print(f"  {'':16} | examples a second | speed of jaxnets over it")
    for name, values in seconds.items():
        rate = experiment.data.batch_size / statistics.median(values)
        ratios = [other / mine for other, mine in zip(values, seconds["jaxnets"], strict=True)]
        print(f"  {name:16} | {rate:17.0f} | {spread(ratios) if name in rivals else ''}")


def interleaved(contenders: dict[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Seconds a step of each; another one begins each repeat."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for repeat in range(repeats):
        names, first = list(contenders), repeat % len(contenders)
        for name in names[first:] + names[:first]:
            seconds[name].append(contenders[name]())
    return seconds
