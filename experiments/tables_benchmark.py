"""Recipes of tables against gradient-boosted trees on the same splits: mean and spread of a figure of the test rows.

    jaxnets  the recipe configs/NAME.py as it is, with data.split_seed 0, 1, …: as `jaxnets train` runs it
    trees    scikit-learn's HistGradientBoosting with its default settings on the same train and validation rows
             together and the same test rows; texts are native categories where they are at most 255, else left out

The splits are those of scikit-learn's train_test_split(test_size=0.2, random_state=0, 1, …), which is checked.

Usage, where JAXNETS_DATA names the folder of the files:

    python experiments/tables_benchmark.py [--only titanic,diamonds] [--seeds 0,1,2,3,4] [--set loop.epochs=5 …]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.model_selection import train_test_split

from jaxnets import config, data
from jaxnets.config import Experiment
from jaxnets.data.place import locate
from jaxnets.run import run

RECIPES = ("titanic", "california_housing", "diamonds")
MOST = 255  # native categories of a column


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--only", default=",".join(RECIPES))
    words.add_argument("--seeds", default="0,1,2,3,4")
    words.add_argument("--set", nargs="*", default=[], metavar="PATH=VALUE")
    given = words.parse_args()
    for name in given.only.split(","):
        seeds = [int(seed) for seed in given.seeds.split(",")]
        settings = [(path, value) for path, _, value in (pair.partition("=") for pair in given.set)]
        compared(name, seeds, settings)


def compared(name: str, seeds: list[int], settings: list[tuple[str, str]]) -> None:
    """Prints a line a split and side, then mean ± standard deviation over the splits."""
    figure = "accuracy" if name == "titanic" else "rmse"
    found: dict[str, list[float]] = {"jaxnets": [], "trees": []}
    for seed in seeds:
        path = Path(__file__).parents[1] / "configs" / f"{name}.py"
        experiment = config.assign(config.load(path), [*settings, ("data.split_seed", str(seed))])
        start = time.perf_counter()
        ours = jaxnets(experiment, figure)
        line = {"data": name, "split": seed, "figure": figure, "jaxnets": ours}
        print(json.dumps(line | {"seconds": round(time.perf_counter() - start, 1)}), flush=True)
        theirs = trees(experiment, figure)
        print(json.dumps({"data": name, "split": seed, "figure": figure, "trees": theirs}), flush=True)
        found["jaxnets"].append(ours)
        found["trees"].append(theirs)
    for who, figures in found.items():
        print(f"{name}, {figure}, {who}: {np.mean(figures):.6g} ± {np.std(figures):.3g} ({len(figures)} splits)")


def jaxnets(experiment: Experiment, figure: str) -> float:
    """The recipe's figure of the test rows, in a run folder that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        return float(run(experiment, Path(folder) / "run").figures["test"][figure])


def trees(experiment: Experiment, figure: str) -> float:
    """The figure of gradient-boosted trees on the same rows."""
    settings = experiment.data
    path = locate(settings.source.partition(":")[2])
    assert path is not None and settings.target is not None
    frame = pandas.read_csv(path)
    train, test = rows(settings, len(frame))
    x, y = features(frame.drop(columns=settings.target)), frame[settings.target]
    kind: Any = HistGradientBoostingClassifier if figure == "accuracy" else HistGradientBoostingRegressor
    fitted = kind(categorical_features="from_dtype", random_state=0).fit(x.iloc[train], y.iloc[train])
    predicted = fitted.predict(x.iloc[test])
    if figure == "accuracy":
        return float((predicted == y.iloc[test]).mean())
    return float(np.sqrt(np.square(predicted - y.iloc[test]).mean()))


def rows(settings: data.Data, length: int) -> tuple[np.ndarray, np.ndarray]:
    """(train and validation rows, test rows) of scikit-learn, which must be those of the recipe."""
    train, test = train_test_split(np.arange(length), test_size=settings.test, random_state=settings.split_seed)
    splits = data.load(settings).splits
    assert np.array_equal(np.sort(test), np.sort(splits["test"].row(np.arange(splits["test"].length))))
    return np.asarray(train), np.asarray(test)


def features(frame: pandas.DataFrame) -> pandas.DataFrame:
    """Texts as categories, those of too many values left out."""
    counts = frame.select_dtypes(exclude="number").nunique().to_dict()
    kept = frame.drop(columns=[name for name, count in counts.items() if count > MOST])
    return kept.astype({name: "category" for name, count in counts.items() if count <= MOST})


if __name__ == "__main__":
    main()
