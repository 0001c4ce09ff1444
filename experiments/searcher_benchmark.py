"""What does a searcher find, and after how many trials? TPE, CMA-ES and random on recipes of ours.

Each is a sweep of a recipe with few steps a trial, over learning rate, weight decay, label smoothing and dropout,
judged by nll on valid; the repeats differ in the searcher's seed alone, so that all see the same function. Printed: the
best so far after some shares of the trials, and in how many repeats a searcher ended below random. The means of the
curves are drawn into a page.

    python experiments/searcher_benchmark.py [--repeats 20] [--trials 64] [--steps 100] [--only wine_mlp] [--out PAGE]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxnets import Experiment, compilation, config
from jaxnets.report.document import document
from jaxnets.report.svg import Line, lines
from jaxnets.sweep import Log, Uniform, sweep

SEARCHERS = ("random", "tpe", "cmaes")
RECIPES = ("wine_mlp", "breast_cancer_mlp", "digits_mlp")
SPACE = {
    "optim.lr": Log(1e-5, 1e-1),
    "optim.weight_decay": Log(1e-4, 1.0),
    "task.label_smoothing": Uniform(0.0, 0.3),
    "model.dropout": Uniform(0.0, 0.8),
}


def recipe(name: str, steps: int) -> Experiment:
    """A config of configs/, shortened, and looked at once, at its end."""
    whole = config.load(Path(__file__).parents[1] / "configs" / f"{name}.py")
    loop = replace(whole.loop, steps=steps, epochs=None, log_every=steps, eval_every=steps, keep_best=False)
    return replace(whole, loop=loop)


def curve(experiment: Experiment, searcher: str, *, seed: int, trials: int) -> list[float]:
    """The best nll on valid so far, after each trial in the order of their numbers."""
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, Any] = sweep(
            experiment, SPACE, name="searcher", folder=folder, trials=trials, objectives=("valid.nll",),
            searcher=searcher, seed=seed, say=lambda line: None,
        ).figures  # fmt: skip
    values = [one["values"][0] if one["values"] else np.inf for one in found["trials"]]
    return np.minimum.accumulate(values).tolist()


def compare(name: str, *, repeats: int, trials: int, steps: int) -> str:
    """Prints the table of one recipe; returns its chart."""
    experiment = recipe(name, steps)
    found: dict[str, list[list[float]]] = {searcher: [] for searcher in SEARCHERS}
    for repeat in range(repeats):
        for searcher in SEARCHERS:
            found[searcher].append(curve(experiment, searcher, seed=repeat, trials=trials))
    shares = [max(1, trials // part) for part in (8, 4, 2, 1)]
    print(f"  {trials} trials of {steps} steps; best nll on valid after {', '.join(map(str, shares))} trials: median "
          "(least to most)")  # fmt: skip
    for searcher, each in found.items():
        cells = [spread([one[share - 1] for one in each]) for share in shares]
        pairs = zip(each, found["random"], strict=True)
        won = sum(own[-1] < other[-1] for own, other in pairs)
        told = "" if searcher == "random" else f" | below random in {won} of {repeats}"
        print(f"  {searcher:6} | {' | '.join(cells)}{told}", flush=True)
    numbers = list(range(1, trials + 1))
    curves = [Line(searcher, numbers, np.mean(each, axis=0).tolist()) for searcher, each in found.items()]
    return lines(name, curves, x="trials", y="best nll on valid", ends=True)


def spread(values: list[float]) -> str:
    """`median (least to most)`."""
    return f"{statistics.median(values):.4f} ({min(values):.4f} to {max(values):.4f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--only", default=",".join(RECIPES), help="recipes, by comma (default: all)")
    parser.add_argument("--out", type=Path, default=Path("searchers.html"), help="the page with the curves")
    given = parser.parse_args()
    charts = []
    with compilation.cache():  # each recipe's programs are compiled once
        for name in given.only.split(","):
            print(name, flush=True)
            charts.append(compare(name, repeats=given.repeats, trials=given.trials, steps=given.steps))
    given.out.write_text(document("What searchers find", "".join(charts)))
    print(f"curves: {given.out}")


if __name__ == "__main__":
    main()
