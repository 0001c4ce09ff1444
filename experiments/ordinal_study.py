"""What the order of classes is worth: configs/diamonds_clarity.py beside the same network without it, split by split.

    ordinal         the recipe as it is
    classification  its task replaced by plain classification; its grade is the likeliest, or the median of its
                    probabilities, which errs by fewer grades

Usage, where JAXNETS_DATA names the folder of the file:

    python experiments/ordinal_study.py [--seeds 0,1,2,3,4] [--set loop.epochs=5 …]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from jaxnets import config
from jaxnets.run import run

RECIPE = Path(__file__).parents[1] / "configs" / "diamonds_clarity.py"


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--seeds", default="0,1,2,3,4")
    words.add_argument("--set", nargs="*", default=[], metavar="PATH=VALUE")
    given = words.parse_args()
    settings = [(path, value) for path, _, value in (pair.partition("=") for pair in given.set)]
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in given.seeds.split(","):
        for task in ("ordinal", "classification"):
            start = time.perf_counter()
            for name, figures in of(task, [*settings, ("data.split_seed", seed)]).items():
                found.setdefault(name, []).append(figures)
                line = {"split": int(seed), "task": name, "accuracy": figures[0], "mae": figures[1]}
                print(json.dumps(line | {"seconds": round(time.perf_counter() - start, 1)}), flush=True)
    for name, pairs in found.items():
        (accuracy, mae), (one, other) = np.mean(pairs, axis=0), np.std(pairs, axis=0)
        print(f"{name:<24} accuracy {accuracy:.4f} ± {one:.4f}   mae {mae:.4f} ± {other:.4f} grades")


def of(task: str, settings: list[tuple[str, str]]) -> dict[str, tuple[float, float]]:
    """{name: (accuracy, mean distance in grades)} on the test rows."""
    experiment = config.assign(config.load(RECIPE), [("task", task), *settings])
    with tempfile.TemporaryDirectory() as folder:
        run(experiment, folder)
        with np.load(Path(folder) / "evaluation.npz") as kept:
            probabilities, true = kept["probabilities"], kept["target"]
    median = (np.cumsum(probabilities, axis=1) < 0.5).sum(axis=1)
    if task == "ordinal":
        return {task: _figures(median, true)}
    return {task: _figures(probabilities.argmax(axis=1), true), f"{task}, median": _figures(median, true)}


def _figures(found: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    return float((found == true).mean()), float(np.abs(found - true).mean())


if __name__ == "__main__":
    main()
