"""Is a forecast worth its network? A recipe of time series beside what needs none, on the same windows.

    python experiments/series_benchmark.py --config configs/glucose_mlp.py --seeds 3

Every figure is of the test part, in errors of the value one season before within the train part (MASE): the last value,
the value one season before, a ridge regression of the horizon on the context (both minus the last value, fitted on the
train windows, its strength chosen on the validation windows), and the recipe.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.linear_model import Ridge

from jaxnets import config, data
from jaxnets.run import run

CONFIG = Path(__file__).parents[1] / "configs" / "glucose_mlp.py"


def windows(split: data.Split) -> tuple[np.ndarray, np.ndarray]:
    """(past (n t), horizon (n h)) of the one target of one series; NaN where a step has no row."""
    batch = data.gather(split.arrays, np.arange(split.length), window=None)
    return batch["inputs"]["past"][..., 0].astype(np.float64), batch["targets"][..., 0].astype(np.float64)


def mase(said: np.ndarray, true: np.ndarray, naive: float) -> float:
    """The mean absolute error over the values that are given, in errors of the naive forecast."""
    return float(np.nanmean(np.abs(said - true)) / naive)


def seasonal(given: data.Data) -> np.ndarray:
    """(n h) the values one season before those of the test windows, however far their context reaches back."""
    series = given.series
    longer = dataclasses.replace(given, context=max(given.context or 0, series.season))
    past, _ = windows(data.load(longer).splits["test"])
    return past[:, np.arange(series.horizon) % series.season - series.season]


def ridge(parts: dict[str, tuple[np.ndarray, np.ndarray]], naive: float) -> tuple[np.ndarray, float]:
    """(forecast of the test windows, strength) of the regression that is best on the validation windows."""
    last = {name: past[:, -1:] for name, (past, _) in parts.items()}
    whole = ~np.isnan(parts["train"][1]).any(axis=1)
    inputs, targets = ((part - last["train"])[whole] for part in parts["train"])
    best = (np.inf, 0.0, np.zeros(0))
    for alpha in np.logspace(-4, 7, 12):
        fitted = Ridge(alpha).fit(inputs, targets)
        said = {name: fitted.predict(parts[name][0] - last[name]) + last[name] for name in ("valid", "test")}
        best = min(best, (mase(said["valid"], parts["valid"][1], naive), alpha, said["test"]), key=lambda one: one[0])
    return best[2], float(best[1])


def baselines(experiment: config.Experiment) -> dict[str, float]:
    """MASE of each forecast that is no network."""
    dataset = data.load(experiment.data)
    parts = {name: windows(split) for name, split in dataset.splits.items()}
    naive = dataset.schema.series.naive_errors[0] if dataset.schema.series else 1.0
    past, true = parts["test"]
    regression, alpha = ridge(parts, naive)
    return {
        "last value": mase(past[:, -1:], true, naive),
        "one season before": mase(seasonal(experiment.data), true, naive),
        f"ridge regression (strength {alpha:g})": mase(regression, true, naive),
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--config", type=Path, default=CONFIG, help="the recipe")
    arguments.add_argument("--seeds", type=int, default=3, help="runs of the recipe, which differ in their seed")
    arguments.add_argument("--set", nargs=2, action="append", default=[], metavar=("PATH", "VALUE"))
    given = arguments.parse_args()
    experiment = config.assign(config.load(given.config), map(tuple, given.set))
    print("| forecast | MASE |\n|---|---|")
    for name, value in baselines(experiment).items():
        print(f"| {name} | {value:.4f} |", flush=True)
    found = []
    for seed in range(given.seeds):
        begun = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            figures = run(dataclasses.replace(experiment, seed=seed), Path(folder) / "run").figures
        found.append(figures["test"]["mase"])
        seconds = time.perf_counter() - begun
        print(f"| {given.config.stem}, seed {seed} ({seconds:.0f} s, best valid step) | {found[-1]:.4f} |", flush=True)
    if found:
        spread = f" ± {np.std(found, ddof=1):.4f}" if len(found) > 1 else ""
        print(f"| {given.config.stem}, mean of {len(found)} | {np.mean(found):.4f}{spread} |")


if __name__ == "__main__":
    main()
